"""Training: from closed steps of one twin type to a version, first training and fine-tuning alike.

In:   a `StepBlock`, the version to start from or None.
Out:  `Trained`: the version, ready to be written and gated, and figures of the training.
Same block, base, seed and thread count → same bytes.

A twin's usable steps before the hold-out are split in time: the older part trains, the newer part calibrates. The hold-out (the
newest steps of the block) is touched by neither: the gate judges on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import alarm_rate, calibration, fleet_fit, level, version
from models.detectors import DETECTORS, Detectors, Layout, Surprises, strongest
from models.network import Architecture, Forecaster, student_nll
from models.served import ServedModel, VersionInfo
from models.windows import DAY_NS, WEEK_NS, calendar, gather, good_cells, padded
from twin.block import StepBlock
from twin.errors import LivetwinError
from twin.types import TwinType

WINDOW = 64
HORIZONS = 8
BATCH = 256
FIRST_SAMPLES, TUNE_SAMPLES = 150_000, 50_000
EPOCHS_MAX = 25
FIRST_RATE, TUNE_RATE = 3e-3, 1e-3
WEIGHT_DECAY = 1e-2
PULL = 1e-3  # of a fine-tuned weight towards the base, per squared difference
HOLDOUT_SHARE, CALIBRATION_SHARE = 0.15, 0.35


class TrainingImpossible(LivetwinError):
    """The block holds too little to train on; `retriable`, as more steps will come."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Trained:
    """A version as it came out of training. `payload` is the file's content; `model` the same, serving."""

    model: ServedModel
    payload: bytes
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Split:
    """Which steps may be targets of training and of calibration, (A, T) each; the hold-out begins at `holdout_start`."""

    train: NDArray[np.bool_]
    calibrate: NDArray[np.bool_]
    holdout_start: int


def train(
    *,
    type: TwinType,
    block: StepBlock,
    base: ServedModel | None,
    number: int,
    alarms_per_twin_day: float,
    seed: int,
    threads: int,
    exclude: NDArray[np.bool_] | None = None,
) -> Trained:
    """Train the version `number` of a type.

    Args:
        type: the compiled twin type; the version carries its contract.
        block: closed steps; only good cells train.
        base: version to fine-tune: its backbone is frozen, adapters and head are trained. None: everything is trained.
        number: puts versions in order.
        alarms_per_twin_day: target that the alarm threshold is calibrated to.
        seed: of initial weights, shuffling and dropout.
        threads: CPU threads.
        exclude: (A, T) steps under an alarm or marked faulty; they neither train nor calibrate.

    Raises:
        TrainingImpossible: no twin has enough good steps.
    """
    began = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if base is not None and base.contract != type.contract:
        base = None
    good = good_cells(block.values, block.quality)
    if exclude is not None:
        good &= ~exclude[:, :, None]
    split_all = split_in_time(good)
    kept = np.flatnonzero((split_all.train.sum(axis=1) >= fleet_fit.TRAIN_STEPS_MIN) & (split_all.calibrate.sum(axis=1) >= 8))
    if not len(kept):
        raise TrainingImpossible(
            f"{type.slug}: no version trained: none of {len(block.assets)} twins has {fleet_fit.TRAIN_STEPS_MIN} good steps to train on "
            f"(most: {int(split_all.train.sum(axis=1).max(initial=0))} of {block.steps}); tried again when more steps have closed"
        )
    split = Split(split_all.train[kept], split_all.calibrate[kept], split_all.holdout_start)
    block = _only(block, kept)
    good = good[kept]
    loc, scale = fleet_fit.scalers(block.values, good & split.train[:, :, None])

    # tensors the forecaster trains on: (A, past - 1 + T, C), so that the first step has a whole (masked) past
    channels = len(block.channels)
    architecture = Architecture(twins=len(kept), channels=channels, past=WINDOW, horizons=HORIZONS)
    layout = Layout(window=WINDOW, span=fleet_fit.span_for(channels, block.steps), components=1)
    span_ns = int(split.holdout_start * block.period_ns)
    day, week = span_ns >= 2 * DAY_NS, span_ns >= 2 * WEEK_NS
    x = np.where(good, (block.values - loc[:, None]) / scale[:, None], 0.0).clip(-1e4, 1e4).astype(np.float32)

    network = Forecaster(architecture)
    network.step.copy_(torch.from_numpy(fleet_fit.usual_steps(x, good & split.train[:, :, None])))
    if base is not None:
        fleet_fit.inherit(network, base.detectors.network, tuple(base.info.assets), block.assets)
    samples, loss_train, loss_calibrate, loss_naive = _fit_forecaster(
        network,
        torch.from_numpy(x),
        torch.from_numpy(good.astype(np.float32)),
        torch.from_numpy(calendar(block.time_ns(), day=day, week=week)),
        split,
        base=base,
        seed=seed,
    )

    components = fleet_fit.components(x, good, split.train, layout.span)
    layout = replace(layout, components=components[1].shape[2])
    detectors = Detectors(architecture, layout)
    detectors.network.load_state_dict(network.state_dict())
    for name, tensor in (("loc", torch.from_numpy(loc)), ("scale", torch.from_numpy(scale)), ("centre", components[0]), ("basis", components[1])):
        getattr(detectors, name).copy_(tensor)
    info = VersionInfo(
        name=type.slug,
        type=type.id,
        contract=type.contract,
        version="",
        channels=block.channels,
        period_ns=block.period_ns,
        assets=block.assets,
        alarm_p=1e-3,
        base=None if base is None else base.version,
        trained_from_ns=int(block.time_ns()[0]),
        trained_to_ns=int(block.time_ns()[-1]),
        seed=seed,
        calendar_day=day,
        calendar_week=week,
        architecture=architecture,
        layout=layout,
    )
    model = ServedModel(info, detectors, sha256="", device="cpu")
    block_good = replace_quality(block, good)
    levels = level.fit_fleet(x, good, split.train | split.calibrate, calendar(block.time_ns(), day=day, week=week))
    detectors.level_weights.copy_(torch.from_numpy(levels.weights))
    surprise = calibrate(model, block_good, split.calibrate, levels)
    chosen = alarm_rate.choose(surprise, block.period_ns, alarms_per_twin_day)
    info = version.named(replace(info, alarm_p=chosen.alarm_p), detectors, number)
    payload = version.encode(info, detectors)
    figures = {
        "loss_train": loss_train,
        "loss_calibration": loss_calibrate,
        "loss_naive": loss_naive,
        "samples": float(samples),
        "twins": float(len(kept)),
        "twins_learning": float(split_all.train.shape[0] - len(kept)),
        "steps": float(block.steps),
        "parameters": float(sum(p.numel() for p in network.parameters())),
        "alarm_p": chosen.alarm_p,
        "calibration_alarms_per_twin_day": chosen.alarms_per_twin_day,
        "calibration_twin_days": chosen.twin_days,
        "seconds": time.perf_counter() - began,
    }
    return Trained(version.decode(payload, origin=f"{info.name} {info.version}"), payload, figures)


def split_in_time(good: NDArray[np.bool_]) -> Split:
    """Split each twin's own usable steps: older part, newer part, and the common newest hold-out. `good` is (A, T, C)."""
    usable = good.any(axis=2)
    steps = usable.shape[1]
    holdout_start = steps - int(steps * HOLDOUT_SHARE)
    before = usable & (np.arange(steps) < holdout_start)
    place = np.cumsum(before, axis=1)  # 1 for a twin's first usable step
    cut = np.ceil(place[:, -1:] * (1 - CALIBRATION_SHARE))
    return Split(before & (place <= cut), before & (place > cut), holdout_start)


def _fit_forecaster(
    network: Forecaster, x: Tensor, good: Tensor, calendars: Tensor, split: Split, *, base: ServedModel | None, seed: int
) -> tuple[int, float, float, float]:
    """The training loop. `x`, `good` (A, T, C); `calendars` (T, features). Returns samples seen and three mean losses."""
    a = network.architecture
    first = a.past
    pad = (0, 0, first, a.horizons - 1)
    x, good = torch.nn.functional.pad(x, pad), torch.nn.functional.pad(good, pad)  # (A, past + T + horizons - 1, C)
    calendars_of = calendars
    generator = torch.Generator().manual_seed(seed)
    trainable = torch.from_numpy(split.train)

    def batch(rows: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs and the targets of the `horizons` steps from `steps` on; targets outside the training part do not count."""
        at = steps[:, None] + torch.arange(first)  # padded: the steps before `steps`
        ahead = steps[:, None] + first + torch.arange(a.horizons)
        return x[rows[:, None], at], good[rows[:, None], at], x[rows[:, None], ahead], good[rows[:, None], ahead]

    def loss_of(rows: Tensor, steps: Tensor, part: Tensor, cut: bool) -> Tensor:
        past, mask, target, counts = batch(rows, steps)
        inside = (steps[:, None] + torch.arange(a.horizons)).clamp(max=part.shape[1] - 1)
        counts = counts * part[rows[:, None], inside][..., None]
        if cut:  # some windows start late, as they do for a new twin and for the shift detector
            keep = torch.randint(8, first + 1, (len(rows), 1), generator=generator)
            keep = torch.where(torch.rand(len(rows), 1, generator=generator) < 0.4, keep, first)
            seen = (torch.arange(first)[None] >= first - keep)[..., None]
            past, mask = past * seen, mask * seen
        mean, log_scale = network(rows, past, mask, calendars_of[steps])
        return (student_nll(mean, log_scale, target.clamp(-20, 20)) * counts).sum() / counts.sum().clamp(min=1)

    def mean_loss(part: Tensor, naive: bool = False) -> float:
        candidates = part.nonzero()
        chosen = candidates[torch.randperm(len(candidates), generator=torch.Generator().manual_seed(0))[:4096]]
        with torch.inference_mode():
            network.eval()
            if naive:  # persistence with the best constant scale
                past, mask, target, counts = batch(chosen[:, 0], chosen[:, 1])
                error = (target[:, 0] - past[:, -1]).abs()[(counts[:, 0] * mask[:, -1]) > 0]
                scale = error.median().clamp(min=1e-3).log() if len(error) else torch.zeros(())
                found = float(student_nll(torch.zeros_like(error), scale, error).mean()) if len(error) else 0.0
            else:
                found = float(loss_of(chosen[:, 0], chosen[:, 1], part, cut=False))
            network.train()
        return found

    candidates = trainable.nonzero()  # (M, 2): twin, step
    budget = TUNE_SAMPLES if base is not None else FIRST_SAMPLES
    updates = max(20, min(budget, EPOCHS_MAX * len(candidates)) // BATCH)
    calibrate = torch.from_numpy(split.calibrate)
    frozen = set(network.backbone()) if base is not None else set()
    trained = [parameter for parameter in network.parameters() if parameter not in frozen]
    for parameter in frozen:
        parameter.requires_grad_(False)
    start = [parameter.detach().clone() for parameter in trained]
    rate = TUNE_RATE if base is not None else FIRST_RATE
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0 if base is not None else WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=updates, pct_start=0.15)
    best_loss, best = mean_loss(calibrate), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    for update in range(updates):
        chosen = candidates[torch.randint(len(candidates), (BATCH,), generator=generator)]
        loss = loss_of(chosen[:, 0], chosen[:, 1], trainable, cut=True)
        if base is not None:
            loss = loss + PULL * sum(((p - s) ** 2).sum() for p, s in zip(trained, start, strict=True))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % max(1, updates // 6) == 0 or update + 1 == updates:
            now = mean_loss(calibrate)
            if now < best_loss:
                best_loss, best = now, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best)
    network.requires_grad_(True)
    return updates * BATCH, mean_loss(trainable), best_loss, mean_loss(calibrate, naive=True)


def calibrate(model: ServedModel, block: StepBlock, part: NDArray[np.bool_], levels: level.FleetLevels) -> NDArray[np.float32]:
    """Fill the model's tables from the steps of `part` (A, T); returns their fused surprise, (A, T), NaN elsewhere."""
    twins, steps = part.shape
    detectors, window = model.detectors, model.window
    values, quality = padded(block, window)
    times = block.time_ns()
    rows, at = np.nonzero(part)
    found: list[list[Tensor]] = [[] for _ in DETECTORS]
    for start in range(0, len(rows), 4096):
        r, t = rows[start : start + 4096], at[start : start + 4096]
        v, q = gather(values, quality, r, t, window)
        tensors = [torch.from_numpy(array) for array in (r, v, good_cells(v, q), *model.calendars(times[t]))]
        with torch.inference_mode():
            s = detectors.statistics(*tensors)
        for kept, name in zip(found, DETECTORS, strict=True):
            kept.append(getattr(s, name))
    rows_t = torch.from_numpy(rows)
    joined = [torch.cat(parts) for parts in found]  # (M, C) or (M, 1)
    # the weights have seen these steps: what counts is how far each was off when its own stretch was left out
    joined[DETECTORS.index("level")] = torch.from_numpy(levels.left_out[rows, at])
    for name, one in zip(DETECTORS, joined, strict=True):
        dense = np.full((twins, one.shape[1], steps), np.nan, np.float32)
        dense[rows, :, at] = np.where(one.numpy() > 0, one.numpy(), np.nan)  # 0: nothing to judge
        if name == "level":
            tables = levels.tables
        else:
            tables = np.stack([calibration.fit_tables(dense[:, column]) for column in range(one.shape[1])], axis=1)
        detectors.table(name).copy_(torch.from_numpy(tables))
    with torch.inference_mode():
        surprises = Surprises(*(calibration.surprise(detectors.table(n)[rows_t], one) for n, one in zip(DETECTORS, joined, strict=True)))
        raw = strongest(surprises)
    dense = np.full((twins, steps), np.nan, np.float32)
    dense[rows, at] = raw.numpy()
    detectors.table_fused.copy_(torch.from_numpy(calibration.fit_tables(dense)[:, None]))
    with torch.inference_mode():
        dense[rows, at] = calibration.surprise(detectors.table_fused[rows_t, 0], raw).numpy()
    return dense


def replace_quality(block: StepBlock, good: NDArray[np.bool_]) -> StepBlock:
    """The block with every cell that does not count marked bad, excluded ones too."""
    quality = np.where(good, block.quality, np.maximum(block.quality, 1)).astype(np.uint8)
    return StepBlock(block.assets, block.channels, block.first_step, block.period_ns, block.values, quality)


def _only(block: StepBlock, kept: NDArray[np.int64]) -> StepBlock:
    assets = tuple(block.assets[row] for row in kept)
    return StepBlock(assets, block.channels, block.first_step, block.period_ns, block.values[kept], block.quality[kept])

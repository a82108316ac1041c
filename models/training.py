"""Training: from closed steps of one twin type to a version, first training and fine-tuning alike.

In:   a `StepBlock`, the version to start from or None.
Out:  `Trained`: the version, ready to be written and gated, and figures of the training.
Same block, base, seed and thread count → same bytes.

A twin's usable steps before the hold-out are split in time (`models.split`): some train, some calibrate. The hold-out (the
newest steps of the block) is touched by neither: the gate judges on it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models import alarm_rate, fleet_fit, level, pattern, version
from models.coverage import usual_share
from models.detectors import Detectors, Layout
from models.forecast_training import fit_forecaster
from models.network import Architecture, Forecaster
from models.old_regime import for_training_and_judging, scaled
from models.served import ServedModel, VersionInfo
from models.split import HOLDOUT_SHARE, bad_marked, only_twins, split_in_time
from models.stuck_runs import learn_runs
from models.table_fitting import fit_all_tables
from models.windows import DAY_NS, WEEK_NS, calendar, good_cells
from twin.block import StepBlock
from twin.errors import LivetwinError
from twin.stretches import Stretches
from twin.types import TwinType

__all__ = ["HOLDOUT_SHARE", "Trained", "TrainingImpossible", "train"]

WINDOW = 64
HORIZONS = 8
CALIBRATION_STEPS_MIN = 8
LEVEL_DAYS = 2  # a shorter record has not shown which levels are usual: no level is judged
LEVEL_WEEKS = 3  # from so many on a level knows the days of the week


class TrainingImpossible(LivetwinError):
    """The block holds too little to train on; `retriable`, as more steps will come."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Trained:
    """A version as it came out of training. `payload` is the file's content; `model` the same, serving."""

    model: ServedModel
    payload: bytes
    figures: dict[str, float]


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
    holdout_share: float = HOLDOUT_SHARE,
    old: Stretches | None = None,
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
        holdout_share: newest steps of the block that are kept for a gate; 0 where no gate will judge.
        old: stretches from before the block, what must not train marked bad; some of them train beside the block's steps.

    Raises:
        TrainingImpossible: no twin has enough good steps.
    """
    began = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if base is not None and base.contract != type.contract:
        base = None

    # what counts, and which part of it is for what
    good = good_cells(block.values, block.quality)  # (A, T, C)
    if exclude is not None:
        good &= ~exclude[:, :, None]
    split = split_in_time(good, holdout_share, newest_train=base is not None)
    train_steps, calibration_steps = split.train.sum(axis=1), split.calibrate.sum(axis=1)
    kept = np.flatnonzero((train_steps >= fleet_fit.TRAIN_STEPS_MIN) & (calibration_steps >= CALIBRATION_STEPS_MIN))
    if not len(kept):
        raise TrainingImpossible(
            f"{type.slug} not trained: none of {len(block.assets)} twins has {fleet_fit.TRAIN_STEPS_MIN} good steps to train on "
            f"(most: {int(train_steps.max(initial=0))} of {block.steps} steps); tried again when more steps have closed"
        )
    learning = len(block.assets) - len(kept)
    block, good, split = only_twins(block, kept), good[kept], split.only(kept)
    twins, steps, channels = block.values.shape
    training = good & split.train[:, :, None]

    # scalers, and the record in units of each twin's spread
    loc, scale = fleet_fit.scalers(block.values, training)  # (A, C)
    x = np.where(good, (block.values - loc[:, None]) / scale[:, None], 0.0).clip(-1e4, 1e4).astype(np.float32)
    span_ns = split.holdout_start * block.period_ns
    day = base.info.calendar_day if base is not None else span_ns >= 2 * DAY_NS
    week = base.info.calendar_week if base is not None else span_ns >= 2 * WEEK_NS
    calendars = calendar(block.time_ns(), day=day, week=week)

    # the forecaster
    architecture = Architecture(twins=twins, channels=channels, past=WINDOW, horizons=HORIZONS)
    if base is not None:  # its sizes, which may be those of an older release
        architecture = replace(base.info.architecture, twins=twins)
    network = Forecaster(architecture)
    network.step.copy_(torch.from_numpy(fleet_fit.usual_steps(x, training)))
    if base is not None:
        fleet_fit.inherit(network, base.detectors.network, base.info.assets, block.assets)
    learnt, judged = for_training_and_judging(old) if old is not None else (None, None)
    fit = fit_forecaster(
        network,
        x,
        good,
        calendars,
        split.train,
        split.calibrate,
        fine_tune=base is not None,
        seed=seed,
        old=None if learnt is None else scaled(learnt, block.assets, loc, scale, day=day, week=week),
        judged=None if judged is None else scaled(judged, block.assets, loc, scale, day=day, week=week),
    )

    # what is fitted in closed form, a twin
    span = fleet_fit.span_for(channels, steps)
    centre, basis = fleet_fit.components(x, good, split.train, span)
    weekly = week and span_ns >= LEVEL_WEEKS * WEEK_NS
    levels = level.fit_fleet(
        x, good, split.train | split.calibrate, calendars, judged=span_ns >= LEVEL_DAYS * DAY_NS, weekly=weekly
    )
    patterns = pattern.fit_fleet(x, good, split.train | split.calibrate, seed=seed)
    layout = Layout(window=WINDOW, span=span, components=basis.shape[2], prototypes=len(patterns.prototypes), weekly=weekly)
    detectors = Detectors(architecture, layout)
    detectors.network.load_state_dict(network.state_dict())
    for buffer, fitted in (
        (detectors.loc, torch.from_numpy(loc)),
        (detectors.scale, torch.from_numpy(scale)),
        (detectors.centre, centre),
        (detectors.basis, basis),
        (detectors.level_weights, torch.from_numpy(levels.weights)),
        (detectors.prototypes, torch.from_numpy(patterns.prototypes)),
        (detectors.good_share, torch.from_numpy(usual_share(good, split.calibrate))),
    ):
        buffer.copy_(fitted)
    info = VersionInfo(
        name=type.slug,
        type=type.id,
        contract=type.contract,
        version="",
        channels=block.channels,
        period_ns=block.period_ns,
        assets=block.assets,
        alarm_p=1e-3,  # until it is calibrated below
        base=None if base is None else base.version,
        trained_from_ns=int(block.time_ns()[0]),
        trained_to_ns=int(block.time_ns()[-1]),
        seed=seed,
        calendar_day=day,
        calendar_week=week,
        architecture=architecture,
        layout=detectors.layout,
        alarms_per_twin_day=alarms_per_twin_day,
        stuck_runs=learn_runs(block.values, good & (split.train | split.calibrate)[:, :, None]),
    )

    # p-values, and the p-value at which steps count towards an alarm
    model = ServedModel(info, detectors, sha256="", device="cpu")
    surprise = fit_all_tables(model, bad_marked(block, good), split.calibrate, levels, patterns)  # (A, T)
    chosen = alarm_rate.choose(surprise, block.period_ns, alarms_per_twin_day)
    info = version.named(replace(info, alarm_p=chosen.alarm_p), detectors, number)
    payload = version.encode(info, detectors)
    figures = {
        "loss_train": fit.loss_train,
        "loss_calibration": fit.loss_calibration,
        "loss_one_step": fit.loss_one_step,
        "loss_naive_one_step": fit.loss_naive,
        "loss_old": fit.loss_old,
        "loss_old_before": fit.loss_old_before,
        "samples": float(fit.samples),
        "twins": float(twins),
        "twins_learning": float(learning),
        "steps": float(steps),
        "parameters": float(sum(p.numel() for p in network.parameters())),
        "alarm_p": chosen.alarm_p,
        "calibration_alarms_per_twin_day": chosen.alarms_per_twin_day,
        "calibration_twin_days": chosen.twin_days,
        "seconds": time.perf_counter() - began,
    }
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}  # old losses: where there are any
    served = version.decode(payload, origin=f"{info.name} {info.version}", expect_type=type, behaviour=False)
    return Trained(served, payload, figures)

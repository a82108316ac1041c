"""Training of the forecaster: one plain loop, first training and fine-tuning alike.

In:   scaled steps of all twins, which count, which may be targets of training and of calibration.
Out:  the network with the weights that were best on the calibration steps and on old stretches; `FitFigures`.
Same input, seed and thread count → same weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.losses import LOSSES
from models.network import Forecaster, student_nll
from models.old_regime import OldSteps
from models.update import LossName

BATCH = 256
FIRST_SAMPLES, TUNE_SAMPLES = 150_000, 50_000
EPOCHS_MAX = 25
RATE = 3e-3
WEIGHT_DECAY = 1e-2  # of a first training
PULL = 1e-3  # of a fine-tuned weight towards the base, per squared difference
CUT_SHARE, CUT_STEPS_MIN = 0.4, 8  # share of windows that start late, as a new twin's do, and the fewest steps they keep
TARGET_CLIP = 20.0
HALF_LIFE = 0.15  # of an update: a step so much of the record older is drawn, and counts in choosing weights, half as often
OLD_SHARE = 0.25  # of a batch, where old stretches are remembered
CHECKS = 6  # times the calibration loss is looked at


@dataclass(frozen=True, slots=True)
class FitFigures:
    samples: int
    loss_train: float
    loss_calibration: float
    loss_naive: float  # persistence with the best constant scale, one step ahead, on the calibration steps
    loss_one_step: float  # the network's, one step ahead, on the same
    loss_old_before: float  # on old stretches that never train, with the weights it began with; NaN: none are remembered
    loss_old: float  # on the same, with those it ended with


class Samples:
    """Windows and the steps that follow them, cut from records on demand. R records × T steps × C channels.

    Args:
        network: tells how long windows and forecasts are.
        x: (R, T, C) scaled.
        good: (R, T, C).
        calendars: (T, features) where all records lie on one grid, else (R, T, features).
        twins: (R,) the twin of each record; None: record r is twin r's.
    """

    def __init__(
        self,
        network: Forecaster,
        x: NDArray[np.float32],
        good: NDArray[np.bool_],
        calendars: NDArray[np.float32],
        twins: NDArray[np.int64] | None = None,
    ) -> None:
        a = network.architecture
        self.past, self.horizons = a.past, a.horizons
        pad = (0, 0, a.past, a.horizons - 1)  # (R, past + T + horizons - 1, C): every step has a whole past and future
        self.x = torch.nn.functional.pad(torch.from_numpy(x).clamp(-1e4, 1e4), pad)
        self.good = torch.nn.functional.pad(torch.from_numpy(good.astype(np.float32)), pad)
        self.calendars = torch.from_numpy(calendars)
        self.twins = torch.arange(len(x)) if twins is None else torch.from_numpy(twins)

    def calendar(self, rows: Tensor, steps: Tensor) -> Tensor:
        return self.calendars[steps] if self.calendars.dim() == 2 else self.calendars[rows, steps]

    def inputs(self, rows: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """The `past` steps before `steps`, (N, past, C), and which cells count."""
        at = steps[:, None] + torch.arange(self.past)
        return self.x[rows[:, None], at], self.good[rows[:, None], at]

    def targets(self, rows: Tensor, steps: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
        """The `horizons` steps from `steps` on, (N, horizons, C), and which cells count: good ones inside `part` (A, T)."""
        ahead = steps[:, None] + torch.arange(self.horizons)
        inside = part[rows[:, None], ahead.clamp(max=part.shape[1] - 1)]
        at = self.past + ahead
        return self.x[rows[:, None], at].clamp(-TARGET_CLIP, TARGET_CLIP), self.good[rows[:, None], at] * inside[..., None]


# twins (N,), past (N, past, C) and which cells of it count, calendar (N, features), target (N, horizons, C) and its weight
Windows: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class _Pool:
    """Windows whose targets lie in one part (R, T) of the records. A step `half_life` of the record older is half as likely."""

    def __init__(self, samples: Samples, part: Tensor, half_life: float = math.inf) -> None:
        self._samples, self._part = samples, part
        self._steps = part.nonzero()  # (M, 2): record, step
        age = (part.shape[1] - self._steps[:, 1]).double() / (half_life * part.shape[1])
        self._cumulated = torch.exp2(-age).cumsum(0) if half_life < math.inf else None

    def __len__(self) -> int:
        return len(self._steps)

    def draw(self, count: int, generator: torch.Generator) -> Windows:
        """`count` windows at random, with replacement."""
        if self._cumulated is None:
            return self._windows(torch.randint(len(self._steps), (count,), generator=generator))
        at = torch.rand(count, generator=generator, dtype=torch.float64) * self._cumulated[-1]
        return self._windows(torch.searchsorted(self._cumulated, at).clamp(max=len(self._steps) - 1))

    def some(self) -> Windows:
        """Up to 4096 windows, always the same ones."""
        generator = torch.Generator().manual_seed(0)
        if self._cumulated is not None:
            return self.draw(4096, generator)
        return self._windows(torch.randperm(len(self._steps), generator=generator)[:4096])

    def _windows(self, places: Tensor) -> Windows:
        rows, steps = self._steps[places].unbind(1)
        target = self._samples.targets(rows, steps, self._part)
        return self._samples.twins[rows], *self._samples.inputs(rows, steps), self._samples.calendar(rows, steps), *target


def fit_forecaster(
    network: Forecaster,
    x: NDArray[np.float32],
    good: NDArray[np.bool_],
    calendars: NDArray[np.float32],
    train: NDArray[np.bool_],
    calibrate: NDArray[np.bool_],
    *,
    fine_tune: bool,
    seed: int,
    old: OldSteps | None = None,
    judged: OldSteps | None = None,
    loss: LossName = "student",
) -> FitFigures:
    """Train the network in place.

    Args:
        network: its present weights are the start, and with `fine_tune` what the weights are pulled towards. Twins of it
            beyond the A of `x` keep their adapters.
        x: (A, T, C) scaled, 0 where not good.
        good: (A, T, C).
        calendars: (T, CALENDAR_FEATURES).
        train: (A, T) steps that may be targets.
        calibrate: (A, T) steps that choose the best weights.
        fine_tune: fewer samples, newer steps more often, and a pull towards where the weights began.
        seed: of shuffling and of windows that start late; dropout draws from torch's own generator.
        old: of the past before the record: OLD_SHARE of each batch, and of what chooses the best weights.
        judged: the same, never trained on: what the figures say of forgetting.
        loss: what the weights are taught by; they are chosen, and all figures told, by `student`.
    """
    samples = Samples(network, x, good, calendars)
    train_t, calibrate_t = torch.from_numpy(train), torch.from_numpy(calibrate)
    generator = torch.Generator().manual_seed(seed)
    half_life = HALF_LIFE if fine_tune else math.inf
    newest, chosen_by = _Pool(samples, train_t, half_life), [(_Pool(samples, calibrate_t, half_life).some(), 1.0)]
    sources = [(newest, BATCH)]
    if old is not None and bool((inside := _targets_of(old)).any()):
        remembered = _Pool(Samples(network, old.x, old.good, old.calendars, old.twins), inside)
        of_batch = round(BATCH * OLD_SHARE)
        sources = [(newest, BATCH - of_batch), (remembered, of_batch)]
        chosen_by = [(chosen_by[0][0], 1 - OLD_SHARE), (remembered.some(), OLD_SHARE)]
    loss_old_before = _loss_of(network, judged)
    updates = max(20, min(TUNE_SAMPLES if fine_tune else FIRST_SAMPLES, EPOCHS_MAX * len(newest)) // BATCH)

    trained = list(network.parameters())
    start = [parameter.detach().clone() for parameter in trained]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0 if fine_tune else WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=updates, pct_start=0.15)

    def loss_on_chosen() -> float:
        return sum(share * _loss_on(network, windows) for windows, share in chosen_by)

    best_loss, best = loss_on_chosen(), _copied(network)
    for update in range(updates):
        network.train()
        drawn = [pool.draw(count, generator) for pool, count in sources]
        twins, past, counts, calendar, target, weight = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        seen = _late_starts(len(twins), samples.past, generator)
        mean, log_scale = network(twins, past * seen, counts * seen, calendar)
        cost = (LOSSES[loss](mean, log_scale, target) * weight).sum() / weight.sum().clamp(min=1)
        if fine_tune:
            for parameter, before in zip(trained, start, strict=True):
                cost = cost + PULL * ((parameter - before) ** 2).sum()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(cost)
        _keep_adapters(network, from_row=len(x))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % max(1, updates // CHECKS) == 0 or update + 1 == updates:
            loss_now = loss_on_chosen()
            if loss_now < best_loss:
                best_loss, best = loss_now, _copied(network)

    network.load_state_dict(best)
    naive, one_step = _one_step_losses(network, samples, calibrate_t)
    return FitFigures(
        updates * BATCH,
        _loss_on(network, _Pool(samples, train_t).some()),
        _loss_on(network, _Pool(samples, calibrate_t).some()),
        naive,
        one_step,
        loss_old_before,
        _loss_of(network, judged),
    )


def _keep_adapters(network: Forecaster, *, from_row: int) -> None:
    """Take the gradient from the adapters of twins from this row on; what is remembered of them trains the backbone alone."""
    for adapter in (network.down, network.up, network.bias):
        assert adapter.grad is not None
        adapter.grad[from_row:] = 0


def _targets_of(old: OldSteps) -> Tensor:
    """(S, L) steps that have a good cell, and steps before them to forecast from."""
    inside = torch.from_numpy(old.good.any(axis=2))
    inside[:, :CUT_STEPS_MIN] = False
    return inside


def _loss_of(network: Forecaster, old: OldSteps | None) -> float:
    """Mean loss on old stretches; NaN where there is none."""
    if old is None or not bool((inside := _targets_of(old)).any()):
        return math.nan
    return _loss_on(network, _Pool(Samples(network, old.x, old.good, old.calendars, old.twins), inside).some())


def _late_starts(n: int, past: int, generator: torch.Generator) -> Tensor:
    """1 for the steps a window is allowed to see, (N, past, 1): some windows start late."""
    keep = torch.randint(CUT_STEPS_MIN, past + 1, (n, 1), generator=generator)
    keep = torch.where(torch.rand(n, 1, generator=generator) < CUT_SHARE, keep, past)
    return (torch.arange(past)[None] >= past - keep)[..., None].float()


def calibration_loss(
    network: Forecaster,
    x: NDArray[np.float32],
    good: NDArray[np.bool_],
    calendars: NDArray[np.float32],
    calibrate: NDArray[np.bool_],
) -> float:
    """Mean loss of a network as it is, on the calibration steps; arguments as `fit_forecaster` has them."""
    return _loss_on(network, _Pool(Samples(network, x, good, calendars), torch.from_numpy(calibrate)).some())


def _copied(network: Forecaster) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _loss_on(network: Forecaster, windows: Windows) -> float:
    """Mean loss on windows as `_Pool` gives them."""
    twins, past, counts, calendar, target, weight = windows
    network.eval()
    with torch.inference_mode():
        mean, log_scale = network(twins, past, counts, calendar)
        return float((student_nll(mean, log_scale, target) * weight).sum() / weight.sum().clamp(min=1))


def _one_step_losses(network: Forecaster, samples: Samples, part: Tensor) -> tuple[float, float]:
    """Loss one step ahead: persistence with the best constant scale, and the network."""
    twins, past, counts, calendar, target, weight = _Pool(samples, part).some()
    network.eval()
    with torch.inference_mode():
        both = weight[:, 0] * counts[:, -1] > 0  # (N, C)
        if not bool(both.any()):
            return 0.0, 0.0
        error = (target[:, 0] - past[:, -1]).abs()[both]
        naive = student_nll(torch.zeros_like(error), error.median().clamp(min=1e-3).log(), error).mean()
        mean, log_scale = network(twins, past, counts, calendar)
        return float(naive), float(student_nll(mean[:, 0], log_scale[:, 0], target[:, 0])[both].mean())

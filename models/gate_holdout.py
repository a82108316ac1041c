"""Gate stage on the newest steps, which neither version was trained on: forecasts and coverage; both versions side by side.

In:   both versions' evaluations of one stretch (`Judged`).
Out:  stage `hold-out`; the figures that `calibration` looks at.
The shadow judges live steps by the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluate import Evaluation, evaluate
from models.gate_stage import Stage, Stretch
from models.network import FREEDOM
from models.port import Served
from models.windows import DAY_NS, good_cells
from twin.block import StepBlock

LOSS_TOLERANCE = 0.02  # nats a cell that a candidate may be worse by: it has learnt from newer steps
TWIN_TOLERANCE = 0.5  # nats a cell that one twin may be worse by
TWINS_WORSE = 0.02  # share of the twins that may be worse by more
TWINS_LOST = 0.02  # share of the champion's judged twin-steps that a candidate may leave unscored
MEMORY = 8  # steps over which differences of loss say much the same
SURE = 3.0  # standard errors
TWIN_STEPS_MIN = 32


@dataclass(frozen=True, slots=True)
class Judged:
    """Both versions on one stretch."""

    stretch: Stretch
    mine: Evaluation
    theirs: Evaluation | None

    @classmethod
    def of(cls, candidate: Served, champion: Served | None, stretch: Stretch) -> Judged:
        mine = evaluate(candidate, stretch.block, start=stretch.start)
        theirs = evaluate(champion, stretch.block, start=stretch.start) if champion is not None else None
        return cls(stretch, mine, theirs)

    @property
    def both(self) -> NDArray[np.bool_]:
        """(A, T): judged steps that both versions score."""
        both = self.mine.scored & self.stretch.judged()
        return both if self.theirs is None else both & self.theirs.scored

    def losses(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Loss of each cell, (A, T, C), in nats of channel units; NaN where one of them is not judged or gave no number."""
        block = self.stretch.block
        cells = good_cells(block.values, block.quality) & self.both[:, :, None]
        mine = cell_losses(self.mine, block, cells)
        if self.theirs is None:
            return mine, None
        theirs = cell_losses(self.theirs, block, cells)
        unknown = np.isnan(mine) | np.isnan(theirs)
        return np.where(unknown, np.nan, mine), np.where(unknown, np.nan, theirs)

    def twin_days(self) -> float:
        return float((self.mine.scored & self.stretch.judged()).sum()) * self.stretch.block.period_ns / DAY_NS

    def figures(self) -> dict[str, float]:
        """Loss over the cells that both scored; alarms and calibration over what each scored."""
        judged, block = self.stretch.judged(), self.stretch.block
        mine, theirs = self.losses()
        figures = {f"candidate_{name}": value for name, value in _figures(self.mine, block, judged, mine).items()}
        if self.theirs is not None and theirs is not None:
            figures |= {f"champion_{name}": value for name, value in _figures(self.theirs, block, judged, theirs).items()}
        return figures | {"twin_days": self.twin_days()}


def cell_losses(found: Evaluation, block: StepBlock, cells: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Negative log-likelihood of each cell under the version's Student-t, without the constant; NaN outside of `cells`."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = found.spread.astype(np.float64) / math.sqrt(FREEDOM / (FREEDOM - 2))
        z = (block.values.astype(np.float64) - found.expected) / scale
        loss = np.log(scale) + 0.5 * (FREEDOM + 1) * np.log1p(z * z / FREEDOM)
    return np.asarray(np.where(cells & np.isfinite(loss), loss, np.nan))


def hold_out(judged: Judged, figures: dict[str, float]) -> Stage:
    """Numbers that are finite, twins that are still known, a loss that is no worse, over all and a twin."""
    name, n = "hold-out", int(judged.both.sum())
    lost, before = _twins_lost(judged)
    if lost > TWINS_LOST * before:
        gone = _unknown(judged)
        return Stage(
            name,
            False,
            f"{lost} of the {before} twin-steps that the champion scores stay unscored, {TWINS_LOST:.0%} at most expected"
            f"{f' (unknown to it: {gone})' if gone else ''}",
        )
    if n < TWIN_STEPS_MIN:
        return Stage(name, False, f"only {n} twin-steps to judge on, expected {TWIN_STEPS_MIN} at least")
    if figures["candidate_not_finite"] > 0 or not math.isfinite(figures["candidate_loss"]):
        bad = figures["candidate_not_finite"]
        return Stage(name, False, f"{bad:.0f} forecasts or scores on the hold-out are not finite, expected none")
    loss = f"loss {figures['candidate_loss']:.3f}"
    mine, theirs = judged.losses()
    if theirs is None:
        return Stage(name, True, f"{loss} on {n} twin-steps")
    loss += f" against {figures['champion_loss']:.3f}"
    worse = figures["candidate_loss"] - figures["champion_loss"]
    if worse > LOSS_TOLERANCE:
        return Stage(name, False, f"{loss} of the champion on the same {n} twin-steps, {LOSS_TOLERANCE} more is allowed")
    twins = twins_worse(mine - theirs)
    allowed = int(TWINS_WORSE * int(judged.both.any(axis=1).sum()))
    if len(twins) > allowed:
        row, by = twins[0]
        return Stage(
            name,
            False,
            f"{loss}, but {len(twins)} twins are worse by more than {TWIN_TOLERANCE} nats, {allowed} at most expected "
            f"(the worst, {judged.stretch.block.assets[row]}, by {by:.2f})",
            {"twins_worse": float(len(twins))},
        )
    noise = f" (up to {LOSS_TOLERANCE} worse counts as equal: it has learnt from newer steps)" if worse > 0 else ""
    return Stage(name, True, f"{loss}{noise} on the same {n} twin-steps", {"twins_worse": float(len(twins))})


def twins_worse(difference: NDArray[np.float64]) -> Sequence[tuple[int, float]]:
    """Twins surely worse by more than TWIN_TOLERANCE, the worst first: row, nats. `difference` (A, T, C), NaN: unknown."""
    found: list[tuple[int, float]] = []
    for row in np.flatnonzero(np.isfinite(difference).any(axis=(1, 2))):
        steps = difference[row][np.isfinite(difference[row]).any(axis=1)]
        mean, error = mean_and_error(np.nanmean(steps, axis=1))
        if len(steps) >= TWIN_STEPS_MIN and mean > TWIN_TOLERANCE and mean > SURE * error:
            found.append((int(row), mean))
    return sorted(found, key=lambda one: -one[1])


def mean_and_error(series: NDArray[np.float64], memory: int = MEMORY) -> tuple[float, float]:
    """Mean of a series in time and its standard error, as `memory` neighbours say much the same."""
    independent = max(len(series) / memory, 2.0)
    return float(series.mean()), float(series.std()) / math.sqrt(independent - 1)


def _twins_lost(judged: Judged) -> tuple[int, int]:
    """Judged twin-steps that only the champion scores, and all that it scores."""
    if judged.theirs is None:
        return 0, 0
    theirs = judged.theirs.scored & judged.stretch.judged()
    return int((theirs & ~judged.mine.scored).sum()), int(theirs.sum())


def _unknown(judged: Judged) -> str:
    missing = [judged.stretch.block.assets[row] for row in np.flatnonzero(~judged.mine.scored.any(axis=1))]
    return ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")


def _figures(found: Evaluation, block: StepBlock, judged: NDArray[np.bool_], losses: NDArray[np.float64]) -> dict[str, float]:
    mine = found.scored & judged
    sound = (found.spread > 0) & np.isfinite(found.spread) & np.isfinite(found.expected)
    finite = sound.all(axis=2) & np.isfinite(found.score)
    p = found.p_value[mine]
    row_of = {asset: row for row, asset in enumerate(block.assets)}
    known = losses[np.isfinite(losses)]
    return {
        "loss": float(known.mean()) if known.size else math.nan,
        "not_finite": float((mine & ~finite).sum()),
        "alarms": float(sum(judged[row_of[alarm.asset], alarm.onset] for alarm in found.alarms)),
        "share_p05": float((p < 0.05).mean()) if p.size else 0.0,
        "share_p01": float((p < 0.01).mean()) if p.size else 0.0,
        "twins": float(mine.any(axis=1).sum()),
    }

"""The gate: does a candidate take over? Both versions score the same newest steps, which neither was trained on.

In:   candidate, champion or None, the hold-out (a block whose first steps are context).
Out:  `Decision`: yes or no, why in plain words with numbers, and the figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.evaluate import Evaluation, evaluate
from models.network import FREEDOM
from models.served import ServedModel
from models.windows import DAY_NS, good_cells
from twin.block import StepBlock

LOSS_TOLERANCE = 0.02  # nats a cell that a candidate may be worse by
CALIBRATION_WORST = 4.0  # realised over promised share of p < 0.05 beyond which a version is refused
TWIN_STEPS_MIN = 32


@dataclass(frozen=True, slots=True)
class Decision:
    promote: bool
    why: str
    figures: dict[str, float]


def compare(
    candidate: ServedModel,
    champion: ServedModel | None,
    holdout: StepBlock,
    *,
    start: int = 0,
    alarms_per_twin_day: float = 0.02,
    exclude: NDArray[np.bool_] | None = None,
) -> Decision:
    """Decide on the newest steps.

    Args:
        candidate: the version that wants to serve.
        champion: the version that serves; None: the first model, whose own checks decide.
        holdout: newest closed steps.
        start: first step to judge on; earlier ones are context for windows.
        alarms_per_twin_day: the target.
        exclude: (A, T) steps under an alarm or marked faulty: not judged.
    """
    judged = np.zeros(holdout.values.shape[:2], np.bool_)
    judged[:, start:] = True
    if exclude is not None:
        judged &= ~exclude
    mine = evaluate(candidate, holdout, start=start)
    theirs = evaluate(champion, holdout, start=start) if champion is not None else None
    both = mine.scored & judged
    if theirs is not None:
        both &= theirs.scored
    figures = {f"candidate_{name}": value for name, value in _figures(mine, holdout, judged, both).items()}
    if theirs is not None:
        figures |= {f"champion_{name}": value for name, value in _figures(theirs, holdout, judged, both).items()}
    steps_per_day = DAY_NS / holdout.period_ns
    twin_days = float((mine.scored & judged).sum()) / steps_per_day
    figures["twin_days"] = twin_days

    n = int(both.sum())
    if n < TWIN_STEPS_MIN:
        return Decision(False, f"refused: only {n} twin-steps to judge on, expected {TWIN_STEPS_MIN} at least", figures)
    if not math.isfinite(figures["candidate_loss"]) or figures["candidate_not_finite"] > 0:
        return Decision(
            False, f"refused: {int(figures['candidate_not_finite'])} forecasts or scores on the hold-out are not finite", figures
        )
    allowed = float(stats.poisson.ppf(0.999, alarms_per_twin_day * twin_days))
    raised = figures["candidate_alarms"]
    strange = figures["candidate_share_p05"] / 0.05
    if theirs is None:
        if raised > max(allowed, 2):
            return Decision(
                False,
                f"refused: {raised:.0f} alarms in {twin_days:.1f} twin-days of the hold-out, "
                f"{allowed:.0f} at most at the target of {alarms_per_twin_day} a twin-day",
                figures,
            )
        if strange > CALIBRATION_WORST:
            return Decision(False, f"refused: {strange * 5:.0f} % of hold-out steps have p < 0.05, expected about 5 %", figures)
        return Decision(
            True,
            f"first model: loss {figures['candidate_loss']:.3f} on {n} twin-steps, {raised:.0f} alarms in "
            f"{twin_days:.1f} twin-days (at most {max(allowed, 2):.0f}), {strange * 5:.1f} % of steps with p < 0.05",
            figures,
        )
    worse = figures["candidate_loss"] - figures["champion_loss"]
    if worse > LOSS_TOLERANCE:
        return Decision(
            False,
            f"refused: loss {figures['candidate_loss']:.3f} against {figures['champion_loss']:.3f} of the champion on the same "
            f"{n} twin-steps, {LOSS_TOLERANCE} more is allowed",
            figures,
        )
    if raised > max(allowed, figures["champion_alarms"]):
        return Decision(
            False,
            f"refused: {raised:.0f} alarms in {twin_days:.1f} twin-days of the hold-out, the champion raised "
            f"{figures['champion_alarms']:.0f} and the target explains {allowed:.0f}",
            figures,
        )
    if strange > CALIBRATION_WORST and strange > figures["champion_share_p05"] / 0.05:
        return Decision(
            False,
            f"refused: {strange * 5:.0f} % of hold-out steps have p < 0.05, expected about 5 % (champion "
            f"{figures['champion_share_p05'] * 100:.0f} %)",
            figures,
        )
    noise = f" (up to {LOSS_TOLERANCE} worse counts as equal: it has learnt from newer steps)" if worse > 0 else ""
    return Decision(
        True,
        f"promoted: loss {figures['candidate_loss']:.3f} against {figures['champion_loss']:.3f}{noise} on the same "
        f"{n} twin-steps, {raised:.0f} alarms against {figures['champion_alarms']:.0f} in {twin_days:.1f} twin-days, "
        f"{strange * 5:.1f} % of steps with p < 0.05 against {figures['champion_share_p05'] * 100:.1f} %",
        figures,
    )


def _figures(found: Evaluation, block: StepBlock, judged: NDArray[np.bool_], both: NDArray[np.bool_]) -> dict[str, float]:
    """Loss over the cells both versions scored, in channel units; alarms and calibration over what this one scored."""
    mine = found.scored & judged
    cells = good_cells(block.values, block.quality) & both[:, :, None] & np.isfinite(found.expected) & (found.spread > 0)
    scale = found.spread[cells].astype(np.float64) / math.sqrt(FREEDOM / (FREEDOM - 2))
    z = (block.values[cells].astype(np.float64) - found.expected[cells]) / scale
    loss = np.log(scale) + 0.5 * (FREEDOM + 1) * np.log1p(z * z / FREEDOM)
    finite = np.isfinite(found.expected).all(axis=2) & np.isfinite(found.spread).all(axis=2) & np.isfinite(found.score)
    p = found.p_value[mine]
    row_of = {asset: row for row, asset in enumerate(block.assets)}
    return {
        "loss": float(loss.mean()) if loss.size else math.nan,
        "not_finite": float((mine & ~finite).sum()),
        "alarms": float(sum(judged[row_of[alarm.asset], alarm.onset] for alarm in found.alarms)),
        "share_p05": float((p < 0.05).mean()) if p.size else 0.0,
        "share_p01": float((p < 0.01).mean()) if p.size else 0.0,
        "twins": float(mine.any(axis=1).sum()),
    }

"""What an update makes of the versions before it: whether the backbone is trained anew, and whether another structure is tried.

In:   what `models` tells of a type's versions, the budget.
Out:  plain values for `UpdateJob`. Pure: no clock, no I/O.
"""

from __future__ import annotations

from streams.models_topic import ModelView
from streams.triggers import Budget

PRETRAINED = "pretrained_steps"  # figure of a version: steps its backbone was trained on
_AS_MUCH_AGAIN = 2.0  # what an update takes that trains two structures, times one that trains one


def steps_seen(model: ModelView | None) -> float:
    """Steps that the champion's backbone was trained on; 0 when nobody knows."""
    champion = model.champion if model is not None else None
    return champion.figures.get(PRETRAINED, 0.0) if champion is not None else 0.0


def structure_trial(model: ModelView | None, number: int, *, every: int, budget: Budget, now_s: float) -> int | None:
    """Which turn of trying another structure the update that makes version `number` is; None: it is none.

    Every so many versions, where the budget holds what it takes: a trial may not overdraw it, as an update may.

    Args:
        every: 0: never.
    """
    if model is None or not every or number % every:
        return None
    newest = next((one for one in model.history() if one.compute is not None), None)
    cost_s = newest.compute.cpu_s if newest is not None and newest.compute is not None else 0.0
    return number // every if budget.holds(_AS_MUCH_AGAIN * cost_s, now_s=now_s) else None

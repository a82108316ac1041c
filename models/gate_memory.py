"""Gate stage on old regimes: what a candidate has forgotten of how the twins were some time ago.

In:   both versions, stretches of old steps.
Out:  stage `old regimes`.
Following a plant that has changed may cost on what it was: no more than it gains on the newest steps, beyond a tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.gate_holdout import TWIN_STEPS_MIN, Judged
from models.gate_stage import Stage, Stretch
from models.old_regime import for_training_and_judging
from models.port import Served
from twin.block import StepBlock
from twin.stretches import Stretches

GROUPS = 128  # times in the past that are looked at
FORGOTTEN = 0.1  # nats a cell that old steps may cost more, or as much as was gained on the newest


def old_regimes(candidate: Served, champion: Served | None, stretches: Sequence[Stretch], *, gained: float) -> Stage:
    """The stage.

    Args:
        stretches: old steps, none of the hold-out.
        gained: nats a cell by which the candidate's loss on the newest steps is below the champion's.
    """
    name = "old regimes"
    if champion is None or not stretches:
        return Stage(name, True, "nothing older to compare on")
    mine, theirs, cells, steps = 0.0, 0.0, 0, 0
    for stretch in stretches:
        judged = Judged.of(candidate, champion, stretch)
        losses, before = judged.losses()
        assert before is not None
        known = np.isfinite(losses)
        mine, theirs, cells = mine + float(losses[known].sum()), theirs + float(before[known].sum()), cells + int(known.sum())
        steps += int(judged.both.sum())
    if steps < TWIN_STEPS_MIN or not cells:
        return Stage(name, True, f"only {steps} old twin-steps to compare on", {"old_twin_steps": float(steps)})
    mine, theirs = mine / cells, theirs / cells
    figures = {"candidate_old_loss": mine, "champion_old_loss": theirs, "old_twin_steps": float(steps)}
    most = max(FORGOTTEN, gained)
    text = f"loss {mine:.3f} against {theirs:.3f} on {steps} old twin-steps"
    if mine - theirs > most:
        return Stage(name, False, f"{text}, {most:.2f} more is allowed (it gained {max(gained, 0.0):.2f} on the newest)", figures)
    return Stage(name, True, text, figures)


def remembered(old: Stretches, channels: tuple[str, ...], window: int) -> list[Stretch]:
    """What is remembered of old regimes and has trained no version, twins of the same time together; GROUPS at most."""
    _, judged = for_training_and_judging(old)
    if judged.steps <= window:
        return []
    firsts = np.unique(judged.first_step)
    found: list[Stretch] = []
    for first in firsts[np.unique(np.linspace(0, len(firsts) - 1, GROUPS).astype(int))] if len(firsts) else firsts:
        rows = np.flatnonzero(judged.first_step == first)
        names = tuple(judged.assets[row] for row in rows)
        block = StepBlock(names, channels, int(first), judged.period_ns, judged.values[rows], judged.quality[rows])
        found.append(Stretch(block, window - 1))
    return found

"""Trial of another structure: is what an update learns with it surely better than what it learns without?

In:   two versions of one update, trained alike on the same steps; the hold-out, which neither was trained on.
Out:  `Verdict`: whether the other structure is taken, and why in words, for the version's stages.

More of anything must surely pay: parameters, memory and time are spent for ever. Less must surely cost next to nothing.
What is too slow or too large is not taken, whatever it wins. What is taken goes through the gate like any version.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.batch_means import mean_and_chance
from models.gate_cost import latency, size
from models.gate_holdout import Judged
from models.gate_stage import Stage, Stretch
from models.served import ServedModel
from models.structure import Structure

CHANCE = 0.01  # that the hold-out misleads, one-sided
GAIN_MIN = 0.005  # nats a cell that a larger structure must win
COST_MAX = 0.005  # nats a cell that a smaller one may cost
STAGE = "structure"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`worse`: nats a cell, the other structure's loss less the present one's; `by_chance`: what chance explains of that."""

    taken: bool
    worse: float
    by_chance: float
    found: str

    def stage(self, refused: str | None = None) -> Stage:
        """The version's stage of this trial. `refused`: what the gate said against what was taken; None: nothing."""
        figures = {"structure_worse": self.worse, "structure_by_chance": self.by_chance}
        if refused is None:
            return Stage(STAGE, True, self.found, figures)
        return Stage(STAGE, True, f"{self.found}, but not let through: {refused.removeprefix('refused: ')}", figures)


def proposed(now: Structure, turn: int) -> Structure:
    """What is tried at this turn: each neighbour after the other.

    >>> [str(proposed(Structure(4, 0), turn)) for turn in (0, 2, 3)][1:]
    ['rank 2 and 0 residual blocks', 'rank 8 and 0 residual blocks']
    """
    neighbours = now.neighbours()
    return neighbours[turn % len(neighbours)]


def verdict(other: ServedModel, present: ServedModel, stretch: Stretch) -> Verdict:
    """Compare two versions of one update: what they cost, then their loss on the hold-out, paired over hours."""
    wanted, had = (Structure.of(one.info.architecture) for one in (other, present))
    told = f"{wanted} instead of {had}"
    for cost in (latency(other, present, stretch), size(other, present)):
        if not cost.passed:
            return Verdict(False, math.nan, math.nan, f"{told} not taken: {cost.why}")
    theirs, mine = Judged.of(other, present, stretch).losses()
    assert mine is not None
    difference = theirs - mine
    known = difference[np.isfinite(difference)]
    _, by_chance = mean_and_chance(difference, stretch.block.period_ns, CHANCE)
    worse = float(known.mean()) if known.size else math.nan
    if had.within(wanted):
        taken = worse < -max(by_chance, GAIN_MIN)
        asked = f"it must win {GAIN_MIN:g}, and more than chance explains"
    else:
        taken = worse + by_chance < COST_MAX
        asked = f"it may cost {COST_MAX:g} at most, chance counted in"
    told = f"{told}{'' if taken else ' not taken'}: loss {worse:+.4f} nats on the hold-out, up to {by_chance:.4f} by chance"
    return Verdict(taken, worse, by_chance, told if taken else f"{told}; {asked}")

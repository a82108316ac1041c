"""Gate stage on earlier champions: many updates, each no worse than the last by much, must not add up to a worse one.

In:   both versions on the newest stretch; earlier champions, those that were the best when the champion was judged among them.
Out:  stage `anchor`; the versions that the next candidate is to be compared with.

An update may cost a little, as it has learnt from newer steps, and may find a few faults less. A hundred such updates, each
compared with the one before it alone, would lose much. So beside the best of all, on the same steps, a candidate may cost no
more than it may beside the champion. One that is better than the champion is judged by the champion alone: an old
regime may have come back, for which an older version is better still, and to refuse the better of the two would help nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.batch_means import mean_and_chance
from models.evaluate import evaluate
from models.gate_faults import Golden, allowed, surely_fewer
from models.gate_holdout import LOSS_TOLERANCE, Judged
from models.gate_stage import Stage
from models.port import Served

SURE = 0.01  # chance that a difference is none


@dataclass(frozen=True, slots=True)
class Anchored:
    """The stage; which versions were the best on this stretch, by loss and by faults found: of equal ones the oldest."""

    stage: Stage
    best: tuple[str, ...]


def anchor(judged: Judged, golden: Golden, candidate: Served, champion: Served, earlier: Sequence[Served]) -> Anchored:
    """Compare with earlier champions.

    Args:
        judged: candidate and champion on the newest stretch.
        golden: what both find of the faults that are put into it.
        earlier: other versions that have served, of the same contract, the oldest first.
    """
    assert golden.theirs is not None
    reasons, figures = [], {}
    worse, _ = _worse(judged)
    fewer = int((golden.theirs & ~golden.mine).sum()) - int((golden.mine & ~golden.theirs).sum())
    losses, faults = [], []  # version, how much better than the candidate
    for one in earlier:
        beside = Judged(judged.stretch, judged.mine, evaluate(one, judged.stretch.block, start=judged.stretch.start))
        by, by_chance = _worse(beside)
        losses.append((one.version, by))
        if worse > 0 and by > max(LOSS_TOLERANCE, by_chance):
            reasons.append(f"{by:.3f} nats worse than {one.version}, which served before, {LOSS_TOLERANCE} is allowed")
        if not golden.enough:
            continue
        theirs, known = golden.of_another(one)
        mine = golden.mine & known
        faults.append((one.version, int(theirs.sum()) - int(mine.sum())))
        if fewer > 0 and surely_fewer(golden.faults, mine, theirs):
            text = f"finds {mine.sum()} injected faults against {theirs.sum()} of {one.version}, which served before"
            reasons.append(f"{text}, {allowed(theirs)} fewer are allowed")
    losses += [(champion.version, worse), (candidate.version, 0.0)]
    faults += [(champion.version, fewer), (candidate.version, 0)]
    by_loss, by_faults = max(losses, key=lambda one: one[1]), max(faults, key=lambda one: one[1])
    best = tuple(dict.fromkeys((by_loss[0], by_faults[0])))
    if earlier:
        figures = {
            "anchor_versions": float(len(earlier)),
            "anchor_loss_below": by_loss[1],
            "anchor_golden_more": float(by_faults[1]),
        }
    if reasons:
        return Anchored(Stage("anchor", False, "; ".join(reasons), figures), best)
    text = "no earlier champion to compare with"
    if earlier:
        text = f"of {len(earlier)} earlier champions and this one {by_loss[0]} has the lowest loss"
        text += f", by {by_loss[1]:.3f}" if by_loss[1] > 0 else ""
    return Anchored(Stage("anchor", True, text, figures), best)


def _worse(judged: Judged) -> tuple[float, float]:
    """Nats a cell by which the candidate is worse, 0 where nothing is known; what chance explains of that."""
    mine, theirs = judged.losses()
    assert theirs is not None
    difference = mine - theirs
    known = difference[np.isfinite(difference)]
    _, by_chance = mean_and_chance(difference, judged.stretch.block.period_ns, SURE)
    return float(known.mean()) if known.size else 0.0, by_chance

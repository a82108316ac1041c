"""Labelled periods as examples: which steps of them a version would have raised an alarm for, and what those looked like.

In:   a version, closed steps, what people called which period of which twin, examples that the version before knew.
Out:  `Examples`: features of alarming steps, by period; how many periods showed nothing.
Pure: no clock, no I/O.

Labels are few, and the newest steps soon leave a period behind. So examples travel with the versions: what lies before the block
is as the version saw it that had it in its block. Features mean the same whatever the weights are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fault_features import describe, deviation
from models.port import LEARNING, Served
from models.risk import K, N
from models.windows import gather, padded
from twin.block import StepBlock
from twin.quality import Quality

PERIODS_MOST: Final = 100  # of a label
OF_EVENT: Final = 8  # periods of one event: the first twins that it alarmed are next to what caused it
STEPS_MOST: Final = 288  # of a period that are looked at, from where it begins
EXAMPLES_MOST: Final = 4  # steps of a period that become examples

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledPeriod:
    """What people called a twin's period [from_ns, to_ns)."""

    asset: str
    from_ns: int
    to_ns: int
    label: str


@dataclass(frozen=True, slots=True)
class Examples:
    """M alarming steps of P periods. A period's steps follow each other, the one that its alert would show first."""

    features: Floats  # (M, F)
    period: NDArray[np.int64]  # (M,) place in `periods`
    periods: tuple[LabelledPeriod, ...]
    unseen: int = 0  # periods that were looked at in vain: no alarm of the version, or no steps

    @property
    def telling(self) -> NDArray[np.int64]:
        """(P,) the first example of each period."""
        return np.searchsorted(self.period, np.arange(len(self.periods)))

    def among(self, places: NDArray[np.int64]) -> Examples:
        """Those of some periods, told by their places in order."""
        inside = np.isin(self.period, places)
        periods = tuple(self.periods[place] for place in places.tolist())
        return Examples(self.features[inside], np.searchsorted(places, self.period[inside]), periods, self.unseen)

    def of(self, labels: Sequence[str]) -> Examples:
        """Those of periods with one of these labels."""
        return self.among(np.array([place for place, one in enumerate(self.periods) if one.label in labels], np.int64))


def examples(served: Served, block: StepBlock, periods: Sequence[LabelledPeriod], known: Examples | None = None) -> Examples:
    """Examples of labelled periods.

    Args:
        periods: a step belongs to the label that was given last.
        known: examples of an earlier version, for periods that began before the block.
    """
    looked_at = _chosen(periods)
    before = _remembered(known, periods, block.first_step * block.period_ns)
    of_block = _of_block(served, block, looked_at)
    kept, found = list[LabelledPeriod](), list[Floats]()
    for place, one in enumerate(looked_at):
        features = of_block.get(place, before.get(one))
        if features is not None:
            kept.append(one)
            found.append(features)
    unseen = len(looked_at) - len(kept)
    if not kept:
        return Examples(np.empty((0, 0)), np.empty(0, np.int64), (), unseen)
    return Examples(np.concatenate(found), np.repeat(np.arange(len(kept)), [len(one) for one in found]), tuple(kept), unseen)


def events_of(periods: Sequence[LabelledPeriod]) -> NDArray[np.int64]:
    """(P,) the event of each period: periods of one label that overlap in time are one, whatever their twins."""
    order = sorted(range(len(periods)), key=lambda place: (periods[place].label, periods[place].from_ns, periods[place].to_ns))
    events, event, until = np.zeros(len(periods), np.int64), -1, 0
    for before, place in zip([None, *order], order, strict=False):
        one = periods[place]
        if before is None or periods[before].label != one.label or one.from_ns >= until:
            event, until = event + 1, one.to_ns
        events[place], until = event, max(until, one.to_ns)
    return events


def _chosen(periods: Sequence[LabelledPeriod]) -> list[LabelledPeriod]:
    """The first OF_EVENT of each event, of the newest events of each label; in the order in which they were given."""
    of_label, of_event = Counter[str](), Counter[int]()
    first = dict[int, int]()
    events = events_of(periods).tolist()
    for event, one in zip(events, periods, strict=True):
        first[event] = min(one.from_ns, first.get(event, one.from_ns))
    kept = set[int]()
    for place in sorted(range(len(periods)), key=lambda at: (-first[events[at]], periods[at].from_ns, periods[at].asset)):
        event, label = events[place], periods[place].label
        if of_event[event] < OF_EVENT and of_label[label] < PERIODS_MOST:
            of_event[event] += 1
            of_label[label] += 1
            kept.add(place)
    return [one for place, one in enumerate(periods) if place in kept]


def _remembered(known: Examples | None, periods: Sequence[LabelledPeriod], begin_ns: int) -> dict[LabelledPeriod, Floats]:
    """Features of the periods that began before the block, unless somebody has called a part of them something else since."""
    if known is None:
        return {}
    place = {one: at for at, one in enumerate(known.periods)}
    found = dict[LabelledPeriod, Floats]()
    for at, one in enumerate(periods):
        if one in place and one.from_ns < begin_ns and not any(_overrules(later, one) for later in periods[at + 1 :]):
            found[one] = known.features[known.period == place[one]]
    return found


def _overrules(later: LabelledPeriod, one: LabelledPeriod) -> bool:
    return later.asset == one.asset and later.from_ns < one.to_ns and later.to_ns > one.from_ns and later.label != one.label


def _of_block(served: Served, block: StepBlock, periods: Sequence[LabelledPeriod]) -> dict[int, Floats]:
    """Features by place of the period, of those in which the version finds an alarm."""
    values, quality = padded(block, served.window)
    times, rows = block.time_ns(), served.rows(block.assets)
    row_of = {asset: row for row, asset in enumerate(block.assets) if rows[row] != LEARNING}
    closed = (block.quality & int(Quality.MISSING)).min(axis=2) == 0
    owner = np.full(closed.shape, -1, np.int64)  # the place of the period that a step belongs to
    for place, one in enumerate(periods):
        if one.asset in row_of:
            start, stop = one.from_ns // block.period_ns, -(-one.to_ns // block.period_ns)
            owner[row_of[one.asset], max(0, start - block.first_step) : max(0, stop - block.first_step)] = place
    strange = -math.log10(served.alarm_p)
    found = dict[int, Floats]()
    for place, one in enumerate(periods):
        if (twin := row_of.get(one.asset)) is None:
            continue
        own = np.flatnonzero((owner[twin] == place) & closed[twin])[:STEPS_MOST]
        if not len(own):
            continue
        lead = np.flatnonzero(closed[twin, : own[0]])[1 - N :]  # an alarm at the first step rose by these
        steps = np.concatenate([lead, own])
        at = np.full(len(steps), twin)
        windows, marks = gather(values, quality, at, steps, served.window)
        scores = served.score(rows[at], windows, marks, times[steps])
        beyond = (scores.score >= strange) & scores.covered
        of_newest = np.convolve(beyond, np.ones(N, np.int64))[: len(steps)]
        alarming = np.flatnonzero((of_newest >= K) & (np.arange(len(steps)) >= len(lead)))
        if len(alarming):
            shown = alarming[deviation(scores, windows)[alarming].argmax()]
            spaced = alarming[np.linspace(0, len(alarming) - 1, min(len(alarming), EXAMPLES_MOST)).round().astype(np.int64)]
            chosen = [shown, *(step for step in spaced.tolist() if step != shown)][:EXAMPLES_MOST]
            found[place] = describe(scores, windows, marks)[chosen]
    return found

"""Score closed steps: forward pass by the version in force, risk, conditions. The one path for stream, replay, `score`.

In:   `ClosedSteps` of one type, and which version serves which partition from which offset on.
Out:  `Scored`: per step expected values, score, risk, and the transitions to signal.
No I/O. The state that carries over from step to step lives in arrays beside the arena's, row by row.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from models.alarm_counts import AlarmCounts
from models.coverage import begins_anew, said
from models.online_threshold import OnlineThresholds, Promises
from models.port import LEARNING, Scores, Served
from models.risk import SEVERITIES, Heights, RiskState
from models.row_arrays import RowArrays
from streams.canary import Draws, InForce
from streams.conditions import Conditions, Transition, placed
from streams.stuck_values import repeats
from twin.arena import Arena, ClosedSteps
from twin.reading import NO_TIME
from twin.rows import Roster
from twin.silence import Fall

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Scored:
    """N closed steps with what the model makes of them. `served[version[i]]` scored step i; None: still learning."""

    closed: ClosedSteps
    partition: Ints  # (N,)
    served: list[Served | None]
    version: Ints  # (N,) index into served
    learning: NDArray[np.bool_]  # (N,)
    expected: NDArray[np.float32]  # (N, C)
    spread: NDArray[np.float32]  # (N, C)
    score: NDArray[np.float32]  # (N,)
    covered: NDArray[np.bool_]  # (N,) the window holds enough good readings for an alarm
    # what explains, of the steps that a signal speaks of, or of all where that was asked for; of others as of a twin that learns
    before: NDArray[np.float32]  # (N, C)
    before_spread: NDArray[np.float32]  # (N, C)
    contribution: NDArray[np.float32]  # (N, C)
    off: NDArray[np.float32]  # (N, C)
    leading: NDArray[np.int8]  # (N, C)
    mix: NDArray[np.float32]  # (N, detectors)
    risk: NDArray[np.float32]  # (N,)
    alarm: NDArray[np.bool_]  # (N,)
    severity: NDArray[np.int64]  # (N,) codes of models.risk
    transitions: list[Transition] = field(default_factory=list)  # index: position in closed

    def newest_ns(self) -> dict[int, int]:
        """End of the newest step of each partition."""
        newest = np.full(int(self.partition.max(initial=-1)) + 1, NO_TIME)
        np.maximum.at(newest, self.partition, self.closed.time_ns)
        there = np.flatnonzero(newest != NO_TIME)
        return dict(zip(there.tolist(), newest[there].tolist(), strict=True))

    def version_of(self, index: int) -> Served | None:
        return None if self.learning[index] else self.served[int(self.version[index])]

    def severity_of(self, index: int) -> str:
        return SEVERITIES[int(self.severity[index])]


class Switches:
    """Which version scores a partition from which offset on; two while one of them is tried on canary twins."""

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._served: list[InForce] = []

    def add(self, offset: int, served: InForce) -> None:
        """From `offset` on, `served`. Offsets must not fall; a switch at the same offset replaces."""
        while self._offsets and self._offsets[-1] >= offset:
            self._offsets.pop()
            self._served.pop()
        self._offsets.append(offset)
        self._served.append(served)

    def at(self, offset: int) -> InForce:
        place = bisect_right(self._offsets, offset) - 1
        return self._served[place] if place >= 0 else None

    def split(self, offsets: Ints) -> list[tuple[InForce, Ints]]:
        """Positions in `offsets` by the version in force there."""
        place = np.searchsorted(np.array(self._offsets, np.int64), offsets, side="right") - 1
        return [(self._served[one] if one >= 0 else None, np.flatnonzero(place == one)) for one in np.unique(place).tolist()]

    def forget_before(self, offset: int) -> None:
        """Drop what no step from `offset` on can need."""
        place = bisect_right(self._offsets, offset) - 1
        if place > 0:
            del self._offsets[:place], self._served[:place]

    def copy(self) -> Switches:
        other = Switches()
        other._offsets, other._served = list(self._offsets), list(self._served)
        return other

    @property
    def current(self) -> InForce:
        return self._served[-1] if self._served else None


_NO_SWITCHES = Switches()


class TypeScorer:
    """Scoring state of all twins of one type; its rows are the arena's."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.risk = RiskState(arena.capacity)
        self.thresholds = OnlineThresholds(arena.capacity)
        self.counts = AlarmCounts(arena.capacity)
        self.conditions = Conditions(arena.type, arena.capacity)
        self.switches: dict[int, Switches] = {}
        self._draws = Draws()
        self._rows: dict[int, tuple[Served, Roster, Ints]] = {}  # id(served) → rows of its tensors by arena row

    def reset(self, row: int) -> None:
        """A row begins anew with another twin."""
        self.fit()
        for state in self.learnt.values():
            state.reset(row)
        self.conditions.reset(row)

    def take_over(self, row: int, other: TypeScorer, other_row: int) -> None:
        """A twin comes from another type: what is on there stays on here, by the same name.

        Its risk and threshold go on where the same weights do, else they begin anew.
        """
        self.reset(row)
        other.fit()
        self.conditions.take(row, other.conditions, other_row)
        if other.arena.type.contract == self.arena.type.contract:
            for kind, state in self.learnt.items():
                state.restore(row, other.learnt[kind].export(other_row))
        other.reset(other_row)

    def score(self, closed: ClosedSteps, roster: Roster | None = None, *, explained: bool = False) -> Scored:
        """Score steps of many twins at once; a twin's steps must be in order within and between calls.

        Args:
            roster: twins of the arena when the steps were closed; None: now. The arena itself is not read, so it may move on.
            explained: explain every step, not only those that a signal speaks of.
        """
        self.fit()
        roster = roster or self.arena.roster()
        out = self._forward(closed, roster, explained=explained)
        order = np.argsort(closed.row, kind="stable")
        rows, learning, covered = closed.row[order], out.learning[order], out.covered[order]
        # what is not covered is no sign of an alarm nor of its end, and nothing is learnt from it
        anew, mute = np.zeros(len(order), np.bool_), np.flatnonzero(~covered & ~learning)
        anew[mute] = begins_anew(closed.windows.newest(order[mute], closed.windows.size)[1])
        found = self.risk.heights(rows, said(out.score[order], covered | learning, anew))
        promised = Promises.of(out.served, self.arena.type.period_ns).at(out.version[order], ~covered)
        alarm_at = self.thresholds.follow(rows, closed.step[order], found.height, promised)
        fallen = [fall for fall in closed.falls if self._scored_at(fall, roster)]
        judged = np.where(out.learning, -1, out.version)
        repeated = repeats(closed, out.served, judged, self.conditions.learns_stuck)
        on = self.conditions.holding(closed, order, np.zeros(len(order), np.bool_), repeated).any(axis=1) & ~learning
        if fallen:
            on |= np.isin(rows, [fall.row for fall in fallen])
        stirred = self._settle_calm(out, order, found, alarm_at, on)
        at, rows, began = order[stirred], rows[stirred], np.zeros(len(order), np.bool_)
        update = self.risk.follow(rows, Heights(found.recent[stirred], found.height[stirred]), alarm_at[stirred])
        out.risk[at] = update.risk
        out.alarm[at] = update.alarm & ~out.learning[at]
        began[stirred] = update.rising
        self.counts.follow(closed.row[order], closed.time_ns[order], promised.mark, began)
        out.severity[at] = update.severity
        holding = self.conditions.holding(closed, at, out.alarm[at], repeated)
        holding[out.learning[at]] = False  # a twin that is still learning raises nothing
        falls, lasting = placed(fallen, rows, closed.closed_by[at]), self.conditions.lasting(at, repeated)
        for one in self.conditions.follow(rows, holding, closed.time_ns[at], falls, lasting, update.held & out.alarm[at]):
            out.transitions.append(replace(one, index=int(at[one.index]) if one.fall is None else -1))
        if not explained:
            told = [one.index for one in out.transitions if one.fall is None]
            self._explain(out, np.unique(np.array(told, np.int64)), roster)
        return out

    def _scored_at(self, fall: Fall, roster: Roster) -> bool:
        """Whether a version served the twin when it fell silent: one that is still learning raises nothing."""
        served = self._draws.of_twin(self.switches.get(fall.partition, _NO_SWITCHES).at(fall.offset), fall.row, roster)
        return served is not None and bool(self._tensor_rows(served, roster)[fall.row] != LEARNING)

    def _settle_calm(
        self, out: Scored, order: Ints, found: Heights, alarm_at: NDArray[np.float64], on: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Risk of twins at which nothing is on, all their steps at once; which of `order` are steps of the others.

        Nearly all twins nearly always: going through steps one by one costs as much as scoring them.
        """
        closed = out.closed
        rows = closed.row[order]
        calm = self.risk.calm(rows, found.height, alarm_at)
        stirred = calm.stirred | on | self.conditions.active(rows).any(axis=1)
        stirred_rows = np.zeros(len(self.risk), np.bool_)
        stirred_rows[rows[stirred]] = True
        quiet = ~stirred_rows[rows]
        out.risk[order[quiet]] = calm.risk[quiet]
        last = np.ones(len(rows), np.bool_)
        last[:-1] = rows[1:] != rows[:-1]
        self.risk.settle_calm(rows[quiet & last], found.recent[quiet & last])
        return ~quiet

    @property
    def learnt(self) -> dict[str, RowArrays]:
        """What carries over from step to step beside the conditions, by the name that checkpoints have for it."""
        return {"risk": self.risk, "threshold": self.thresholds, "counts": self.counts}

    def fit(self) -> None:
        """Have a row for each of the arena, which may have grown since."""
        capacity = self.arena.capacity
        if len(self.conditions.onset) < capacity:
            self.conditions.grow(capacity)
            for state in self.learnt.values():
                state.grow(capacity)

    def _forward(self, closed: ClosedSteps, roster: Roster, *, explained: bool) -> Scored:
        count, channels = closed.values.shape
        partition = roster.partition[closed.row]
        served: list[Served | None] = []
        version = np.zeros(count, np.int64)
        known: dict[int, int] = {}
        for part in np.unique(partition).tolist():
            at = np.flatnonzero(partition == part)
            for found, steps in self.switches.get(part, _NO_SWITCHES).split(closed.closed_by[at]):
                for one, mine in self._draws.by_twin(found, steps, closed.row[at], roster):
                    place = known.setdefault(id(one), len(served))
                    if place == len(served):
                        served.append(one)
                    version[at[mine]] = place
        detectors = max((len(one.detector_steps) for one in served if one is not None), default=0)
        unknown = Scores.unknown(count, channels, detectors, explained=True)
        out = Scored(
            closed=closed,
            partition=partition,
            served=served,
            version=version,
            learning=np.ones(count, np.bool_),
            **{one.name: getattr(unknown, one.name) for one in fields(unknown)},
            risk=np.zeros(count, np.float32),
            alarm=np.zeros(count, np.bool_),
            severity=np.zeros(count, np.int64),
        )
        out.learning[self._take_scores(out, np.arange(count), roster, explained=explained)] = False
        return out

    def _explain(self, out: Scored, steps: Ints, roster: Roster) -> None:
        """What explains these steps: scored again, as few are, and the bits are the same."""
        self._take_scores(out, steps[~out.learning[steps]], roster, explained=True)

    def _take_scores(self, out: Scored, steps: Ints, roster: Roster, *, explained: bool) -> Ints:
        """Have steps scored by their versions; those that are known to them."""
        closed, known = out.closed, [np.empty(0, np.int64)]
        for place, one in enumerate(out.served):
            if one is None:
                continue
            at = steps[out.version[steps] == place]
            tensors = self._tensor_rows(one, roster)[closed.row[at]]
            at, tensors = at[tensors != LEARNING], tensors[tensors != LEARNING]
            if not len(at):
                continue
            order = np.lexsort((closed.step[at], tensors))  # as a version takes them: gathered in this order, copied once
            at, tensors = at[order], tensors[order]
            windows = closed.windows.newest(at, one.window)
            scores = one.score(tensors, *windows, closed.time_ns[at], explained=explained)
            for found in fields(scores):
                of_steps = getattr(scores, found.name)
                if len(of_steps):
                    getattr(out, found.name)[at] = of_steps
            known.append(at)
        return np.concatenate(known)

    def _tensor_rows(self, served: Served, roster: Roster) -> Ints:
        known = self._rows.get(id(served))
        if known is not None and known[0] is served and known[1] is roster:
            return known[2]
        rows = served.rows(roster.assets)
        if len(self._rows) > 8:
            self._rows.clear()
        self._rows[id(served)] = (served, roster, rows)
        return rows

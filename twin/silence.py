"""Silence: when the log has moved on without a twin. Told to the record, so batches, restarts and replays change nothing.

In:   readings of one type, as they are about to be folded; the rows that they are of.
Out:  `Fall`s: who fell silent, by which record; the flag `silent` of each row.
Pure: no clock, no I/O.

A twin is silent when others of its type and partition are more than `after` steps further in event time, and more than ROUNDS
records of each twin of the partition, whatever its type, have come since its own last one: the second tells it from a twin
whose share of a backlog is still to come. Where the type does not say how long, a twin that sends irregularly is given
HABITS times as long as it pauses by habit (`twin.pauses`). Its own next record ends the silence. A twin alone with its type in a
partition is never silent: nothing tells that time has gone on.

Records that were folded before count as progress of the others, but not as signs of the twin: so a new owner of the partition
that folds a stretch again, some of its twins being further on than others, finds what the first one found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.pauses import UNIT, habits
from twin.reading import NO_TIME, ReadingBatch
from twin.rows import NO_OFFSET, Rows
from twin.types import TwinType

HABITS = 3  # pauses by habit, after which a twin is silent
MOST = 12  # times as long as a regular sender is an irregular one given at most
ROUNDS = 4  # records of every other twin that came since the last one of a silent twin
_NEVER = np.iinfo(np.int64).max
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fall:
    """A twin that fell silent."""

    row: int
    partition: int
    offset: int  # of the record by which the others had gone on without it
    last_offset: int  # of its last record
    time_ns: int  # event time since when it counts as silent
    for_ns: int  # how long nothing had come by then
    known_ns: int  # event time that the others had reached with that record


@dataclass(frozen=True, slots=True)
class _Progress:
    """R records of one partition: offset of each, the newest step by then, how many twins there were."""

    partition: int
    offset: Ints
    front: Ints
    twins: Ints


class Silence:
    """Who of one type is silent.

    Args:
        rows: state of the twins.
        after: steps; at least, where `follows` says that the habit of each twin counts.
        fleet: rows of all types, whose records are in the partitions too; None: there is no other type.
    """

    def __init__(
        self, rows: Rows, after: int, fleet: Callable[[], Iterable[Rows]] | None = None, *, follows: bool = False
    ) -> None:
        self._rows = rows
        self._after = after
        self._base, self._follows = -(-after // HABITS), follows
        self._fleet = fleet or (lambda: [rows])
        self._front: dict[int, int] = {}  # partition → newest step that anyone has reached

    @classmethod
    def of(cls, type: TwinType, rows: Rows, gap_steps: int, fleet: Callable[[], Iterable[Rows]]) -> Silence:
        """As the type says, see `silent_after`."""
        return cls(rows, silent_after(type, gap_steps), fleet, follows=type.silent_after_ns is None)

    def drop(self, partition: int) -> None:
        """The partition is another's now."""
        self._front.pop(partition, None)

    def meet(self, batch: ReadingBatch) -> None:
        """Note who is new with these readings: of all types, before any of them is followed, as each counts all twins."""
        at = self._taken(batch)
        row, offset = batch.row[at], batch.offset[at]
        new = (offset >= self._rows.next_offset[row]) & (self._rows.first_offset[row] == NO_OFFSET)
        if new.any():
            np.minimum.at(self._rows.first_offset, row[new], offset[new])

    def _taken(self, batch: ReadingBatch) -> Ints:
        if self._rows.type.max_ahead_ns is None:
            return np.arange(len(batch))
        return np.flatnonzero(batch.time_ns <= batch.record_time_ns + self._rows.type.max_ahead_ns)  # as folding refuses them

    def _everyone(self, partition: int) -> Ints:
        """First offset of each twin of the partition, of any type, rising."""
        found = [one.first_offset[(one.partition == partition) & (one.first_offset != NO_OFFSET)] for one in self._fleet()]
        return np.sort(np.concatenate(found))

    def follow(self, batch: ReadingBatch) -> list[Fall]:
        """Who falls silent while these readings come; to be called when all were met, before they are folded."""
        at = self._taken(batch)
        if not len(at):
            return []
        partition = self._rows.partition[batch.row[at]]
        first = int(partition[0])
        if (partition == first).all():
            return self._of_partition(first, batch, at)
        return [one for each in np.unique(partition).tolist() for one in self._of_partition(each, batch, at[partition == each])]

    def _of_partition(self, partition: int, batch: ReadingBatch, at: Ints) -> list[Fall]:
        rows, period = self._rows, self._rows.type.period_ns
        row, offset, step = batch.row[at], batch.offset[at], batch.time_ns[at] // period
        fresh = offset >= rows.next_offset[row]
        live = np.flatnonzero((rows.partition == partition) & (rows.first_offset != NO_OFFSET))
        seen = live[rows.max_time[live] != NO_TIME]
        front = self._front.get(partition)
        if front is None:  # a new owner; what those that are further on had reached comes again
            behind = seen[rows.next_offset[seen] <= offset.min()]
            front = int((rows.max_time[behind] // period).max()) if len(behind) else int(step.min())
        self._front[partition] = max(front, int(step.max()))

        heard = np.zeros(rows.capacity, np.bool_)  # and not silent: each may fall silent before its next record
        heard[seen] = ~rows.silent[seen]
        last = np.full(rows.capacity, _NEVER)
        last[heard] = rows.max_time[heard] // period
        again = fresh & ~heard[row]
        if again.any():
            np.minimum.at(last, row[again], step[again])
            rows.silent[row[again]] = False
        irregular = self._irregular(row[fresh], step[fresh])
        # nearly always nobody: no record of these is far enough from what each twin had sent before them
        twins = self._everyone(partition)
        least = max(1, int(np.searchsorted(twins, offset.min(), side="right")))
        far = last[live] < self._front[partition] - self._after
        suspects = live[far & ((offset.max() + 1 - rows.next_offset[live]) // least > ROUNDS)]
        if not len(suspects) and not len(irregular):
            return []
        order = np.argsort(offset, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(offset[order])), len(order) - 1)
        records, reached = offset[order][ends], np.maximum(np.maximum.accumulate(step[order]), front)[ends]
        progress = _Progress(partition, records, reached, np.maximum(np.searchsorted(twins, records, side="right"), 1))
        suspects = np.union1d(suspects, irregular)
        mine = fresh & np.isin(row, suspects)
        known = suspects[rows.max_time[suspects] != NO_TIME]
        return self._among(
            np.concatenate([known, row[mine]]),
            np.concatenate([rows.next_offset[known] - 1, offset[mine]]),
            np.concatenate([rows.max_time[known] // period, step[mine]]),
            heard,
            progress,
        )

    def _irregular(self, row: Ints, step: Ints) -> Ints:
        """Twins whose habit may move by these records."""
        if not self._follows:
            return np.empty(0, np.int64)
        before = self._rows.max_time[row]
        longest = step - np.where(before == NO_TIME, _NEVER, before // self._rows.type.period_ns)
        return np.unique(row[(longest > self._base) | (before == NO_TIME) | (self._rows.pause[row] > 0)])

    def _limits(self, row: Ints, step: Ints) -> Ints:
        """By how many steps others must be ahead after each record; habits move on.

        Args:
            row, step: of each record; a twin's beside each other, in order, the newest of before first.
        """
        limit = np.full(len(row), self._after)
        if not self._follows or not len(row):
            return limit
        same = row[1:] == row[:-1]
        long = np.append(False, same & (np.diff(step) > self._base))
        moved = np.unique(row[long | (self._rows.pause[row] > 0)])
        for one in moved.tolist():
            begin, end = np.searchsorted(row, (one, one + 1)).tolist()
            before = int(self._rows.pause[one])
            found = [before, *habits(before, np.diff(step[begin:end]).tolist(), self._base, MOST * self._base)]
            limit[begin:end] += HABITS * np.array(found) // UNIT
            self._rows.pause[one] = found[-1]
        return limit

    def _among(self, row: Ints, offset: Ints, step: Ints, heard: NDArray[np.bool_], progress: _Progress) -> list[Fall]:
        """Falls between one record of a twin and its next, of some twins. By record: row, offset, step."""
        order = np.lexsort((offset, row))
        row, offset, step = row[order], offset[order], _newest_so_far(row[order], step[order])
        last_of_record = np.append((np.diff(row) != 0) | (np.diff(offset) != 0), True)
        row, offset, step = row[last_of_record], offset[last_of_record], step[last_of_record]
        limit = self._limits(row, step)
        following = np.append(np.where(np.diff(row) == 0, offset[1:], _NEVER), _NEVER)
        begin = np.searchsorted(progress.offset, offset, side="right")
        end = np.searchsorted(progress.offset, following, side="left")
        some = np.flatnonzero((end > begin) & (heard[row] | (offset >= self._rows.next_offset[row])))
        far = progress.front[end[some] - 1] - step[some] > limit[some]
        far &= (progress.offset[end[some] - 1] - offset[some]) // progress.twins[begin[some]] > ROUNDS
        falls = []
        for one in some[far].tolist():
            part = slice(int(begin[one]), int(end[one]))
            left = progress.front[part] - step[one] > limit[one]
            left &= (progress.offset[part] - offset[one]) // progress.twins[part] > ROUNDS
            if left.any():
                at = part.start + int(left.argmax())
                falls.append(self._fall(int(row[one]), int(offset[one]), int(step[one]), int(limit[one]), progress, at))
                self._rows.silent[row[one]] = following[one] == _NEVER
        return sorted(falls, key=lambda fall: (fall.offset, fall.row))

    def _fall(self, row: int, offset: int, step: int, limit: int, progress: _Progress, at: int) -> Fall:
        period = self._rows.type.period_ns
        since, known = (step + 1 + limit) * period, (int(progress.front[at]) + 1) * period
        return Fall(row, progress.partition, int(progress.offset[at]), offset, since, limit * period, known)


def silent_after(type: TwinType, gap_steps: int | None = None) -> int:
    """Steps that others are ahead of a silent twin: as the type says; twice as long as gaps are filled where it says nothing."""
    if type.silent_after_ns is not None:
        return -(-type.silent_after_ns // type.period_ns)
    return 2 * (max(channel.gap_limit for channel in type.channels) if gap_steps is None else gap_steps)


def _newest_so_far(row: Ints, step: Ints) -> Ints:
    """The largest step of each row up to each of its places; a row's stand beside each other."""
    rank = np.cumsum(np.append(0, np.diff(row) != 0))
    base, span = int(step.min()), int(step.max() - step.min()) + 1
    return np.asarray(np.maximum.accumulate(rank * span + (step - base)) - rank * span + base)

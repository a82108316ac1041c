"""Log order: within one micro-batch, the watermark before each record and the record that closed each step.

In:   the readings of one batch, sorted by twin and offset, and where each twin's watermark stood.
Out:  `LogOrder`; both answers depend on the order of records alone, not on where batches begin and end.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twin.reading import NO_TIME, ReadingBatch

Ints = NDArray[np.int64]


def in_log_order(batch: ReadingBatch, position: Ints, rows: int) -> Ints:
    """Readings by twin, a twin's by offset, those of one record as they came.

    Args:
        rows: more than any row number.
    """
    row = batch.row[position]
    # numpy sorts short integers by their digits, ten times as fast
    position = position[np.argsort(row.astype(np.uint16) if rows <= 2**16 else row, kind="stable")]
    row, offset = batch.row[position], batch.offset[position]
    if ((offset[1:] >= offset[:-1]) | (row[1:] != row[:-1])).all():
        return position
    return np.asarray(position[np.lexsort((offset, row))])


def by_event_time(batch: ReadingBatch, position: Ints, step: Ints) -> tuple[Ints, Ints]:
    """Readings in log order, and their steps, by twin and event time; at one time in log order still."""
    row, time = batch.row[position], batch.time_ns[position]
    if ((time[1:] >= time[:-1]) | (row[1:] != row[:-1])).all():
        return position, step
    order = np.lexsort((time, row))
    return position[order], step[order]


class LogOrder:
    """The records of one batch by twin, in log order: watermarks before each reading, and who closed which step.

    Args:
        row, offset, time: (M,) readings of one batch, sorted by (row, offset).
        max_time: (A,) latest event time of each twin before this batch, NO_TIME for a new one.
        open_from: first open step for a latest event time.
    """

    def __init__(self, row: Ints, offset: Ints, time: Ints, max_time: Ints, open_from: Callable[[Ints], Ints]) -> None:
        starts_record = np.ones(len(row), np.bool_)
        starts_record[1:] = (row[1:] != row[:-1]) | (offset[1:] != offset[:-1])
        first = np.flatnonzero(starts_record)
        record = np.cumsum(starts_record) - 1
        self._row, self._offset = row[first], offset[first]
        latest = np.maximum.reduceat(time, first)
        starts_row = np.ones(len(first), np.bool_)
        starts_row[1:] = self._row[1:] != self._row[:-1]
        self._row_start = np.flatnonzero(starts_row)
        self.rows = self._row[self._row_start]
        before = max_time[self._row]
        running = _running_max(latest, np.cumsum(starts_row) - 1)
        after = np.maximum(running, before)
        exclusive = before.copy()
        exclusive[1:] = np.where(starts_row[1:], before[1:], after[:-1])
        row_end = np.append(self._row_start[1:], len(first)) - 1
        self.latest = after[row_end]
        self._opened = open_from(after)
        self.open_before = np.maximum(open_from(exclusive), NO_TIME)[record]
        self._row_end = row_end
        self._slot_of_row = np.full(len(max_time), -1)
        self._slot_of_row[self.rows] = np.arange(len(self.rows))

    def closed_by(self, row: Ints, step: Ints) -> Ints:
        """Offset of the first record whose watermark passed the end of `step` of `row`."""
        low = int(min(self._opened.min(), step.min()))
        width = int(max(self._opened.max(), step.max())) - low + 3
        twin = np.repeat(np.arange(len(self.rows)), self._row_end - self._row_start + 1)
        keys = twin * width + (self._opened - low)
        wanted = self._slot_of_row[row] * width + (step + 1 - low)
        return np.asarray(self._offset[np.searchsorted(keys, wanted)])


def _running_max(values: Ints, group: Ints) -> Ints:
    """Running maximum within groups of consecutive equal `group` numbers.

    >>> _running_max(np.array([3, 1, 5, 2, 4]), np.array([0, 0, 0, 1, 1])).tolist()
    [3, 3, 5, 2, 4]
    """
    if ((values[1:] >= values[:-1]) | (group[1:] != group[:-1])).all():
        return values
    ordered, rank = np.unique(values, return_inverse=True)
    width = len(ordered)
    return np.asarray(ordered[np.maximum.accumulate(group * width + rank) % width])

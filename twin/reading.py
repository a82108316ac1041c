"""Readings of one micro-batch in columns, ready to be folded.

In:   decoded telemetry of twins of one type.
Out:  `ReadingBatch` for `twin.arena`; `ReadingBatchBuilder` collects it from many records.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """M readings; each is of one twin at one time and has a value of one at least of its type's C channels.

    Readings of one record follow each other; of two values of one channel at one time the later one counts.
    `record_time_ns` is the timestamp of the log's record: the only clock a reading is held against.
    """

    row: Ints  # (M,) row of the twin in its arena
    time_ns: Ints  # (M,) event time
    offset: Ints  # (M,) offset of the record in its partition
    record_time_ns: Ints  # (M,)
    values: NDArray[np.float64]  # (C, M) finite, NaN where a reading has no value of a channel

    def __len__(self) -> int:
        return len(self.row)

    @staticmethod
    def empty(channels: int) -> ReadingBatch:
        none = np.empty(0, np.int64)
        return ReadingBatch(none, none, none, none, np.empty((channels, 0)))


@dataclass(frozen=True, slots=True)
class _Table:
    row: int | Ints
    time_ns: Ints
    columns: Mapping[int, NDArray[np.float64]]
    offset: int
    record_time_ns: int


class ReadingBatchBuilder:
    """Collects readings of one type from many records.

    Args:
        channels: how many the type has.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._row: list[int] = []
        self._time: list[int] = []
        self._offset: list[int] = []
        self._record_time: list[int] = []
        self._count: list[int] = []  # values of each reading
        self._channel: list[int] = []  # of each value
        self._value: list[float] = []
        self._tables: list[_Table] = []

    def add(
        self, row: int, channels: Sequence[int], time_ns: int, values: Sequence[float], offset: int, record_time_ns: int
    ) -> None:
        """One reading: finite values of different channels of one twin at one time."""
        if not channels:
            return
        self._row.append(row)
        self._time.append(time_ns)
        self._offset.append(offset)
        self._record_time.append(record_time_ns)
        self._count.append(len(channels))
        self._channel += channels
        self._value += values

    def add_table(
        self,
        row: int | Ints,
        time_ns: Ints,
        columns: Mapping[int, NDArray[np.float64]],
        offset: int,
        record_time_ns: int,
    ) -> None:
        """Readings of one record: of one twin, or each of the twin in its `row`.

        Args:
            columns: channel → (N,) values, finite or NaN.
        """
        if columns:
            self._tables.append(_Table(row, time_ns, columns, offset, record_time_ns))

    def build(self) -> ReadingBatch:
        """All that was added; readings without any value are left out."""
        single = len(self._row)
        total = single + sum(len(table.time_ns) for table in self._tables)
        row, time_ns, offset, record_time = (np.empty(total, np.int64) for _ in range(4))
        row[:single], time_ns[:single] = self._row, self._time
        offset[:single], record_time[:single] = self._offset, self._record_time
        values = np.full((self._channels, total), np.nan)
        values[self._channel, np.repeat(np.arange(single), self._count)] = self._value
        begin = single
        for table in self._tables:
            part = slice(begin, begin + len(table.time_ns))
            row[part], time_ns[part], offset[part], record_time[part] = (
                table.row, table.time_ns, table.offset, table.record_time_ns,
            )  # fmt: skip
            for channel, column in table.columns.items():
                values[channel, part] = column
            begin = part.stop
        batch = ReadingBatch(row, time_ns, offset, record_time, values)
        some = ~np.isnan(values).all(axis=0)
        return batch if some.all() else _only(batch, some)


def _only(batch: ReadingBatch, kept: NDArray[np.bool_]) -> ReadingBatch:
    return ReadingBatch(
        batch.row[kept], batch.time_ns[kept], batch.offset[kept], batch.record_time_ns[kept], batch.values[:, kept]
    )


class Cells:
    """Which values a batch has. `count`: (M,) values of each reading."""

    def __init__(self, batch: ReadingBatch) -> None:
        self.batch = batch
        self._known = ~np.isnan(batch.values)  # (C, M)
        self.count = self._known.sum(axis=0)  # (M,)
        self._whole = self.count == len(batch.values)

    def newest(self, position: Ints, first: Ints) -> tuple[NDArray[np.float32], Ints]:
        """The last value of each channel in each group of readings, and its time, (G, C) each; NO_TIME where there is none.

        Args:
            position: (N,) readings in order, group by group.
            first: (G,) where each group begins in `position`.
        """
        batch = self.batch
        last = np.append(first[1:], len(position)) - 1
        if self._whole[position[last]].all():  # as sources that send all channels at once do
            at = position[last]
            time = np.broadcast_to(batch.time_ns[at][:, None], (len(at), len(batch.values)))
            return batch.values[:, at].T.astype(np.float32), time
        have = np.where(self._known[:, position], np.arange(len(position)), -1)
        newest = np.maximum.reduceat(have, first, axis=1)  # (C, G)
        at = position[np.maximum(newest, 0)]
        time = np.where(newest >= 0, batch.time_ns[at], NO_TIME)
        return np.take_along_axis(batch.values, at, axis=1).T.astype(np.float32), time.T

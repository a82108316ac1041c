"""Readings of one micro-batch in columns, ready to be folded.

In:   decoded telemetry of twins of one type.
Out:  `ReadingBatch` for `twin.arena`; `ReadingBatchBuilder` collects it from many records.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """M values, one a (twin, channel, time). Values of one twin are in log order (offsets do not fall).

    `record_time_ns` is the timestamp of the log's record: the only clock a reading is held against.
    """

    row: NDArray[np.int64]  # (M,) row of the twin in its arena
    channel: NDArray[np.int64]  # (M,)
    time_ns: NDArray[np.int64]  # (M,) event time
    value: NDArray[np.float64]  # (M,) finite
    offset: NDArray[np.int64]  # (M,) offset of the record in its partition
    record_time_ns: NDArray[np.int64]  # (M,)

    def __len__(self) -> int:
        return len(self.row)


class ReadingBatchBuilder:
    """Collects values of one type from many records."""

    def __init__(self) -> None:
        self._row: list[int] = []
        self._channel: list[int] = []
        self._time: list[int] = []
        self._value: list[float] = []
        self._offset: list[int] = []
        self._record_time: list[int] = []
        self._columns: list[ReadingBatch] = []

    def add(
        self, row: int, channels: Sequence[int], time_ns: int, values: Sequence[float], offset: int, record_time_ns: int
    ) -> None:
        """One reading: several channels of one twin at one time."""
        count = len(channels)
        self._row += [row] * count
        self._channel += channels
        self._time += [time_ns] * count
        self._value += values
        self._offset += [offset] * count
        self._record_time += [record_time_ns] * count

    def add_column(
        self,
        row: int | NDArray[np.int64],
        channel: int,
        time_ns: NDArray[np.int64],
        values: NDArray[np.float64],
        offset: int,
        record_time_ns: int,
    ) -> None:
        """Many readings of one channel: of one twin, or each of the twin in its `row`. NaN values are skipped."""
        known = np.isfinite(values)
        count = int(known.sum())
        self._columns.append(
            ReadingBatch(
                row=np.full(count, row) if isinstance(row, int) else row[known],
                channel=np.full(count, channel),
                time_ns=time_ns[known],
                value=values[known],
                offset=np.full(count, offset),
                record_time_ns=np.full(count, record_time_ns),
            )
        )

    def build(self) -> ReadingBatch:
        """All that was added. Records keep their order by offset, which is all that the arena asks for."""
        single = ReadingBatch(
            row=np.array(self._row, np.int64),
            channel=np.array(self._channel, np.int64),
            time_ns=np.array(self._time, np.int64),
            value=np.array(self._value, np.float64),
            offset=np.array(self._offset, np.int64),
            record_time_ns=np.array(self._record_time, np.int64),
        )
        if not self._columns:
            return single
        parts = [single, *self._columns]
        return ReadingBatch(
            row=np.concatenate([part.row for part in parts]),
            channel=np.concatenate([part.channel for part in parts]),
            time_ns=np.concatenate([part.time_ns for part in parts]),
            value=np.concatenate([part.value for part in parts]),
            offset=np.concatenate([part.offset for part in parts]),
            record_time_ns=np.concatenate([part.record_time_ns for part in parts]),
        )

"""Twin state: fold readings into the window arrays of one twin type, and close steps of the event-time grid.

In:   `twin.reading.ReadingBatch`, columns of one micro-batch.
Out:  `ClosedSteps`, each step of each twin exactly once, with the window that ends in it; `Refusals`.
Pure: no clock, no I/O, so replaying a partition rebuilds the same arrays.

The rules, all functions of the log alone:
- A reading belongs to step `time // period`. The watermark of a twin is its latest event time less the type's
  lateness; step k closes when the watermark passes its end. Lateness of a record is judged against the watermark
  before that record, so a backlog in one record is late for nobody.
- Within a step and channel the latest event time wins; at one time the later offset.
- A step is emitted when data came in it or in one of the `gap_steps` before it; a longer silence emits nothing. Cells are
  cleaned and gaps filled as the type says (`twin.closing`).
- A window shows what was known when its step closed.
- `closed_by` of a step is the offset of the record that closed it, whatever the micro-batch boundaries were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin.bridging import bridge
from twin.closing import Rules, close_grid
from twin.log_order import LogOrder, by_event_time, in_log_order
from twin.quality import Quality
from twin.reading import NO_TIME, Cells, ReadingBatch
from twin.rows import MISSING, NO_OFFSET, Rows
from twin.silence import Fall
from twin.stragglers import Stragglers
from twin.types import TwinType
from twin.windows import Stretches, Windows, taken

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClosedSteps:
    """N closed steps of twins of one type; a twin's steps are in order.

    Window i ends in closed step i: windows.values[i, -1] == values[i].
    """

    type: TwinType
    row: Ints  # (N,) row in the arena
    step: Ints  # (N,)
    values: NDArray[np.float32]  # (N, C) channel units, NaN where nothing is known
    quality: NDArray[np.uint8]  # (N, C) bits of twin.quality
    windows: Windows  # N of W steps
    first_offset: Ints  # (N,) first telemetry offset in the window
    closed_by: Ints  # (N,) telemetry offset that closed the step
    falls: tuple[Fall, ...] = ()  # twins of the type that fell silent meanwhile, in log order

    @property
    def time_ns(self) -> Ints:
        """End of each step, event time."""
        return (self.step + 1) * self.type.period_ns

    def __len__(self) -> int:
        return len(self.row)


@dataclass(slots=True)
class FoldCounts:
    """What became of the values of one batch; the four add up to all that were given."""

    accepted: int = 0
    duplicate: int = 0  # already folded: an offset seen before, or the same value in a closed step
    late: int = 0
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class FoldResult:
    """Closed steps come in rounds (a long backlog in many), refusals as the position of their reading in the batch."""

    closed: list[ClosedSteps]
    late: Ints  # of each value that came after its step had closed
    ahead: Ints  # of each value further ahead of its record's timestamp than the type allows
    counts: FoldCounts = field(default_factory=FoldCounts)


class Arena(Rows):
    """Struct-of-arrays state of all twins of one type: A twins × R ring slots × C channels, R = window + open span.

    Args:
        type: the compiled type.
        window: steps of history that a closed step is handed out with, itself included.
        gap_steps: how many steps a twin is emitted after its last data; None: as long as a channel of it is filled.
    """

    def __init__(self, type: TwinType, *, window: int = 64, gap_steps: int | None = None, capacity: int = 64) -> None:
        self.window = window
        self.gap_steps = max(channel.gap_limit for channel in type.channels) if gap_steps is None else gap_steps
        # open steps a twin can hold at once: the lateness, and room so that a backlog closes many steps a round
        self.open_span = int(-(-type.lateness_ns // type.period_ns)) + 2 + 62
        super().__init__(type, slots=window + self.open_span, capacity=capacity)
        self._rules = Rules.of(type.channels)

    def fold(self, batch: ReadingBatch) -> FoldResult:
        """Fold one micro-batch. Values are counted, readings are sorted: of a reading all values share time and offset."""
        counts = FoldCounts()
        cells = Cells(batch)
        fresh = batch.offset >= self.next_offset[batch.row]
        counts.duplicate += int(cells.count[~fresh].sum())
        position = np.flatnonzero(fresh)
        ahead = np.empty(0, np.int64)
        if self.type.max_ahead_ns is not None and len(position):
            too_far = batch.time_ns[position] > batch.record_time_ns[position] + self.type.max_ahead_ns
            ahead, position = np.repeat(position[too_far], cells.count[position[too_far]]), position[~too_far]
            counts.ahead = len(ahead)
        # offsets count as folded even where their values are refused
        np.maximum.at(self.next_offset, batch.row[fresh], batch.offset[fresh] + 1)
        if not len(position):
            return FoldResult([], np.empty(0, np.int64), ahead, counts)

        position = in_log_order(batch, position, self._capacity)
        log = LogOrder(batch.row[position], batch.offset[position], batch.time_ns[position], self.max_time, self.open_from)
        step = batch.time_ns[position] // self.type.period_ns
        stale = step < log.open_before
        stragglers = Stragglers(batch, position[stale], step[stale], log.open_before[stale] - self.window)
        self._recognise(stragglers, self.next_step, self.next_step)
        position, step = position[~stale], step[~stale]
        counts.accepted = int(cells.count[position].sum())

        target = self._advance_watermarks(log, batch.row[position], step)
        closed = list(self._rounds(cells, position, step, log, target, stragglers))
        late = stragglers.position[~stragglers.repeated]
        counts.late = len(late)
        counts.duplicate += len(stragglers.position) - len(late)
        return FoldResult(closed, late, ahead, counts)

    def close_all(self, row: int | None = None) -> list[ClosedSteps]:
        """Close every step that holds data, as if time had moved on: the end of a file, or of a twin's time with this type.

        Args:
            row: of this twin only.
        """
        among = self.row_of.values() if row is None else [row]
        rows = np.array([one for one in among if self.max_time[one] != NO_TIME], np.int64)
        rows.sort()
        if not len(rows):
            return []
        later = self.max_time[rows] + self.type.lateness_ns + self.type.period_ns
        log = LogOrder(rows, self.next_offset[rows] - 1, later, self.max_time, self.open_from)
        none = np.empty(0, np.int64)
        empty = ReadingBatch.empty(len(self.type.channels))
        target = self._advance_watermarks(log, none, none)
        return list(self._rounds(Cells(empty), none, none, log, target, Stragglers(empty, none, none, none)))

    def open_from(self, time_ns: Ints) -> Ints:
        """First step that is still open when `time_ns` is the twin's latest event time."""
        known = time_ns != NO_TIME
        return np.where(known, (np.where(known, time_ns, 0) - self.type.lateness_ns) // self.type.period_ns, NO_TIME)

    def _recognise(self, stragglers: Stragglers, before: Ints, closed_until: Ints) -> None:
        """Mark values that stand in their closed step already: redeliveries, nothing is lost by dropping them.

        Each is looked at once, as soon as its step has closed. By arena row, the ring holds what closed from a window before
        `before` up to `closed_until`.
        """
        due = np.flatnonzero(~stragglers.seen & (stragglers.step < closed_until[stragglers.row]))
        if not len(due):
            return
        stragglers.seen[due] = True
        row, step, channel = stragglers.row[due], stragglers.step[due], stragglers.channel[due]
        slot = step % self.slots
        same = self.values[row, slot, channel] == stragglers.value[due]
        real = (self.quality[row, slot, channel] & np.uint8(Quality.GAP | Quality.MISSING)) == 0
        held = step >= np.maximum(stragglers.held_from[due], before[row] - self.window)
        stragglers.repeated[due] = same & real & held

    def _advance_watermarks(self, log: LogOrder, row: Ints, step: Ints) -> Ints:
        """Move the watermark of each twin in the log; returns, by arena row, the step up to which it closes now."""
        target = self.next_step.copy()
        rows, latest = log.rows, log.latest
        self.max_time[rows] = latest
        opened = self.open_from(latest)
        # a twin's first fold starts at its oldest step
        oldest = np.full(self._capacity, NO_OFFSET)
        np.minimum.at(oldest, row, step)
        new = self.next_step[rows] == NO_TIME
        self.next_step[rows[new]] = np.minimum(oldest[rows[new]], opened[new])
        target[rows] = np.maximum(opened, self.next_step[rows])
        return target

    def _rounds(
        self, cells: Cells, position: Ints, step: Ints, log: LogOrder, target: Ints, stragglers: Stragglers
    ) -> Iterator[ClosedSteps]:
        position, step = by_event_time(cells.batch, position, step)
        row = cells.batch.row[position]
        while True:
            near = step < self.next_step[row] + self.open_span
            if near.all():
                self._write(cells, position, row, step)
                position, row, step = position[:0], row[:0], step[:0]
            else:  # a backlog longer than the ring
                self._write(cells, position[near], row[near], step[near])
                position, row, step = position[~near], row[~near], step[~near]
            rows = log.rows[target[log.rows] > self.next_step[log.rows]]
            if len(rows):
                closed = self._close(rows, target, log, stragglers)
                if closed is not None:
                    yield closed
            if not len(row) and not (target[log.rows] > self.next_step[log.rows]).any():
                return
            self._jump_long_gaps(log.rows, target, row, step)

    def _write(self, cells: Cells, position: Ints, row: Ints, step: Ints) -> None:
        """Readings by twin, step and time: of each cell the last value counts; one of a batch before yields to an equal time."""
        if not len(row):
            return
        starts = np.ones(len(row), np.bool_)
        starts[1:] = (row[1:] != row[:-1]) | (step[1:] != step[:-1])
        first = np.flatnonzero(starts)
        row, slot = row[first], step[first] % self.slots
        oldest = np.minimum.reduceat(cells.batch.offset[position], first)
        self.slot_offset[row, slot] = np.minimum(self.slot_offset[row, slot], oldest)
        value, time = cells.newest(position, first)  # (G, C), time NO_TIME where a step has no value
        wins = (time >= self.cell_time[row, slot]) & (time != NO_TIME)
        if wins.all():
            self.values[row, slot], self.cell_time[row, slot], self.quality[row, slot] = value, time, 0
            return
        at, channel = np.nonzero(wins)
        row, slot = row[at], slot[at]
        self.values[row, slot, channel] = value[at, channel]
        self.cell_time[row, slot, channel] = time[at, channel]
        self.quality[row, slot, channel] = 0

    def _close(self, rows: Ints, target: Ints, log: LogOrder, stragglers: Stragglers) -> ClosedSteps | None:
        """Close each twin's steps up to its target or as far as its ring holds, whichever comes first."""
        start = self.next_step[rows]
        count = np.minimum(target[rows] - start, self.open_span)
        steps = start[:, None] + np.arange(int(count.max()))
        within = steps < (start + count)[:, None]
        slot = steps % self.slots
        place = rows[:, None] * self.slots + slot
        grid = close_grid(
            taken(self.values, place),
            within,
            steps,
            self.carry.take(rows),
            self._rules,
            gap_steps=self.gap_steps,
        )
        self.carry.put(rows, grid.carry)
        at_row, at_step = np.nonzero(within)
        self.values[rows[at_row], slot[at_row, at_step]] = grid.values[at_row, at_step]
        self.quality[rows[at_row], slot[at_row, at_step]] = grid.quality[at_row, at_step]
        at_row, at_step = np.nonzero(grid.emitted)
        emitted_row, emitted_step = rows[at_row], steps[at_row, at_step]
        stretches = Stretches.of(emitted_row, emitted_step, self.window)
        at = stretches.twin * self.slots + stretches.step % self.slots
        cells, cell_quality, slot_offset = taken(self.values, at), taken(self.quality, at), self.slot_offset.take(at)
        patches = bridge(
            grid.bridges, rows, start - self.window, self.values, self.quality, at_row, emitted_step, window=self.window
        )
        closed = None
        if len(at_row):
            closed_by = log.closed_by(emitted_row, emitted_step)
            closed = ClosedSteps(
                type=self.type,
                row=emitted_row,
                step=emitted_step,
                values=grid.values[at_row, at_step],
                quality=grid.quality[at_row, at_step],
                windows=Windows(self.window, cells, cell_quality, stretches.last, patches),
                first_offset=np.minimum(stretches.smallest(slot_offset), closed_by),
                closed_by=closed_by,
            )
        before = self.next_step.copy() if len(stragglers.position) else self.next_step
        self.next_step[rows] = start + count
        self._recognise(stragglers, before, self.next_step)
        self._free_slots(rows, start, count)
        return closed

    def _free_slots(self, rows: Ints, start: Ints, count: Ints) -> None:
        """Steps that leave the window make room for steps to come."""
        steps = (start - self.window)[:, None] + np.arange(int(count.max()))
        at_row, at_step = np.nonzero(np.arange(steps.shape[1])[None, :] < count[:, None])
        row, slot = rows[at_row], steps[at_row, at_step] % self.slots
        self.values[row, slot] = np.nan
        self.quality[row, slot] = MISSING
        self.cell_time[row, slot] = NO_TIME
        self.slot_offset[row, slot] = NO_OFFSET

    def _jump_long_gaps(self, rows: Ints, target: Ints, waiting_row: Ints, waiting_step: Ints) -> None:
        """A twin silent for longer than its whole ring starts again where its next data are, with an empty window."""
        next_data = target.copy()
        oldest = np.full(self._capacity, NO_OFFSET)
        np.minimum.at(oldest, waiting_row, waiting_step)
        next_data = np.minimum(next_data, oldest)
        empty = np.isnan(self.values[rows]).all(axis=(1, 2)) & (next_data[rows] > self.next_step[rows] + self.slots)
        self.next_step[rows[empty]] = next_data[rows[empty]]

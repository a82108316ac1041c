"""A twin written straight from the definition, one record and one step at a time: what the arenas are held against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from twin.quality import Quality
from twin.types import TwinType

Values = list[tuple[int, int, float]]  # channel, time, value


@dataclass
class Step:
    step: int
    values: list[float]
    quality: list[int]
    closed_by: int


@dataclass
class NaiveTwin:
    type: TwinType
    gap_steps: int
    latest: int | None = None
    folded: int = -1
    next: int | None = None
    cells: dict[tuple[int, int], tuple[int, int, float]] = field(default_factory=dict)
    emitted: list[Step] = field(default_factory=list)
    window: int = 8
    late: int = 0
    duplicate: int = 0
    good: dict[int, tuple[int, float]] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)
    run: dict[int, int] = field(default_factory=dict)
    data_step: int | None = None

    def open_from(self) -> int | None:
        return None if self.latest is None else (self.latest - self.type.lateness_ns) // self.type.period_ns

    def record(self, offset: int, values: Values) -> None:
        if offset <= self.folded:
            return
        self.folded = offset
        opened = self.open_from()
        for channel, time, value in values:
            step = time // self.type.period_ns
            if opened is not None and step < opened:
                cell = self.cells.get((step, channel))
                if cell is not None and cell[2] == np.float32(value) and step >= opened - self.window:
                    self.duplicate += 1  # it stands in its closed step already: nothing is lost by dropping it
                else:
                    self.late += 1
                continue
            known = self.cells.get((step, channel))
            if known is None or (time, offset) >= known[:2]:
                self.cells[step, channel] = (time, offset, float(np.float32(value)))
            self.latest = time if self.latest is None else max(self.latest, time)
        target = self.open_from()
        if target is None:
            return
        if self.next is None:
            self.next = min([step for step, _ in self.cells] + [target])
        while self.next < target:
            self.close(self.next, offset)
            self.next += 1

    def close(self, step: int, offset: int) -> None:
        values, quality = [], []
        for channel, limits in enumerate(self.type.channels):
            cell = self.cells.get((step, channel))
            bits = Quality.GOOD
            if cell is not None:
                value = cell[2]
                self.data_step = step
                if (limits.minimum is not None and value < limits.minimum) or (
                    limits.maximum is not None and value > limits.maximum
                ):
                    bits |= Quality.OUT_OF_RANGE
                else:
                    self.good[channel] = (step, value)
                self.run[channel] = self.run[channel] + 1 if self.seen.get(channel) == value else 1
                self.seen[channel] = value
                if limits.stuck_after is not None and self.run[channel] >= limits.stuck_after:
                    bits |= Quality.STUCK
            elif channel in self.good and step - self.good[channel][0] <= self.gap_steps:
                value = self.good[channel][1]
                bits |= Quality.GAP
            else:
                value = math.nan
                bits |= Quality.MISSING
            values.append(value)
            quality.append(int(bits))
        if self.data_step is not None and step - self.data_step <= self.gap_steps:
            self.emitted.append(Step(step, values, quality, offset))

"""A twin written straight from the definition, one record and one step at a time: what the arenas are held against."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

import numpy as np

from twin.quality import Quality
from twin.types import Channel, TwinType
from twin.unit_mistakes import conversions_back

Values = list[tuple[int, int, float]]  # channel, time, value


@dataclass
class Step:
    step: int
    values: list[float]
    quality: list[int]
    closed_by: int
    window: list[list[float]]  # oldest first


@dataclass
class NaiveChannel:
    """One channel's memory, and what it makes of a step's value."""

    rules: Channel
    good: tuple[int, float] | None = None
    seen: float | None = None
    run: int = 0
    recent: list[tuple[int, float]] = field(default_factory=list)
    known: dict[int, tuple[float, Quality]] = field(default_factory=dict)  # closed steps as they are known now

    def close(self, step: int, value: float | None) -> tuple[float, Quality]:
        closed = self.gap(step) if value is None else (value, self.judge(step, value))
        self.known[step] = closed
        return closed

    def gap(self, step: int) -> tuple[float, Quality]:
        if self.rules.gap_rule != "none" and self.good is not None and step - self.good[0] <= self.rules.gap_limit:
            return self.good[1], Quality.GAP
        return math.nan, Quality.MISSING

    def judge(self, step: int, value: float) -> Quality:
        rules, bits = self.rules, Quality.GOOD
        self.run = self.run + 1 if self.seen == value else 1
        self.seen = value
        if rules.stuck_after is not None and self.run >= rules.stuck_after:
            bits |= Quality.STUCK
        low, high = rules.minimum, rules.maximum
        outside = (low is not None and value < low) or (high is not None and value > high)
        if outside:
            bits |= Quality.OUT_OF_RANGE
        converted = self.in_another_unit(value) if outside else None
        if converted is not None:
            bits |= Quality.WRONG_UNIT
            self.remember(step, converted)
            return bits
        if outside:
            return bits
        if self.is_spike(step, value):
            bits |= Quality.SPIKE
        else:
            self.draw_line(step, value)
            self.good = (step, value)
        self.remember(step, value)
        return bits

    def remember(self, step: int, value: float) -> None:
        if self.rules.spike_limit is not None or conversions_back(self.rules.unit):
            self.recent = [*self.recent, (step, value)][-5:]

    def is_spike(self, step: int, value: float) -> bool:
        if self.rules.spike_limit is None or len(self.recent) < 5:
            return False
        middle = statistics.median(one for _, one in self.recent)
        allowed = self.rules.spike_limit * (step - self.recent[2][0])
        return abs(value - middle) > allowed + 1e-6 * max(abs(value), abs(middle))

    def in_another_unit(self, value: float) -> float | None:
        if len(self.recent) < 5:
            return None
        ordered = sorted(one for _, one in self.recent)
        middle = ordered[2]
        near = max(2 * (ordered[4] - ordered[0]), 0.03 * abs(middle))
        if abs(value - middle) <= 10 * near:
            return None
        back = {value * scale + offset: scale for scale, offset in conversions_back(self.rules.unit)}
        best = min(back, key=lambda one: abs(one - middle), default=math.inf)
        if abs(best - middle) > near or abs(value - middle) <= 2 * near / back[best]:
            return None
        return float(np.float32(best))

    def draw_line(self, step: int, value: float) -> None:
        if self.rules.gap_rule != "linear" or self.good is None:
            return
        first, start = self.good
        if step - first - 1 > self.rules.gap_limit:
            return
        for between in range(first + 1, step):
            if self.known[between][1] & Quality.GAP:
                share = (between - first) / (step - first)
                self.known[between] = (float(np.float32(start + (value - start) * share)), Quality.GAP)


@dataclass
class NaiveTwin:
    type: TwinType
    gap_steps: int
    window: int = 1
    latest: int | None = None
    folded: int = -1
    next: int | None = None
    cells: dict[tuple[int, int], tuple[int, int, float]] = field(default_factory=dict)
    emitted: list[Step] = field(default_factory=list)
    late: int = 0
    duplicate: int = 0
    data_step: int | None = None
    channels: list[NaiveChannel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channels = [NaiveChannel(channel) for channel in self.type.channels]

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
        for index, channel in enumerate(self.channels):
            cell = self.cells.get((step, index))
            if cell is not None:
                self.data_step = step
            value, bits = channel.close(step, None if cell is None else cell[2])
            values.append(value)
            quality.append(int(bits))
        if self.data_step is not None and step - self.data_step <= self.gap_steps:
            span = range(step - self.window + 1, step + 1)
            window = [[channel.known.get(one, (math.nan,))[0] for channel in self.channels] for one in span]
            self.emitted.append(Step(step, values, quality, offset, window))

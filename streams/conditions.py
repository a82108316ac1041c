"""Conditions of twins: what is on, since when, and which signal each closed step sends.

In:   per closed step which conditions hold (from risk, limits, quality). A sensor is out of range, or in a wrong unit, when a
      step is marked so and so are k of the last 2k - 1: a single odd value is nothing, and the window tells without any state.
      A twin that fell silent is told by the fall. A step that says nothing of the model's alarm that is on signals nothing of it.
Out:  raise / keep / clear, with the onset; clear goes on until the off-delay has passed in event time.
Pure: the state is a few arrays a type, exported into checkpoints.

A twin may bring a condition that is on and that its type does not have: the type it was of before had that limit. Such a
condition is withdrawn: it never holds again, so it clears as any other does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streams.stuck_values import Repeats
from twin.arena import ClosedSteps
from twin.quality import Quality
from twin.silence import Fall
from twin.types import TwinType
from twin.unit_mistakes import conversions_back

Ints = NDArray[np.int64]
OFF = -1
NO_CHANNEL = -1
GONE = -2  # of the twin as a whole, or of a withdrawn condition whose channel the type does not have either
SignalKind = Literal["raise", "keep", "clear"]
ANOMALY = "anomaly"
OUT_OF_RANGE, WRONG_UNIT, SILENT = "out-of-range", "wrong-unit", "silent"


@dataclass(frozen=True, slots=True)
class Transition:
    """One signal to send. `index` is the position in the rows given to `follow`, `condition` in `Conditions.names`.

    `fall`: a twin fell silent, which no step tells; then `index` is that of its next step, if it has one.
    """

    index: int
    condition: int
    kind: SignalKind
    onset_ns: int
    fall: Fall | None = None


class Conditions:
    """State of all conditions of all twins of one type. Rows are those of the type's arena."""

    def __init__(self, type: TwinType, capacity: int) -> None:
        self._off_delay_ns = type.off_delay_ns
        self._channel_names = type.channel_names
        self.names: list[str] = [ANOMALY]
        self.channel: list[int] = [NO_CHANNEL]  # the channel a condition speaks of
        self.limit: list[float] = [float("nan")]
        self._low: list[tuple[int, int, float]] = []
        self._high: list[tuple[int, int, float]] = []
        self._stuck: list[tuple[int, int]] = []
        self._learnt: list[tuple[int, int]] = []  # stuck too, as a version has learnt what is normal
        self._marked: list[tuple[int, int, Quality, int]] = []  # condition, channel, mark, k
        for index, channel in enumerate(type.channels):
            if channel.low_limit is not None:
                self._low.append((len(self.names), index, channel.low_limit))
                self._name(f"limit:{channel.name}:low", index, channel.low_limit)
            if channel.high_limit is not None:
                self._high.append((len(self.names), index, channel.high_limit))
                self._name(f"limit:{channel.name}:high", index, channel.high_limit)
            if channel.stuck_after is not None or (channel.learns_stuck and channel.role == "sensor"):
                of = self._learnt if channel.stuck_after is None else self._stuck
                of.append((len(self.names), index))
                self._name(f"stuck:{channel.name}", index, float("nan"))
            if channel.minimum is None and channel.maximum is None:
                continue
            if channel.out_of_range_after is not None:
                self._marked.append((len(self.names), index, Quality.OUT_OF_RANGE, channel.out_of_range_after))
                self._name(f"{OUT_OF_RANGE}:{channel.name}", index, float("nan"))
            if channel.wrong_unit_after is not None and conversions_back(channel.unit):
                self._marked.append((len(self.names), index, Quality.WRONG_UNIT, channel.wrong_unit_after))
                self._name(f"{WRONG_UNIT}:{channel.name}", index, float("nan"))
        self._silent = len(self.names) if type.silence_alerts else None
        if type.silence_alerts:
            self._name(SILENT, GONE, float("nan"))
        self.learns_stuck = np.zeros(len(type.channels), np.bool_)
        self.learns_stuck[[channel for _, channel in self._learnt]] = True
        self._period_ns = type.period_ns
        self.declared = len(self.names)  # those behind are withdrawn
        self.onset = np.full((capacity, len(self.names)), OFF, np.int64)
        self.last_on = np.full((capacity, len(self.names)), OFF, np.int64)

    def _name(self, name: str, channel: int, limit: float) -> None:
        self.names.append(name)
        self.channel.append(channel)
        self.limit.append(limit)

    def grow(self, capacity: int) -> None:
        more = np.full((capacity - len(self.onset), len(self.names)), OFF, np.int64)
        self.onset = np.concatenate([self.onset, more])
        self.last_on = np.concatenate([self.last_on, more])

    def reset(self, row: int) -> None:
        self.onset[row] = OFF
        self.last_on[row] = OFF

    def take(self, row: int, other: Conditions, other_row: int) -> None:
        """A twin comes from another type: what is on there is on here; see `restore`."""
        self.restore(row, *other.export(other_row))

    def export(self, row: int) -> tuple[list[str], Ints, Ints]:
        """Names, onsets and last times of what a twin can have on: all that is declared, and what is withdrawn but not over."""
        kept = [index for index in range(len(self.names)) if index < self.declared or self.onset[row, index] != OFF]
        return [self.names[index] for index in kept], self.onset[row, kept], self.last_on[row, kept]

    def restore(self, row: int, names: Sequence[str], onset: Ints, last_on: Ints) -> None:
        """Put into a row what `export` gave, here or elsewhere. By name: what is on and not declared here is withdrawn."""
        for name, began, last in zip(names, onset.tolist(), last_on.tolist(), strict=True):
            if name in self.names or began != OFF:
                index = self.names.index(name) if name in self.names else self._withdraw(name)
                self.onset[row, index], self.last_on[row, index] = began, last

    def _withdraw(self, name: str) -> int:
        """A place for a condition that is not declared here."""
        of_channel = name.split(":")[1] if ":" in name else ""
        known = of_channel in self._channel_names
        self._name(name, self._channel_names.index(of_channel) if known else GONE, float("nan"))
        none = np.full((len(self.onset), 1), OFF, np.int64)
        self.onset, self.last_on = np.concatenate([self.onset, none], axis=1), np.concatenate([self.last_on, none], axis=1)
        return len(self.names) - 1

    def active(self, rows: Ints) -> NDArray[np.bool_]:
        """Which conditions are on, or cleared less than the off-delay ago, (N, K)."""
        return np.asarray(self.onset[rows] != OFF)

    def holding(self, closed: ClosedSteps, at: Ints, alarm: NDArray[np.bool_], repeated: Repeats) -> NDArray[np.bool_]:
        """Which conditions hold at the closed steps `at`, (N, K); only good cells count against a limit."""
        values, quality = closed.values[at], closed.quality[at]
        on = np.zeros((len(values), len(self.names)), np.bool_)
        on[:, 0] = alarm
        good = quality == 0
        for condition, channel, limit in self._low:
            on[:, condition] = good[:, channel] & (values[:, channel] < limit)
        for condition, channel, limit in self._high:
            on[:, condition] = good[:, channel] & (values[:, channel] > limit)
        for condition, channel in self._stuck:
            on[:, condition] = (quality[:, channel] & np.uint8(Quality.STUCK)) != 0
        for condition, channel in self._learnt:
            on[:, condition] = repeated.too_long[at, channel]
        beyond = np.flatnonzero((quality & np.uint8(Quality.OUT_OF_RANGE)).any(axis=1))
        if self._marked and len(beyond):
            self._mark(on, closed, at, beyond)
        return on

    def _mark(self, on: NDArray[np.bool_], closed: ClosedSteps, at: Ints, beyond: Ints) -> None:
        """Conditions of marked sensors; a value in a wrong unit is out of range too, and told as the one that explains it."""
        steps = min(2 * max(k for _, _, _, k in self._marked) - 1, closed.windows.size)
        quality = closed.windows.newest(at[beyond], steps)[1]
        for condition, channel, mark, k in self._marked:
            bits = quality[:, 1 - 2 * k :, channel] & np.uint8(Quality.OUT_OF_RANGE | Quality.WRONG_UNIT)
            marked = (bits & np.uint8(Quality.WRONG_UNIT)) != 0
            if mark is Quality.OUT_OF_RANGE:
                marked = (bits != 0) & ~marked
            on[beyond, condition] = marked[:, -1] & (marked.sum(axis=1) >= k)

    def lasting(self, at: Ints, repeated: Repeats) -> NDArray[np.bool_]:
        """Which conditions hold at the closed steps `at` if they did at the step before, (N, K)."""
        found = np.zeros((len(at), len(self.names)), np.bool_)
        for condition, channel in self._learnt:
            found[:, condition] = repeated.lasting[at, channel]
        return found

    def follow(
        self,
        rows: Ints,
        on: NDArray[np.bool_],
        time_ns: Ints,
        falls: Mapping[int, Sequence[tuple[int, Fall]]] | None = None,
        lasting: NDArray[np.bool_] | None = None,
        held: NDArray[np.bool_] | None = None,
    ) -> list[Transition]:
        """Move on by N closed steps; a twin's stand beside each other, in order.

        Transitions come as if all twins went step by step together, which no batch boundary changes for a twin.

        Args:
            on, lasting: (N, K) conditions that hold at each step, and those that do if they did at the step before.
            falls: row → how many of its steps here came before it fell silent; rows without any step are allowed.
            held: (N,) the model's alarm is on and the step says nothing of it.
        """
        silent = {} if falls is None or self._silent is None else dict(falls)
        found: list[tuple[float, Transition]] = []
        bounds = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)] if len(rows) else []
        for begin, end in pairwise(bounds):
            row = int(rows[begin])
            concerned = on[begin:end].any(axis=0) | (self.onset[row] != OFF)
            for condition in np.flatnonzero(concerned).tolist():
                if condition != self._silent:
                    last = [False] * (end - begin) if lasting is None else lasting[begin:end, condition].tolist()
                    holds = on[begin:end, condition].tolist()
                    steps = zip(range(begin, end), holds, last, time_ns[begin:end].tolist(), strict=True)
                    heard = steps if condition or held is None else (one for one in steps if not held[one[0]])
                    found += [(one.index - begin, one) for one in self._follow(row, condition, heard)]
            if row in silent or (self._silent is not None and concerned[self._silent]):
                found += self._follow_silence(row, begin, time_ns[begin:end].tolist(), silent.pop(row, ()))
        for row, fallen in silent.items():
            found += self._follow_silence(row, len(rows), [], fallen)
        found.sort(key=lambda one: (one[0], one[1].index, one[1].condition))
        return [transition for _, transition in found]

    def _follow_silence(
        self, row: int, begin: int, times_ns: Sequence[int], falls: Sequence[tuple[int, Fall]]
    ) -> Iterator[tuple[float, Transition]]:
        """A twin that is silent sends nothing, so it falls between two steps; its next steps say that it is back."""
        condition = self._silent or 0
        onset, last_on = int(self.onset[row, condition]), int(self.last_on[row, condition])
        for place in range(len(times_ns) + 1):
            for _, fall in (one for one in falls if one[0] == place):
                kind: SignalKind = "raise" if onset == OFF else "keep"
                onset, last_on = (fall.time_ns if onset == OFF else onset), fall.time_ns
                yield place - 0.5, Transition(begin + place, condition, kind, onset, fall)
            # steps that are filled up from before it fell silent say nothing
            if place < len(times_ns) and onset != OFF and times_ns[place] > last_on:
                yield place, Transition(begin + place, condition, "clear", onset)
                if times_ns[place] - last_on >= self._off_delay_ns:
                    onset = OFF
        self.onset[row, condition], self.last_on[row, condition] = onset, last_on

    def _follow(self, row: int, condition: int, steps: Iterable[tuple[int, bool, bool, int]]) -> Iterator[Transition]:
        """One condition of one twin; each step with its position, whether the condition holds, or lasts, and when it closed."""
        onset, last_on = int(self.onset[row, condition]), int(self.last_on[row, condition])
        for index, holds, lasts, now in steps:
            if holds or (lasts and onset != OFF and last_on == now - self._period_ns):
                kind: SignalKind = "raise" if onset == OFF else "keep"
                onset, last_on = (now if onset == OFF else onset), now
                yield Transition(index, condition, kind, onset)
            elif onset != OFF:
                yield Transition(index, condition, "clear", onset)
                if now - last_on >= self._off_delay_ns:
                    onset = OFF
        self.onset[row, condition], self.last_on[row, condition] = onset, last_on


def placed(fallen: Sequence[Fall], rows: Ints, closed_by: Ints) -> dict[int, list[tuple[int, Fall]]]:
    """Row → how many of its steps had closed when it fell silent; `rows` with a twin's steps beside each other, in order."""
    found: dict[int, list[tuple[int, Fall]]] = {}
    for fall in fallen:
        own = closed_by[rows == fall.row]
        found.setdefault(fall.row, []).append((int(np.searchsorted(own, fall.offset)), fall))
    return found

"""Conditions of twins: what is on, since when, and which signal each closed step sends.

In:   per closed step which conditions hold (from risk, limits, quality).
Out:  raise / keep / clear, with the onset; clear goes on until the off-delay has passed in event time.
Pure: the state is a few arrays a type, exported into checkpoints.

A twin may bring a condition that is on and that its type does not have: the type it was of before had that limit. Such a
condition is withdrawn: it never holds again, so it clears as any other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality
from twin.types import TwinType

Ints = NDArray[np.int64]
OFF = -1
NO_CHANNEL = -1
GONE = -2  # of a withdrawn condition whose channel the type does not have either
SignalKind = Literal["raise", "keep", "clear"]
ANOMALY = "anomaly"


@dataclass(frozen=True, slots=True)
class Transition:
    """One signal to send. `index` is the position in the rows given to `update`, `condition` in `Conditions.names`."""

    index: int
    condition: int
    kind: SignalKind
    onset_ns: int


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
        for index, channel in enumerate(type.channels):
            if channel.low_limit is not None:
                self._low.append((len(self.names), index, channel.low_limit))
                self._name(f"limit:{channel.name}:low", index, channel.low_limit)
            if channel.high_limit is not None:
                self._high.append((len(self.names), index, channel.high_limit))
                self._name(f"limit:{channel.name}:high", index, channel.high_limit)
            if channel.stuck_after is not None:
                self._stuck.append((len(self.names), index))
                self._name(f"stuck:{channel.name}", index, float("nan"))
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

    def holding(self, values: NDArray[np.float32], quality: NDArray[np.uint8], alarm: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which conditions hold at closed steps, (N, K); only good cells count against a limit."""
        on = np.zeros((len(values), len(self.names)), np.bool_)
        on[:, 0] = alarm
        good = quality == 0
        for condition, channel, limit in self._low:
            on[:, condition] = good[:, channel] & (values[:, channel] < limit)
        for condition, channel, limit in self._high:
            on[:, condition] = good[:, channel] & (values[:, channel] > limit)
        for condition, channel in self._stuck:
            on[:, condition] = (quality[:, channel] & np.uint8(Quality.STUCK)) != 0
        return on

    def update(self, rows: Ints, on: NDArray[np.bool_], time_ns: Ints) -> list[Transition]:
        """Move on by one closed step of each of N different twins."""
        known = self.onset[rows] != OFF
        if not (on.any() or known.any()):
            return []
        out: list[Transition] = []
        for index, condition in zip(*(axis.tolist() for axis in np.nonzero(on | known)), strict=True):
            row, now = int(rows[index]), int(time_ns[index])
            if on[index, condition]:
                kind: SignalKind = "keep" if known[index, condition] else "raise"
                if kind == "raise":
                    self.onset[row, condition] = now
                self.last_on[row, condition] = now
                out.append(Transition(index, condition, kind, int(self.onset[row, condition])))
            else:
                out.append(Transition(index, condition, "clear", int(self.onset[row, condition])))
                if now - int(self.last_on[row, condition]) >= self._off_delay_ns:
                    self.onset[row, condition] = OFF
        return out

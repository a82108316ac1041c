"""What one fold gives.

In:   closed steps, refusals and definitions as folding makes them.
Out:  `Folded`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from streams.refusals import Refused
from twin.arena import Arena, ClosedSteps
from twin.silence import Fall
from twin.windows import Patches, Windows


@dataclass(frozen=True, slots=True)
class Moved:
    """A twin that is of another type from here on. `closed`: how many of `Folded.closed` came before."""

    closed: int
    asset: str
    before: Arena
    row: int
    after: Arena
    new_row: int


@dataclass(slots=True)
class Folded:
    closed: list[ClosedSteps] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    definitions: list[tuple[bytes, bytes]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # values: accepted, duplicate, late, ahead, …; records
    strange: Counter[tuple[str, str]] = field(default_factory=Counter)  # (asset, unknown channel) → numbers that came
    strange_units: dict[tuple[str, str], str] = field(default_factory=dict)  # the unit that such a channel stated last
    moved: list[Moved] = field(default_factory=list)

    def in_order(self) -> Iterator[ClosedSteps | Moved]:
        """Closed steps, and twins that moved, as they came."""
        moved = list(self.moved)
        for position, closed in enumerate(self.closed):
            while moved and moved[0].closed <= position:
                yield moved.pop(0)
            yield closed
        yield from moved


def joined(rounds: list[ClosedSteps]) -> list[ClosedSteps]:
    """The rounds of one type as one: scored in one pass."""
    if len(rounds) < 2:
        return rounds
    windows = Windows.joined([one.windows for one in rounds])
    names = [one.name for one in fields(ClosedSteps) if one.name not in ("type", "windows", "falls")]
    columns = {name: np.concatenate([getattr(one, name) for one in rounds]) for name in names}
    return [
        ClosedSteps(type=rounds[0].type, windows=windows, falls=tuple(fall for one in rounds for fall in one.falls), **columns)
    ]


def with_falls(closed: list[ClosedSteps], falls: Sequence[Fall], arena: Arena) -> list[ClosedSteps]:
    """Closed steps of one type, and who of it fell silent meanwhile; no step at all where none closed."""
    if not falls:
        return closed
    none, channels = np.empty(0, np.int64), len(arena.type.channels)
    values, quality = np.empty((0, channels), np.float32), np.empty((0, channels), np.uint8)
    windows = Windows(arena.window, values, quality, none, Patches.none())
    (steps,) = closed or [ClosedSteps(arena.type, none, none, values, quality, windows, none, none)]
    return [replace(steps, falls=tuple(falls))]

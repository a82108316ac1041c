"""A twin moves to another revision of its type: its window, open steps and what it remembers go with it.

In:   a twin's row in the arena of the type it had, and a fresh row in that of the type it gets.
Out:  the fresh row holds all that both types have by the same name, in the new type's units; other channels begin empty.
Pure: no clock, no I/O. The step grid must be the same; a twin whose grid changes begins anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.arena import Arena
from twin.closing import CARRIED
from twin.errors import UnitUnusable
from twin.reading import NO_TIME
from twin.types import TwinType
from twin.units import Conversion, conversion

_VALUES = frozenset({"good_value", "seen_value", "recent_value"})


def same_grid(before: TwinType, after: TwinType) -> bool:
    return before.period_ns == after.period_ns


def move_row(before: Arena, row: int, after: Arena, new_row: int) -> None:
    """Copy the state of one twin from `before[row]` to `after[new_row]`."""
    shared = _shared(before.type, after.type)
    old = np.array([pair[0] for pair in shared], np.int64)
    new = np.array([pair[1] for pair in shared], np.int64)
    scale = np.array([pair[2].scale for pair in shared])
    offset = np.array([pair[2].offset for pair in shared])
    for name in ("max_time", "next_offset", "next_step", "silent", "pause"):
        getattr(after, name)[new_row] = getattr(before, name)[row]
    if before.next_step[row] == NO_TIME or not len(shared):
        return
    first = int(before.next_step[row]) - before.window
    steps = np.arange(max(first, int(before.next_step[row]) - after.window), int(before.next_step[row]) + before.open_span)
    steps = steps[steps < int(after.next_step[new_row]) + after.open_span]
    here, there = steps % before.slots, steps % after.slots
    after.values[new_row, there[:, None], new] = _converted(before.values[row, here[:, None], old], scale, offset)
    after.quality[new_row, there[:, None], new] = before.quality[row, here[:, None], old]
    after.cell_time[new_row, there[:, None], new] = before.cell_time[row, here[:, None], old]
    after.slot_offset[new_row, there] = before.slot_offset[row, here]
    for name in CARRIED:
        source, target = getattr(before.carry, name), getattr(after.carry, name)
        if source.ndim == 1:  # of the twin, not of a channel
            target[new_row] = source[row]
            continue
        values = source[row, old]
        if name in _VALUES:
            wide = (slice(None), *[None] * (values.ndim - 1))
            values = _converted(values, scale[wide], offset[wide])
        target[new_row, new] = values


def _shared(before: TwinType, after: TwinType) -> list[tuple[int, int, Conversion]]:
    """Channels of both: position there, position here, and how values convert. What can't be converted begins empty."""
    known = {channel.name: (index, channel.unit) for index, channel in enumerate(before.channels)}
    found = []
    for index, channel in enumerate(after.channels):
        if channel.name not in known:
            continue
        place, unit = known[channel.name]
        try:
            if unit != channel.unit and (unit is None or channel.unit is None):
                raise UnitUnusable(f"{channel.name} had unit {unit}, has {channel.unit} now")
            found.append(
                (place, index, conversion(unit, channel.unit) if unit and channel.unit and unit != channel.unit else _SAME)
            )
        except UnitUnusable:
            continue
    return found


_SAME = Conversion()


def _converted(values: NDArray[np.float32], scale: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values to the bit as they were where nothing is to be converted."""
    if (scale == 1).all() and (offset == 0).all():
        return values
    return (values.astype(np.float64) * scale + offset).astype(np.float32)

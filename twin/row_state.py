"""The state of one twin as plain arrays: taken out of its arena row, and put back to the bit.

In:   a row of an arena.
Out:  named arrays: the window, the steps that are still open, what is carried over from closed steps, the watermark.
Pure: no clock, no I/O.

Only what decides something later is taken: closed steps in their order, and of the open ones those in which values came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.closing import CARRIED, Carry
from twin.errors import CheckpointRefused
from twin.reading import NO_TIME
from twin.rows import MISSING, Rows

SCALARS = ("next_step", "max_time", "next_offset")
LATER = {"first_offset": 0, "silent": 0, "pause": 0}  # scalars that older checkpoints lack, and what they are taken for
Arrays = dict[str, NDArray[Any]]


def export_row(arena: Rows, window: int, row: int) -> Arrays:
    """All state of one twin.

    Args:
        arena: where it lives, R slots × C channels.
        window: W, closed steps that later windows may show.
    """
    arrays: Arrays = {name: getattr(arena, name)[row : row + 1].copy() for name in (*SCALARS, *LATER)}
    for name in CARRIED:
        arrays[f"carry.{name}"] = getattr(arena.carry, name)[row].copy()
    rings = {name: getattr(arena, name)[row] for name in ("values", "quality", "cell_time", "slot_offset")}
    return arrays | from_rings(int(arena.next_step[row]), window, rings)


def restore_row(arena: Rows, window: int, row: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `export_row` gave; the row must be a fresh one.

    Raises:
        CheckpointRefused: an array is missing or of another shape; the row is as it was.
    """
    channels = len(arena.type.channels)
    next_step = int(_of_shape(arrays, "next_step", (1,))[0])
    steps, ahead = (0 if next_step == NO_TIME else window), _of_shape(arrays, "open.ahead", (None,))
    shapes: dict[str, tuple[int | None, ...]] = dict.fromkeys(SCALARS, (1,))
    shapes |= {f"carry.{name}": getattr(arena.carry, name).shape[1:] for name in CARRIED}
    shapes |= {"window.values": (steps, channels), "window.quality": (steps, channels), "window.offset": (steps,)}
    shapes |= {"open.values": (len(ahead), channels), "open.time": (len(ahead), channels), "open.offset": (len(ahead),)}
    found = {name: _of_shape(arrays, name, shape) for name, shape in shapes.items()}
    if len(ahead) and not 0 <= int(ahead.min()) <= int(ahead.max()) < arena.slots - window:
        raise CheckpointRefused(f"open steps reach {int(ahead.max())} ahead, expected less than {arena.slots - window}")
    for name in SCALARS:
        getattr(arena, name)[row] = found[name][0]
    for name, unknown in LATER.items():
        getattr(arena, name)[row] = arrays[name][0] if name in arrays else unknown
    arena.carry.put(slice(row, row + 1), Carry(*(found[f"carry.{name}"][None] for name in CARRIED)))
    slot = np.arange(next_step - steps, next_step) % arena.slots
    arena.values[row, slot] = found["window.values"]
    arena.quality[row, slot] = found["window.quality"]
    arena.slot_offset[row, slot] = found["window.offset"]
    slot = (next_step + ahead) % arena.slots
    arena.values[row, slot] = found["open.values"]
    arena.cell_time[row, slot] = found["open.time"]
    arena.slot_offset[row, slot] = found["open.offset"]
    arena.quality[row, slot] = np.where(found["open.time"] == NO_TIME, MISSING, 0)


def from_rings(next_step: int, window: int, rings: Mapping[str, NDArray[Any]]) -> Arrays:
    """The window and the open steps out of the whole rings of one row, R slots."""
    slots = len(rings["values"])
    if next_step == NO_TIME:
        closed, slot, ahead = (np.empty(0, np.int64) for _ in range(3))
    else:
        closed = np.arange(next_step - window, next_step) % slots
        ahead = np.arange(slots - window)
        ahead = ahead[(rings["cell_time"][(next_step + ahead) % slots] != NO_TIME).any(axis=1)]
        slot = (next_step + ahead) % slots
    return {
        "window.values": rings["values"][closed],
        "window.quality": rings["quality"][closed],
        "window.offset": rings["slot_offset"][closed],
        "open.ahead": ahead,
        "open.values": rings["values"][slot],
        "open.time": rings["cell_time"][slot],
        "open.offset": rings["slot_offset"][slot],
    }


def _of_shape(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    found = arrays[name].shape if name in arrays else None
    if found is None or len(found) != len(shape) or any(b is not None and a != b for a, b in zip(found, shape, strict=True)):
        raise CheckpointRefused(f"{name} has shape {found}, expected {shape}")
    return arrays[name]

"""Gaps that close: the line between the good values on both sides, in the window of the twin.

In:   closed cells with the last good value before each; which steps are handed out.
Out:  filled cells of the ring; what the windows show from the step that closes the gap on.
Pure: no clock, no I/O.

While a gap is open nobody knows where it leads, so its steps are handed out with the last good value held. The good value
that closes it draws the line, and windows that end there or later hold it. All these cells keep the bit GAP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality
from twin.windows import Patches

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bridges:
    """M cells of gaps that closed: which twin of the call, which channel, which step, the line there, who closed the gap."""

    twin: Ints
    channel: Ints
    step: Ints
    value: Floats
    closing: Ints  # step of the good value behind the gap

    def __len__(self) -> int:
        return len(self.twin)


def find_bridges(
    cells: Floats,
    good: NDArray[np.bool_],
    steps: Ints,
    held: Floats,
    held_step: Ints,
    good_value: Floats,
    good_step: Ints,
    limit: Ints,
) -> Bridges:
    """Lines between good values with a gap of `limit` steps at most between them.

    Args:
        cells, good: (A, S, C) values, and where one may end a line.
        held, held_step: (A, S, C) newest good value up to each cell, and its step.
        good_value, good_step: (A, C) the same before the first cell.
        limit: (C,) steps.
    """
    none = np.empty(0, np.int64)
    if not good.any():
        return Bridges(none, none, none, np.empty(0, np.float32), none)
    from_step = np.concatenate([good_step[:, None], held_step[:, :-1]], axis=1)
    from_value = np.concatenate([good_value[:, None], held[:, :-1]], axis=1)
    length = steps[:, :, None] - from_step - 1
    twin, place, channel = np.nonzero(good & (length >= 1) & (length <= limit) & ~np.isnan(from_value))
    count = length[twin, place, channel]
    many = np.repeat(np.arange(len(count)), count)
    along = np.arange(len(many)) - np.repeat(np.cumsum(count) - count, count) + 1
    twin, place, channel = twin[many], place[many], channel[many]
    start = from_value[twin, place, channel].astype(np.float64)
    share = along / (count[many] + 1)
    value = (start + (cells[twin, place, channel] - start) * share).astype(np.float32)
    return Bridges(twin, channel, from_step[twin, place, channel] + along, value, steps[twin, place])


def bridge(
    bridges: Bridges,
    rows: Ints,
    oldest: Ints,
    values: Floats,
    quality: NDArray[np.uint8],
    emitted_twin: Ints,
    emitted_step: Ints,
    *,
    window: int,
) -> Patches:
    """Put the lines into the rings, in place; and what they change in the windows that end at or after the closing of their gap.

    Args:
        rows: (A,) arena rows of the twins of the call.
        oldest: (A,) oldest step that their rings hold.
        values, quality: rings of the arena, (row, step % slots, channel).
        emitted_twin, emitted_step: (N,) the steps handed out, sorted.
        window: steps of their windows.
    """
    twin, channel, step = bridges.twin, bridges.channel, bridges.step
    if not len(twin):
        return Patches.none()
    row, slot = rows[twin], step % values.shape[1]
    kept = (step >= oldest[twin]) & ((quality[row, slot, channel] & np.uint8(Quality.GAP)) != 0)
    twin, channel, step, closing, value = twin[kept], channel[kept], step[kept], bridges.closing[kept], bridges.value[kept]
    values[row[kept], slot[kept], channel] = value
    if not len(emitted_step) or not len(twin):
        return Patches.none()
    low = int(min(emitted_step.min(), closing.min()))
    width = int(max(emitted_step.max(), step.max() + window, closing.max())) - low + 2
    order = emitted_twin * width + (emitted_step - low)
    first = np.searchsorted(order, twin * width + (closing - low))
    end = np.searchsorted(order, twin * width + (np.maximum(step + window, closing) - low))
    count = end - first
    many = np.repeat(np.arange(len(count)), count)
    at = np.arange(len(many)) - np.repeat(np.cumsum(count) - count, count) + first[many]
    return Patches(at, window - 1 - (emitted_step[at] - step[many]), channel[many], value[many])

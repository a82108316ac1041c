"""Closing steps: fill gaps, set quality, decide which steps are handed out. For many twins and steps at once.

In:   raw cells of steps that close now, and what each twin carries over from its steps before.
Out:  cleaned cells, quality bits, which steps are emitted, the new carry.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality

_NEVER = np.iinfo(np.int64).min // 2


@dataclass(slots=True)
class Carry:
    """What a twin remembers from closed steps beyond its window. A twins × C channels."""

    good_value: NDArray[np.float32]  # (A, C) last value fit to fill a gap with, NaN when there was none
    good_step: NDArray[np.int64]  # (A, C) its step
    seen_value: NDArray[np.float32]  # (A, C) last value that came, fit or not
    equal_run: NDArray[np.int64]  # (A, C) how many equal values came in a row
    data_step: NDArray[np.int64]  # (A,) last step in which anything came

    @classmethod
    def empty(cls, twins: int, channels: int) -> Carry:
        return cls(
            good_value=np.full((twins, channels), np.nan, np.float32),
            good_step=np.full((twins, channels), _NEVER),
            seen_value=np.full((twins, channels), np.nan, np.float32),
            equal_run=np.zeros((twins, channels), np.int64),
            data_step=np.full(twins, _NEVER),
        )

    def take(self, rows: NDArray[np.int64] | slice) -> Carry:
        return Carry(
            self.good_value[rows], self.good_step[rows], self.seen_value[rows], self.equal_run[rows], self.data_step[rows]
        )

    def put(self, rows: NDArray[np.int64] | slice, other: Carry) -> None:
        self.good_value[rows] = other.good_value
        self.good_step[rows] = other.good_step
        self.seen_value[rows] = other.seen_value
        self.equal_run[rows] = other.equal_run
        self.data_step[rows] = other.data_step


@dataclass(frozen=True, slots=True)
class ClosedGrid:
    """A twins × S steps × C channels, cleaned."""

    values: NDArray[np.float32]
    quality: NDArray[np.uint8]
    emitted: NDArray[np.bool_]  # (A, S)
    carry: Carry


def close_grid(
    cells: NDArray[np.float32],
    within: NDArray[np.bool_],
    steps: NDArray[np.int64],
    carry: Carry,
    *,
    minimum: NDArray[np.float32],
    maximum: NDArray[np.float32],
    stuck_after: NDArray[np.int64],
    gap_steps: int,
) -> ClosedGrid:
    """Close steps.

    Args:
        cells: (A, S, C) last value of each step, NaN where none came.
        within: (A, S) which steps close; a twin's come first, so rows may end early.
        steps: (A, S) step numbers, rising along a row.
        carry: of these A twins.
        minimum, maximum, stuck_after: (C,) the type's limits; a run of `stuck_after` equal values marks STUCK.
        gap_steps: gaps up to this length are filled with the last good value.
    """
    came = ~np.isnan(cells) & within[:, :, None]
    outside = came & ((cells < minimum) | (cells > maximum))
    fit = came & ~outside
    position = np.broadcast_to(np.arange(steps.shape[1])[None, :, None], cells.shape)

    # hold the last good value through short gaps
    source = np.maximum.accumulate(np.where(fit, position, -1), axis=1)
    picked = np.take_along_axis(cells, np.maximum(source, 0), axis=1)
    held = np.where(source >= 0, picked, carry.good_value[:, None, :])
    held_step = np.where(
        source >= 0,
        np.take_along_axis(np.broadcast_to(steps[:, :, None], cells.shape), np.maximum(source, 0), axis=1),
        carry.good_step[:, None, :],
    )
    fillable = ~came & (steps[:, :, None] - held_step <= gap_steps) & ~np.isnan(held)
    values = np.where(came, cells, np.where(fillable, held, np.float32(np.nan)))

    # runs of equal values
    before = np.maximum.accumulate(np.where(came, position, -1), axis=1)
    previous_at = np.concatenate([np.full_like(before[:, :1], -1), before[:, :-1]], axis=1)
    previous = np.where(
        previous_at >= 0, np.take_along_axis(cells, np.maximum(previous_at, 0), axis=1), carry.seen_value[:, None, :]
    )
    same = came & (cells == previous)
    counted = np.cumsum(same, axis=1)
    reset = np.maximum.accumulate(np.where(came & ~same, counted, -1), axis=1)
    # a run counts its first value too: 1 after a reset, then one more for each equal value
    run = np.where(reset >= 0, counted - reset + 1, carry.equal_run[:, None, :] + counted)
    stuck = came & (run >= stuck_after)

    quality = np.zeros(cells.shape, np.uint8)
    quality[outside] |= np.uint8(Quality.OUT_OF_RANGE)
    quality[stuck] |= np.uint8(Quality.STUCK)
    quality[fillable] |= np.uint8(Quality.GAP)
    quality[np.isnan(values)] |= np.uint8(Quality.MISSING)

    any_came = came.any(axis=2)
    data_step = np.maximum(np.maximum.accumulate(np.where(any_came, steps, _NEVER), axis=1), carry.data_step[:, None])
    emitted = within & (steps - data_step <= gap_steps)

    seen_value = np.where(
        before[:, -1] >= 0, np.take_along_axis(cells, np.maximum(before[:, -1:], 0), axis=1)[:, 0], carry.seen_value
    )
    carry_out = Carry(
        good_value=held[:, -1].astype(np.float32),
        good_step=held_step[:, -1],
        seen_value=seen_value.astype(np.float32),
        equal_run=run[:, -1],
        data_step=data_step[:, -1],
    )
    return ClosedGrid(values.astype(np.float32), quality, emitted, carry_out)

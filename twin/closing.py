"""Closing steps: fill gaps, set quality, decide which steps are handed out. For many twins and steps at once.

In:   raw cells of steps that close now, and what each twin carries over from its steps before.
Out:  cleaned cells, quality bits, which steps are emitted, the new carry.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twin.bridging import Bridges, find_bridges
from twin.plausible import RECENT, Limits, Recent, judge
from twin.quality import Quality
from twin.types import Channel

_T = TypeVar("_T", bound=np.generic)
NEVER = np.iinfo(np.int64).min // 2


@dataclass(slots=True)
class Carry:
    """What a twin remembers from closed steps beyond its window. A twins × C channels."""

    good_value: NDArray[np.float32]  # (A, C) last value fit to fill a gap with, NaN when there was none
    good_step: NDArray[np.int64]  # (A, C) its step
    seen_value: NDArray[np.float32]  # (A, C) last value that came, fit or not
    equal_run: NDArray[np.int64]  # (A, C) how many equal values came in a row
    data_step: NDArray[np.int64]  # (A,) last step in which anything came
    recent_value: NDArray[np.float32]  # (A, C, RECENT) see `twin.plausible`
    recent_step: NDArray[np.int64]  # (A, C, RECENT)

    @classmethod
    def empty(cls, twins: int, channels: int) -> Carry:
        return cls(
            good_value=np.full((twins, channels), np.nan, np.float32),
            good_step=np.full((twins, channels), NEVER),
            seen_value=np.full((twins, channels), np.nan, np.float32),
            equal_run=np.zeros((twins, channels), np.int64),
            data_step=np.full(twins, NEVER),
            recent_value=np.full((twins, channels, RECENT), np.nan, np.float32),
            recent_step=np.full((twins, channels, RECENT), NEVER),
        )

    def take(self, rows: NDArray[np.int64] | slice) -> Carry:
        if isinstance(rows, slice):
            return Carry(*(getattr(self, name)[rows] for name in CARRIED))
        return Carry(*(getattr(self, name).take(rows, axis=0) for name in CARRIED))

    def put(self, rows: NDArray[np.int64] | slice, other: Carry) -> None:
        for name in CARRIED:
            getattr(self, name)[rows] = getattr(other, name)


CARRIED = tuple(one.name for one in fields(Carry))


@dataclass(frozen=True, slots=True)
class Rules:
    """How the channels of a type are cleaned. C channels."""

    minimum: NDArray[np.float32]  # (C,)
    maximum: NDArray[np.float32]  # (C,)
    stuck_after: NDArray[np.int64]  # (C,) a run of so many equal values marks STUCK
    fills: NDArray[np.bool_]  # (C,) whether gaps are filled at all
    linear: NDArray[np.bool_]  # (C,) whether a gap that closes is bridged by a line (`twin.bridging`)
    gap_limit: NDArray[np.int64]  # (C,) steps of a gap that are filled
    plausible: Limits

    @classmethod
    def of(cls, channels: Sequence[Channel]) -> Rules:
        never = np.iinfo(np.int64).max
        return cls(
            minimum=np.array([-np.inf if c.minimum is None else c.minimum for c in channels], np.float32),
            maximum=np.array([np.inf if c.maximum is None else c.maximum for c in channels], np.float32),
            stuck_after=np.array([never if c.stuck_after is None else c.stuck_after for c in channels], np.int64),
            fills=np.array([c.gap_rule != "none" for c in channels], np.bool_),
            linear=np.array([c.gap_rule == "linear" for c in channels], np.bool_),
            gap_limit=np.array([c.gap_limit for c in channels], np.int64),
            plausible=Limits.of(channels),
        )


@dataclass(frozen=True, slots=True)
class ClosedGrid:
    """A twins × S steps × C channels, cleaned."""

    values: NDArray[np.float32]
    quality: NDArray[np.uint8]
    emitted: NDArray[np.bool_]  # (A, S)
    carry: Carry
    bridges: Bridges


def close_grid(
    cells: NDArray[np.float32],
    within: NDArray[np.bool_],
    steps: NDArray[np.int64],
    carry: Carry,
    rules: Rules,
    *,
    gap_steps: int,
) -> ClosedGrid:
    """Close steps.

    Args:
        cells: (A, S, C) last value of each step, NaN where none came.
        within: (A, S) which steps close; a twin's come first, so rows may end early.
        steps: (A, S) step numbers, rising along a row.
        carry: of these A twins.
        gap_steps: how long a twin is handed out after the last step in which anything came.
    """
    came = ~np.isnan(cells) & within[:, :, None]
    outside = came & ((cells < rules.minimum) | (cells > rules.maximum))
    recent = Recent(carry.recent_value, carry.recent_step)
    judged = judge(cells, came, outside, steps, recent, rules.plausible)
    fit = came & ~outside & ~judged.spike & ~judged.wrong_unit

    # hold the last good value through short gaps
    source = _newest(fit)
    held = _picked(cells, source, carry.good_value)
    held_step = _picked(np.broadcast_to(steps[:, :, None], cells.shape), source, carry.good_step)
    fillable = ~came & rules.fills & (steps[:, :, None] - held_step <= rules.gap_limit) & ~np.isnan(held)
    values = np.where(came, cells, np.where(fillable, held, np.float32(np.nan)))

    # runs of equal values: each counts its first one too
    seen = _picked(cells, _newest(came), carry.seen_value)
    same = came & (cells == np.concatenate([carry.seen_value[:, None], seen[:, :-1]], axis=1))
    counted: NDArray[np.int64] = np.cumsum(same, axis=1)
    reset = _picked(counted, _newest(came & ~same), 1 - carry.equal_run)
    run = counted - reset + 1
    stuck = came & (run >= rules.stuck_after)

    quality = np.zeros(cells.shape, np.uint8)
    quality[outside] |= np.uint8(Quality.OUT_OF_RANGE)
    quality[stuck] |= np.uint8(Quality.STUCK)
    quality[judged.spike] |= np.uint8(Quality.SPIKE)
    quality[judged.wrong_unit] |= np.uint8(Quality.WRONG_UNIT)
    quality[fillable] |= np.uint8(Quality.GAP)
    quality[np.isnan(values)] |= np.uint8(Quality.MISSING)

    any_came = np.asarray(came.any(axis=2))
    data_step = _picked(steps, _newest(any_came), carry.data_step)
    emitted = within & (steps - data_step <= gap_steps)

    carry_out = Carry(
        good_value=held[:, -1].astype(np.float32),
        good_step=held_step[:, -1],
        seen_value=seen[:, -1].astype(np.float32),
        equal_run=run[:, -1],
        data_step=data_step[:, -1],
        recent_value=judged.recent.value,
        recent_step=judged.recent.step,
    )
    bridges = find_bridges(cells, fit & rules.linear, steps, held, held_step, carry.good_value, carry.good_step, rules.gap_limit)
    return ClosedGrid(values.astype(np.float32), quality, emitted, carry_out, bridges)


def _newest(marked: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """For each cell of (A, S, ...) the newest place along S up to it that is marked, -1 before the first; None: each its own."""
    if marked.all():  # as with sources that send everything at every step
        return None
    place = np.arange(marked.shape[1]).reshape(1, -1, *[1] * (marked.ndim - 2))
    return np.asarray(np.maximum.accumulate(np.where(marked, place, -1), axis=1))


def _picked(of: NDArray[_T], at: NDArray[np.int64] | None, before: NDArray[_T]) -> NDArray[_T]:
    """Cells of (A, S, ...) by `_newest`; from (A, ...) `before` the first place."""
    if at is None:
        return of
    return np.where(at >= 0, np.take_along_axis(of, np.maximum(at, 0), axis=1), before[:, None])

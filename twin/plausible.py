"""Which values can't be what they say: spikes, and numbers in another unit. For many twins and steps at once.

In:   raw cells of steps that close now, and the RECENT values that each channel had before.
Out:  marks, and the recent values after.
Pure: no clock, no I/O. A mark is a function of the cell and of the values before it, so batches change nothing.

Each value is held against the median of the RECENT (5) plausible values before it; with fewer there is no judgement.
- Spike: farther from the median than `spike_limit` times the steps since the median's step. A process that changes by
  `spike_limit` a step at most is never marked; two bad values in five spoil no median; and since spikes count among the
  recent values, a process that has really jumped is marked for three steps at most.
- Wrong unit: out of the type's range and far from the median as it is, close to it when converted from a unit that is taken
  for the channel's (`twin.unit_mistakes`). The converted value then stands among the recent ones, so the mark follows a process
  that goes on in the wrong unit. A value within the range may always be the process: a flow that falls to a quarter is not
  gallons, and marked values are not scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality
from twin.types import Channel
from twin.unit_mistakes import conversions_back

RECENT = 5
_NEVER = np.iinfo(np.int64).min // 2
_CLOSE = 0.03  # of the median: how far a converted value may be from it
_FAR = 10.0  # times as far as close: a value that is nearer may be its own channel's
_TELLING = 2.0  # times as far as close, both in the other unit
_ROUNDING = 1e-6  # of a float32

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Marks = NDArray[np.bool_]
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the watched channels of a type may do. W watched channels, U units that one is taken for at most."""

    channels: Ints  # (W,) positions among all channels
    spike: NDArray[np.float64]  # (W,) units per step, infinite without a limit
    scale: NDArray[np.float64]  # (W, U) NaN where a channel has fewer units
    offset: NDArray[np.float64]  # (W, U)

    @classmethod
    def of(cls, channels: Sequence[Channel]) -> Limits:
        back = [conversions_back(channel.unit) for channel in channels]
        watched = [at for at, channel in enumerate(channels) if channel.spike_limit is not None or back[at]]
        table = np.full((len(watched), max((len(back[at]) for at in watched), default=0), 2), np.nan)
        for place, at in enumerate(watched):
            if back[at]:
                table[place, : len(back[at])] = back[at]
        spike = [np.inf if channels[at].spike_limit is None else float(channels[at].spike_limit or 0.0) for at in watched]
        return cls(np.array(watched, np.int64), np.array(spike, np.float64), table[:, :, 0], table[:, :, 1])


@dataclass(slots=True)
class Recent:
    """The plausible values before, newest last. Leading axes: twins × channels, or any pairs of them."""

    value: Floats  # (..., RECENT) NaN where there were fewer
    step: Ints  # (..., RECENT)


def recent_of(values: Floats, quality: NDArray[np.uint8], first_step: int) -> Recent:
    """What a twin would remember of closed steps, (W, C), in which nothing was a spike or in another unit."""
    channels = values.shape[1]
    found = Recent(
        np.full((channels, RECENT), np.nan, np.float32),
        np.full((channels, RECENT), _NEVER),
    )
    unfit = np.uint8(Quality.OUT_OF_RANGE | Quality.GAP | Quality.MISSING)
    for channel in range(channels):
        at = np.flatnonzero((quality[:, channel] & unfit) == 0)[-RECENT:]
        found.value[channel, RECENT - len(at) :] = values[at, channel]
        found.step[channel, RECENT - len(at) :] = first_step + at
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """A twins × S steps × C channels."""

    spike: Marks
    wrong_unit: Marks
    recent: Recent


def judge(cells: Floats, came: Marks, outside: Marks, steps: Ints, recent: Recent, limits: Limits) -> Judged:
    """Mark cells.

    Args:
        cells: (A, S, C) values.
        came, outside: (A, S, C) where there is a value; where it is out of the type's range.
        steps: (A, S) step numbers, rising along a row.
        recent: of these twins, (A, C, ...).
    """
    spike, wrong = np.zeros((2, *cells.shape), np.bool_)
    watched = len(limits.channels)
    if not watched:
        return Judged(spike, wrong, recent)
    twins, count = steps.shape

    def pairs(array: NDArray[_T]) -> NDArray[_T]:
        return np.ascontiguousarray(array[:, :, limits.channels].transpose(0, 2, 1)).reshape(twins * watched, count)

    values, arrived, beyond = pairs(cells), pairs(came), pairs(outside)
    at = np.repeat(steps, watched, axis=0)
    before = Recent(
        recent.value[:, limits.channels].reshape(-1, RECENT),
        recent.step[:, limits.channels].reshape(-1, RECENT),
    )
    channel = np.tile(np.arange(watched), twins)
    found_spike, found_wrong, after = _at_once(values, arrived, beyond, at, before, channel, limits)
    doubtful = np.flatnonzero(found_wrong.any(axis=1))
    if len(doubtful):
        one = Recent(before.value[doubtful], before.step[doubtful])
        marks = _one_by_one(values[doubtful], arrived[doubtful], beyond[doubtful], at[doubtful], one, channel[doubtful], limits)
        found_spike[doubtful], found_wrong[doubtful] = marks
        after.value[doubtful], after.step[doubtful] = one.value, one.step

    out = Recent(recent.value.copy(), recent.step.copy())
    out.value[:, limits.channels] = after.value.reshape(twins, watched, RECENT)
    out.step[:, limits.channels] = after.step.reshape(twins, watched, RECENT)
    spike[:, :, limits.channels] = found_spike.reshape(twins, watched, count).transpose(0, 2, 1)
    wrong[:, :, limits.channels] = found_wrong.reshape(twins, watched, count).transpose(0, 2, 1)
    return Judged(spike, wrong, out)


def _at_once(
    values: Floats, came: Marks, outside: Marks, steps: Ints, before: Recent, channel: Ints, limits: Limits
) -> tuple[Marks, Marks, Recent]:
    """All steps of all pairs, as if no value were in a wrong unit: exact for the pairs in which none then is."""
    fit = came & ~outside
    rank = np.cumsum(fit, axis=1)
    most = int(rank[:, -1].max())
    held = np.full((len(values), RECENT + most), np.nan, np.float32)
    held_step = np.zeros(held.shape, np.int64)
    held[:, :RECENT], held_step[:, :RECENT] = before.value, before.step
    pair, place = np.nonzero(fit)
    held[pair, RECENT - 1 + rank[pair, place]] = values[pair, place]
    held_step[pair, RECENT - 1 + rank[pair, place]] = steps[pair, place]
    rows = np.arange(len(values))
    first: Ints = rank - fit  # plausible values before each cell
    windows = np.lib.stride_tricks.sliding_window_view(held, RECENT, axis=1)[rows[:, None], first]
    median_step = held_step[rows[:, None], first + RECENT // 2]
    spike, wrong, _ = _marks(values, came, outside, steps, windows, median_step, channel[:, None], limits)
    last = rank[:, -1:] + np.arange(RECENT)
    after = Recent(
        np.take_along_axis(held, last, axis=1),
        np.take_along_axis(held_step, last, axis=1),
    )
    return spike, wrong, after


def _one_by_one(
    values: Floats, came: Marks, outside: Marks, steps: Ints, recent: Recent, channel: Ints, limits: Limits
) -> tuple[Marks, Marks]:
    """Step by step, as each value changes what the next is held against; `recent` is moved on in place."""
    spike, wrong = np.zeros((2, *values.shape), np.bool_)
    for place in range(values.shape[1]):
        value, beyond, arrived = values[:, place], outside[:, place], came[:, place]
        found_spike, matched, back = _marks(
            value, arrived, beyond, steps[:, place], recent.value, recent.step[:, RECENT // 2], channel, limits
        )
        kept = matched | (arrived & ~beyond)
        recent.value[kept, :-1], recent.step[kept, :-1] = recent.value[kept, 1:], recent.step[kept, 1:]
        recent.value[kept, -1] = np.where(matched, back, value)[kept]
        recent.step[kept, -1] = steps[kept, place]
        spike[:, place], wrong[:, place] = found_spike, matched
    return spike, wrong


def _marks(
    values: Floats,
    came: Marks,
    outside: Marks,
    steps: Ints,
    windows: Floats,
    median_step: Ints,
    channel: Ints,
    limits: Limits,
) -> tuple[Marks, Marks, Floats]:
    """Spikes, wrong units and, where the unit is wrong, the value in the channel's own; `windows` are (..., RECENT)."""
    ordered = np.sort(windows, axis=-1).astype(np.float64)
    known = came & ~np.isnan(windows[..., 0])
    median = ordered[..., RECENT // 2]
    value = values.astype(np.float64)
    away = np.abs(value - median)
    allowed = limits.spike[channel] * np.maximum(steps - median_step, 1)
    with np.errstate(invalid="ignore"):
        spike = known & ~outside & (away > allowed + _ROUNDING * np.maximum(np.abs(value), np.abs(median)))
        near = np.maximum(2 * (ordered[..., -1] - ordered[..., 0]), _CLOSE * np.abs(median))
        far = known & outside & (away > _FAR * near)
    wrong = np.zeros(values.shape, np.bool_)
    back = np.zeros(values.shape, np.float32)
    if limits.scale.shape[1] and far.any():
        which = np.broadcast_to(channel, values.shape)[far]
        converted = value[far][:, None] * limits.scale[which] + limits.offset[which]
        distance = np.where(np.isnan(converted), np.inf, np.abs(converted - median[far][:, None]))
        best = distance.argmin(axis=1)
        picked = np.arange(len(best))
        # a level near zero is near zero in every unit: what is close in the other unit must be no excuse either
        telling = away[far] > _TELLING * near[far] / np.abs(limits.scale[which, best])
        wrong[far] = telling & (distance[picked, best] <= near[far])
        back[far] = converted[picked, best]
    return spike, wrong, back

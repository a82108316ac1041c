"""How long the sensors of a type repeat a value when all is well: learnt with a version, so that a stuck one can be told.

In:   values of all twins of a type, which cells are good.
Out:  `StuckRuns`: after how many equal values in a row a channel is stuck, and the values at which it rests.

A sensor that measures something continuous hardly ever gives the same number twice; one that rounds does for a while; a pump
that is off shows zero for hours. So runs are told apart by where they stand: long ones at one or two values of a twin are rests,
and say nothing of the others. Long ones at many values are how a channel is. A channel that hardly moves can't be judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG = 6  # equal values in a row that are no accident
RESTS = 2  # values at most at which a twin rests
MOST_RESTS = 16  # of all twins of a type
LEAST, MOST = 8, 40  # steps after which a channel may be called stuck: fewer are an accident, more leave no window before
TIMES = 4  # as long as the longest run that was normal
MOVES = 0.2  # share of the steps at which a channel must move at least


@dataclass(frozen=True, slots=True)
class StuckRuns:
    """By channel; empty: nothing was learnt, as in versions of older releases."""

    after: tuple[int, ...] = ()  # equal values in a row; 0: a stuck one can't be told
    rests: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> StuckRuns:
        return cls(tuple(map(int, found["after"])), tuple(tuple(map(float, one)) for one in found["rests"]))


NOTHING = StuckRuns()


def learn_runs(values: NDArray[np.float32], good: NDArray[np.bool_]) -> StuckRuns:
    """Learn from (A, T, C) values, of which `good` ones count.

    >>> wave = np.sin(np.arange(400, dtype=np.float32))[None, :, None]
    >>> slow = np.round(np.sin(np.arange(400, dtype=np.float32) / 40), 1)[None, :, None]
    >>> [learn_runs(one, np.ones(one.shape, bool)).after for one in (wave, slow)]
    [(8,), (0,)]
    """
    found = [_of_channel(values[:, :, channel], good[:, :, channel]) for channel in range(values.shape[2])]
    return StuckRuns(tuple(after for after, _ in found), tuple(rests for _, rests in found))


def _of_channel(values: NDArray[np.float32], good: NDArray[np.bool_]) -> tuple[int, tuple[float, ...]]:
    """Of one channel of all twins, (A, T)."""
    both = good[:, 1:] & good[:, :-1]
    same = both & (values[:, 1:] == values[:, :-1])
    if (both & ~same).sum() < MOVES * max(1, both.sum()):
        return 0, ()
    twin, last, length = _runs(same)
    at = values[twin, last]
    long = length >= LONG
    resting = {(int(one), float(value)) for one, value in zip(twin[long], at[long], strict=True)}
    most = max((sum(one == of for of, _ in resting) for one, _ in resting), default=0)
    rests = sorted({value for _, value in resting})
    if most > RESTS or len(rests) > MOST_RESTS:
        rests = []
    moving = ~np.isin(at, np.array(rests, np.float32))
    after = max(LEAST, TIMES * int(length[moving].max(initial=1)))
    return (after if after <= MOST else 0), tuple(rests)


def _runs(same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Runs of two equal values and more: twin, place of the last value, how many values. `same` (A, T - 1): as the one before."""
    twins = len(same)
    edges = np.diff(np.concatenate([np.zeros((twins, 1), np.int8), same.astype(np.int8), np.zeros((twins, 1), np.int8)], axis=1))
    twin, begin = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    return twin, end, end - begin + 1

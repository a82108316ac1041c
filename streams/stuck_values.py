"""Channels that repeat a value longer than their version has learnt to be normal, where the type does not say how long that is.

In:   closed steps with their windows; which version scored them.
Out:  `Repeats`: where a run is too long, and where it goes on. Pure; a row depends on its own window and version only.

A run is too long for a twin that moved before it: one that always stands still, or does by now, tells nothing by standing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.port import Served
from twin.arena import ClosedSteps

MOVED = 0.5  # share of the steps before the run at which the channel moved
BEFORE = 16  # steps before the run that are known, at least


@dataclass(frozen=True, slots=True)
class Repeats:
    """(N, C)."""

    too_long: NDArray[np.bool_]
    lasting: NDArray[np.bool_]  # the same value once more, and none that it rests at


def repeats(
    closed: ClosedSteps, served: Sequence[Served | None], version: NDArray[np.int64], watched: NDArray[np.bool_]
) -> Repeats:
    """Look at the newest value of each step.

    Args:
        served: versions; None and those that learnt nothing of runs judge nothing.
        version: (N,) index into `served`; -1: still learning.
        watched: (C,) channels to be judged.
    """
    too_long, lasting = np.zeros((2, *closed.values.shape), np.bool_)
    windows = closed.windows
    if windows.size < 2 or not watched.any():
        return Repeats(too_long, lasting)
    before = windows.last - 1
    same = (closed.values == windows.cells[before]) & ((closed.quality | windows.cell_quality[before]) == 0) & watched
    for place, one in enumerate(served):
        if one is None or not same.any():
            continue
        for channel, (after, rests) in enumerate(zip(one.stuck_runs.after, one.stuck_runs.rests, strict=True)):
            at = np.flatnonzero(same[:, channel] & (version == place)) if after else np.empty(0, np.int64)
            at = at[~np.isin(closed.values[at, channel], np.array(rests, np.float32))]
            if len(at):
                lasting[at, channel] = True
                too_long[at, channel] = _too_long(closed, at, channel, after)
    return Repeats(too_long, lasting)


def _too_long(closed: ClosedSteps, at: NDArray[np.int64], channel: int, after: int) -> NDArray[np.bool_]:
    windows, quality = closed.windows.newest(at, closed.windows.size)
    values, good = windows[:, :, channel], quality[:, :, channel] == 0
    both = good[:, 1:] & good[:, :-1]
    moved = both & (values[:, 1:] != values[:, :-1])
    same = both & ~moved
    run = same.shape[1] - np.where(same, 0, np.arange(1, same.shape[1] + 1)).max(axis=1)  # pairs at the end
    earlier = np.arange(same.shape[1]) < (same.shape[1] - run)[:, None]
    known = (both & earlier).sum(axis=1)
    return np.asarray((run + 1 >= after) & (known >= BEFORE) & ((moved & earlier).sum(axis=1) >= MOVED * known))

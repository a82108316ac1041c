"""Common cause: what most twins of a type show at the same time, and for long, is the regime; what one shows is a fault.

In:   which hours of each twin are under an alert of the model's own, and in which it closed a step.
Out:  which of the alerted hours are of a common cause.
Pure: no clock, no I/O, no torch.

A sensor that is off and a plant that runs otherwise look the same in one twin. They differ in how many twins have it, and in
when it came: faults strike one or a few, and what spreads from one that grows (a leak lowers the pressure around it) reaches
one neighbour after the other. In a fleet too small to tell, nothing is common.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TWINS_MIN = 4  # under an alert at the same time: three may share a cause that is a fault (a pump, a feeder, a gateway)
SHARE = 0.6  # of the twins that closed a step: most of them, with room for a few that are faulty or react late
LASTING_H = 24  # from the first such hour to the last: an hour's event on all of a plant is none of it
APART_H = 24  # such hours that lie less apart belong together: what recurs at one hour of the day
AHEAD_H = 24  # alerts of one cause begin within so long of each other: some twins react sooner


def common_hours(alerted: NDArray[np.bool_], closed: NDArray[np.bool_], *, hours: float = 1.0) -> NDArray[np.bool_]:
    """(A, H): alerted hours that are of a common cause.

    Args:
        alerted: (A, H) under an alert of the model's own. What is under one in the first hour has been for long.
        closed: (A, H) whether the twin closed a step.
        hours: that a column stands for, where steps are longer than an hour.

    >>> alerted = np.zeros((6, 100), bool)
    >>> alerted[:5, 40:80] = True   # five of six twins, for forty hours
    >>> alerted[5, 5:] = True       # one that was faulty before
    >>> common_hours(alerted, np.ones((6, 100), bool)).sum(axis=1)
    array([40, 40, 40, 40, 40,  0])
    """
    found = np.zeros(alerted.shape, np.bool_)
    if int(alerted.any(axis=1).sum()) < TWINS_MIN:
        return found
    needed = np.maximum(SHARE * closed.sum(axis=0), TWINS_MIN)
    most = np.flatnonzero((alerted & closed).sum(axis=0) >= needed)
    rows, begins, ends = _runs(alerted)
    ahead = int(AHEAD_H / hours)
    lately = np.zeros(alerted.shape[1] + 1, np.int64)  # alerts that are no older than `ahead`
    np.add.at(lately, begins[begins > 0], 1)
    np.add.at(lately, np.minimum(ends, begins + ahead + 1)[begins > 0], -1)
    at_once = lately.cumsum()[:-1] >= needed
    for together in np.split(most, np.flatnonzero(np.diff(most) * hours > APART_H) + 1):
        if not at_once[together].any() or (together[-1] - together[0] + 1) * hours < LASTING_H:
            continue
        first, last = int(together[0]), int(together[-1])
        shared = np.zeros(alerted.shape[1] + 1, np.int64)
        shared[together + 1] = 1
        shared = shared.cumsum()
        of_it = (begins >= max(first - ahead, 1)) & (shared[ends] > shared[begins])
        for row, begin, end in zip(rows[of_it].tolist(), begins[of_it].tolist(), ends[of_it].tolist(), strict=True):
            found[row, max(begin, first) : min(end, last + 1)] = True
    return found


def _runs(alerted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, first hour, and hour after the last of each alert."""
    edges = np.diff(np.pad(alerted, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, begins = np.nonzero(edges == 1)
    return rows, begins, np.nonzero(edges == -1)[1]

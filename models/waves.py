"""Waves: steps of many twins in an order in which each wave holds every twin at most once, so that a wave is one operation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def waves(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions in waves: each wave holds every twin at most once, a twin's steps come in order.

    >>> [wave.tolist() for wave in waves(np.array([7, 7, 3, 7]))]
    [[2, 0], [1], [3]]
    """
    if not len(rows):
        return []
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    rank = place_in_run(ordered)
    by_rank = np.argsort(rank, kind="stable")
    bounds = np.flatnonzero(np.diff(rank[by_rank])) + 1
    return list(np.split(order[by_rank], bounds))


def place_in_run(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the same twin stand right before each step.

    >>> place_in_run(np.array([7, 7, 3, 7])).tolist()
    [0, 1, 0, 0]
    """
    starts = np.ones(len(rows), np.bool_)
    starts[1:] = rows[1:] != rows[:-1]
    first = np.flatnonzero(starts)
    return np.asarray(np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows)))))

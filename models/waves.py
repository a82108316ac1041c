"""Steps of many twins at once: in waves that hold each twin once at most, the last steps of each."""

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


def last_steps(rows: NDArray[np.int64], values: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last K values up to each step, (N, K), newest last.

    Args:
        rows: (N,) the steps of a twin stand beside each other, in order.
        values: (N,).
        before: (capacity, K) the last ones of each twin before these.

    >>> last_steps(np.array([1, 1, 0]), np.float32([5, 6, 7]), np.float32([[1, 2], [3, 4]])).tolist()
    [[4.0, 5.0], [5.0, 6.0], [2.0, 7.0]]
    """
    length = before.shape[1]
    if not len(rows):
        return np.empty((0, length), np.float32)
    begins = np.append(True, rows[1:] != rows[:-1])
    first = np.flatnonzero(begins)
    at = np.arange(len(rows)) + (np.cumsum(begins) - 1) * (length - 1)  # where the window of each step begins
    line = np.empty(len(rows) + len(first) * (length - 1), np.float32)  # of each twin what was before, then its steps
    line[at + length - 1] = values
    line[at[first][:, None] + np.arange(length - 1)] = before[rows[first], 1:]
    return np.asarray(np.lib.stride_tricks.sliding_window_view(line, length)[at])

"""Novelty: how far a value lies from all that its twin's channel has ever shown, and what remembers that, a twin and channel.

In:   values of closed steps, in each twin's order, and which count.
Out:  the novelty of each, in decades, as -log10 p is.
Pure and exact: the same values in the same order give the same bits, whatever the boundaries of the calls.

A forecast, and components, are learnt from a stretch of the past; this memory takes in every value. The first step of a kind
never seen is novel, the next ones like it are not: what sets in stands out, what goes on does not.

A channel's range so far is cut into BINS; a bit says whether a value has ever been in a bin. Most values are, and change nothing.
The range grows by powers of two, so bins merge exactly. After n values none is taken to be stranger than one in n + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rounding import rounded
from models.row_arrays import RowArrays
from models.waves import last_steps, waves

BINS = 256  # at least half of them within the range seen, once it has grown
FINEST = 2.0**-20  # width of a bin before a second value has come, in units of the first
UNIT = 10**-3.5  # of the range: a gap of this size is worth nothing, ten times as much one decade
LATELY = 16  # steps
HALF_OF_SURPRISE = 2.0  # decades of the version's surprise that count half of what it can count
_LEAST = 1e-30


def strangeness(
    surprise: NDArray[np.float64], contribution: NDArray[np.float32], novelty: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One number a step that ranks steps, and each channel's share in it: the version's surprise and the novelty.

    Surprise lasts as long as a fault does, and counts up to one; novelty marks where something sets in, and counts in full,
    less what the largest of as many channels has by chance, as a mean over channels: one of forty may well be new.

    Args:
        surprise: (N,) 0..1 from `LastingSurprise.update`.
        contribution: (N, C) share of each channel in the version's score; rows sum to 1 or 0.
        novelty: (N, C) from `NoveltyState.update`.

    >>> zero, one = np.zeros((1, 2), np.float32), np.array([[0.0, 3.0]])
    >>> total, by_channel = strangeness(np.array([0.5]), zero, one)
    >>> round(float(total[0]), 4), by_channel.round(2).tolist()[0][0]
    (1.8495, 0.0)
    """
    channels = max(novelty.shape[1], 1)
    most = np.maximum(novelty.max(axis=1, initial=0.0) - np.log10(channels), 0.0) / channels
    total = surprise + most
    share = novelty / np.maximum(novelty.sum(axis=1, keepdims=True), _LEAST)
    by_channel = (surprise[:, None] * contribution + most[:, None] * share) / np.maximum(total, _LEAST)[:, None]
    return rounded(total), rounded(by_channel)


class LastingSurprise(RowArrays):
    """How surprised versions were lately of up to `capacity` twins: a step's own surprise, and the mean of the last LATELY.

    What lasts is stranger than what is over at once, and within a fault there are steps that look usual.
    """

    def __init__(self, capacity: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {"surprise": np.zeros((capacity, LATELY), np.float32)}  # 0..1, newest last

    def update(self, rows: NDArray[np.int64], score: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take steps of many twins, (N,) rows and -log10 p, a twin's steps in order: (N,) 0..1."""
        order = np.argsort(rows, kind="stable")
        ordered, decades = rows[order], score[order].astype(np.float64)
        recent = last_steps(ordered, (decades / (decades + HALF_OF_SURPRISE)).astype(np.float32), self.arrays["surprise"])
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
        self.arrays["surprise"][ordered[last]] = recent[last]
        found = np.empty(len(rows))
        found[order] = (recent[:, -1] + recent.mean(axis=1, dtype=np.float64)) / 2
        return found


class NoveltyState(RowArrays):
    """What each channel of up to `capacity` twins has ever shown."""

    def __init__(self, capacity: int, channels: int) -> None:
        shape = (capacity, channels)
        self.arrays: dict[str, NDArray[Any]] = {
            "seen": np.zeros((*shape, BINS // 8), np.uint8),  # a bit a bin
            "exponent": np.zeros(shape, np.int16),  # a bin is 2**exponent wide
            "first_bin": np.zeros(shape, np.float64),  # number of the first bin, counted from value 0
            "low": np.zeros(shape, np.float32),
            "high": np.zeros(shape, np.float32),
            "count": np.zeros(shape, np.int64),  # values so far
        }

    def update(self, rows: NDArray[np.int64], values: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Take steps of many twins, (N,) rows and (N, C) values, a twin's steps in order; only `good` cells count.

        Returns:
            (N, C) novelty of each value when it came, 0 for one that is not good.
        """
        found = np.zeros(values.shape)
        before = self._counts(rows, good)
        new = good & ~self._seen(rows, values)  # what was seen before the call is seen when its turn comes
        stirred = np.flatnonzero(new.any(axis=1))
        for among in waves(rows[stirred]):
            wave = stirred[among]
            step, channel = np.nonzero(new[wave] & ~self._seen(rows[wave], values[wave]))
            step = wave[step]
            gap = self._take(rows[step], channel, values[step, channel].astype(np.float64), before[step, channel])
            found[step, channel] = _decades(gap, before[step, channel])
        return found

    def _counts(self, rows: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Good values before each step, (N, C); the state's own counts go on to the end of the call."""
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        sums = np.cumsum(good[order], axis=0)
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        lengths = np.diff(np.append(starts, len(ordered)))
        earlier: NDArray[np.int64] = sums - good[order]
        within: NDArray[np.int64] = earlier - np.repeat(earlier[starts], lengths, axis=0)
        before = np.empty(good.shape, np.int64)
        before[order] = self.arrays["count"][ordered] + within
        last = starts + lengths - 1
        self.arrays["count"][ordered[last]] += within[last] + good[order][last]
        return before

    def _seen(self, rows: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether the bin of each value has had one, and the value lies in the range so far, (N, C)."""
        a = self.arrays
        place = np.floor(np.ldexp(values.astype(np.float64), -a["exponent"][rows])) - a["first_bin"][rows]
        inside = (place >= 0) & (place < BINS) & (values >= a["low"][rows]) & (values <= a["high"][rows])
        bins = np.where(inside, place, 0).astype(np.int64)
        octets = a["seen"][rows[:, None], np.arange(values.shape[1])[None, :], bins >> 3]
        return np.asarray(inside & ((octets >> (bins & 7).astype(np.uint8)) & 1).astype(np.bool_))

    def _take(
        self, rows: NDArray[np.int64], channels: NDArray[np.int64], x: NDArray[np.float64], before: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Remember values of K cells, each cell once; how far each lay from what was known, as a share of the range."""
        a = self.arrays
        at = (rows, channels)
        first = before == 0
        low = np.where(first, x, a["low"][at].astype(np.float64))
        high = np.where(first, x, a["high"][at].astype(np.float64))
        exponent = np.where(first, _exponent(np.abs(x) * FINEST), a["exponent"][at])
        first_bin = np.where(first, np.floor(np.ldexp(x, -exponent)) - BINS // 2, a["first_bin"][at])
        seen = a["seen"][at]
        seen[first] = 0
        place = np.floor(np.ldexp(x, -exponent)) - first_bin
        gap = np.maximum(x - high, low - x)
        between = np.flatnonzero(gap <= 0)  # inside the range, so its bin is there
        gap[between] = np.ldexp(_bins_between(seen[between], place[between]), exponent[between])  # at least so far
        span = high - low
        share = np.where(first, 0.0, np.where(span > 0, gap / np.maximum(span, _LEAST), 1.0))

        low, high = np.minimum(low, x), np.maximum(high, x)
        narrow = np.flatnonzero((place < 0) | (place >= BINS))
        if len(narrow):
            wider = np.maximum(exponent[narrow], _exponent((high - low)[narrow] / (BINS // 2)))
            middle = (low[narrow] + high[narrow]) / 2
            moved_to = np.floor(np.ldexp(middle, -wider)) - BINS // 2
            cell, old = np.nonzero(_unpacked(seen[narrow]))
            number = np.floor(np.ldexp(first_bin[narrow][cell] + old, (exponent[narrow] - wider)[cell])) - moved_to[cell]
            seen[narrow] = 0
            _set(seen, narrow[cell], number)
            exponent[narrow], first_bin[narrow] = wider, moved_to
            place = np.floor(np.ldexp(x, -exponent)) - first_bin
        _set(seen, np.arange(len(x)), place)
        a["seen"][at] = seen
        a["exponent"][at], a["first_bin"][at], a["low"][at], a["high"][at] = exponent, first_bin, low, high
        return np.asarray(share)


def _unpacked(seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(K, BINS // 8) bits → (K, BINS)."""
    return np.unpackbits(seen, axis=1, bitorder="little")


def _set(seen: NDArray[np.uint8], cells: NDArray[np.int64], bins: NDArray[np.float64]) -> None:
    at = bins.astype(np.int64)
    np.bitwise_or.at(seen, (cells, at >> 3), np.left_shift(1, at & 7).astype(np.uint8))


def _bins_between(seen: NDArray[np.uint8], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins that lie between `place` (K,) and the nearest one that is seen."""
    apart = np.abs(np.arange(BINS, dtype=np.int16)[None, :] - place.astype(np.int16)[:, None])
    apart[_unpacked(seen) == 0] = BINS
    return np.asarray(np.maximum(apart.min(axis=1, initial=BINS).astype(np.float64) - 1, 0))


def _exponent(width: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of the smallest power of two that is no smaller.

    >>> _exponent(np.array([1.0, 1.1, 0.25])).tolist()
    [0, 1, -2]
    """
    fraction, exponent = np.frexp(np.maximum(width, _LEAST))
    return np.asarray(exponent - (fraction == 0.5), np.int64)


def _decades(share: NDArray[np.float64], before: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(np.log10(np.maximum(share, UNIT) / UNIT), 0.0, np.log10(before + 1.0)))

"""The history of a twin that was of several types, one after the other: a type that grew, another that was declared.

In:   from and until when steps of a twin are kept under each type; what was read of each.
Out:  stretches of time that do not overlap, how many points each may have, and one history of all.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from streams.stores.port import ChannelSeries, RiskSeries, TwinHistory
from twin.quality import Quality

_T = TypeVar("_T")


def stretches(kept: Iterable[tuple[_T, int, int]], from_ns: int, to_ns: int) -> list[tuple[_T, int, int]]:
    """(type, from, to) of what lies in a period, oldest first; an older type's ends where a newer one's begins.

    Args:
        kept: (type, first, last event time).

    >>> stretches([("a", 0, 50), ("b", 40, 90), ("c", 200, 300)], 10, 80)
    [('a', 10, 40), ('b', 40, 80)]
    """
    found: list[tuple[_T, int, int]] = []
    for of, first, last in sorted(kept, key=lambda one: (one[2], one[1]), reverse=True):
        begin, end = max(from_ns, first), min(to_ns, last + 1)
        if begin < end:
            found.append((of, begin, end))
        to_ns = min(to_ns, first)
    return found[::-1]


def allot(lengths_ns: Sequence[int], counts: Sequence[int], points: int) -> list[int]:
    """How many of `points` each stretch may have: as many as it has steps where all fit, else by its length.

    >>> allot([10, 90], [3, 4], 100), allot([10, 90], [30, 400], 100), allot([10, 90], [30, 400], 1)
    ([3, 4], [10, 90], [0, 1])
    """
    if len(counts) <= 1:
        return [points] * len(counts)
    if sum(counts) <= points:
        return list(counts)
    many = len(counts)
    if points < many:  # not one each: the newest
        return [0] * (many - 1) + [points]
    spare, total = points - many, sum(lengths_ns)
    shares = [1 + spare * length // total for length in lengths_ns]
    shares[-1] += points - sum(shares)
    return shares


def joined(asset: str, parts: Sequence[tuple[str, TwinHistory]]) -> TwinHistory:
    """One history of (type, what was read of it), oldest first. A channel that a type had not is MISSING there."""
    if len(parts) == 1:
        return parts[0][1]
    found = [(of, part) for of, part in parts if part.risk.time_ns]
    names = list(dict.fromkeys(series.channel for _, part in reversed(parts) for series in part.channels))
    series = {name: ChannelSeries(name, [], [], [], [], [], [], []) for name in names}
    risk = RiskSeries([], [], [], [])
    for _, part in found:
        had = {one.channel: one for one in part.channels}
        for name, whole in series.items():
            _extend(whole, had.get(name) or _missing(name, part.risk.time_ns))
        for column in ("time_ns", "risk", "score", "version"):
            getattr(risk, column).extend(getattr(part.risk, column))
    return TwinHistory(asset, list(series.values()), risk, [(part.risk.time_ns[0], of) for of, part in found])


def _missing(name: str, time_ns: list[int]) -> ChannelSeries:
    none: list[float | None] = [None] * len(time_ns)
    return ChannelSeries(name, time_ns, none, none, none, none, none, [Quality.MISSING.value] * len(time_ns))


def _extend(whole: ChannelSeries, part: ChannelSeries) -> None:
    for column in ("time_ns", "value", "low", "high", "expected", "spread", "quality"):
        getattr(whole, column).extend(getattr(part, column))

"""Times at the edge: nanoseconds of event time inside, RFC 3339 outside; both RFC 3339 and epoch are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from twin.errors import ReadingRefused
from twin.time import parse_time

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


def rfc3339(time_ns: int) -> str:
    """UTC, with as many digits of a second as the time has.

    >>> rfc3339(1_767_225_600_000_000_000), rfc3339(1_500_000_000)
    ('2026-01-01T00:00:00Z', '1970-01-01T00:00:01.5Z')
    """
    text = str(np.datetime_as_string(np.datetime64(time_ns, "ns")))
    return text.rstrip("0").rstrip(".") + "Z"


def rfc3339_or_none(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)


def rfc3339_many(times_ns: Sequence[int]) -> list[str]:
    """A series of times. Whole milliseconds are written with milliseconds at most.

    >>> rfc3339_many([0, 1_500_000_000])
    ['1970-01-01T00:00:00.000Z', '1970-01-01T00:00:01.500Z']
    >>> rfc3339_many([0, 60_000_000_000])
    ['1970-01-01T00:00:00Z', '1970-01-01T00:01:00Z']
    """
    array = np.asarray(times_ns, np.int64)
    if not len(array):
        return []
    unit = "s" if not (array % NS_PER_S).any() else "ms" if not (array % NS_PER_MS).any() else "ns"
    texts = np.datetime_as_string(array.astype("datetime64[ns]").astype(f"datetime64[{unit}]"))
    return [f"{text}Z" for text in texts.tolist()]


def parse_query_time(text: str) -> int:
    """A time of a query string: RFC 3339, or epoch in s, ms, µs or ns. Raises ReadingRefused naming what was found.

    >>> parse_query_time("2026-01-01T00:00:00Z") == parse_query_time("1767225600")
    True
    """
    stripped = text.strip().replace(" ", "+")  # an unescaped + of an offset arrives as a space
    try:
        number = float(stripped)
    except ValueError:
        return parse_time(stripped)
    if not np.isfinite(number):
        raise ReadingRefused("time", f"time is {text!r}, expected RFC 3339 or epoch seconds; nothing was read")
    return parse_time(int(stripped) if stripped.lstrip("+-").isdecimal() else number)

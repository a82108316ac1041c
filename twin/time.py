"""Event times: RFC 3339 text or epoch numbers, told apart by size, to nanoseconds since 1970.

In:   what a feeder wrote into `time`.
Out:  int64 nanoseconds. What is no time raises ReadingRefused with reason `time`.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import ReadingRefused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _SECOND, _DAY_S = timedelta(microseconds=1), timedelta(seconds=1), 86_400
# epoch numbers below each bound are of that unit: seconds reach to the year 5138, the others follow in thousands
_BOUNDS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3), (2**63, 1))
LATEST_NS = 2**63 - 1


def parse_time(value: Any) -> int:
    """One time in nanoseconds.

    Raises:
        ReadingRefused: reason `time`: no time, a text without offset, before 1970 or past the year 2262.

    >>> parse_time("1970-01-01T00:00:01.000000001Z"), parse_time(1700000000), parse_time(1700000000000)
    (1000000001, 1700000000000000000, 1700000000000000000)
    """
    nanoseconds: int | None = None
    if isinstance(value, str):
        nanoseconds = _parse_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        if value >= 0:
            nanoseconds = next((value * scale for bound, scale in _BOUNDS if value < bound), None)
    elif isinstance(value, float) and 0 <= value < 2**63:
        scale = next(scale for bound, scale in _BOUNDS if value < bound)
        whole = int(value)
        nanoseconds = whole * scale + round((value - whole) * scale)
    if nanoseconds is None or not 0 <= nanoseconds <= LATEST_NS:
        raise ReadingRefused(
            "time",
            f"time is {str(value)[:60]!r}, expected RFC 3339 with an offset "
            "or epoch s, ms, µs or ns from 1970 to 2262; kept in dead-letter",
        )
    return nanoseconds


def parse_times(values: Sequence[Any]) -> NDArray[np.int64]:
    """Many times, (N,) int64, each told apart by its own size. Raises as `parse_time`, for the first that is no time.

    >>> parse_times([1700000000, 1700000000500000000]).tolist()
    [1700000000000000000, 1700000000500000000]
    """
    array = np.asarray(values) if values and all(type(value) is int for value in values) else None
    if array is not None and array.dtype == np.int64:
        least = 0
        for bound, scale in _BOUNDS:
            if int(array.max()) < bound:
                if int(array.min()) >= least and int(array.max()) * scale <= LATEST_NS:  # all of one unit
                    return np.asarray(array * scale)
                break
            least = bound
    return np.array([parse_time(value) for value in values], np.int64)


def epoch_ns(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Epoch numbers of any integer type, each told apart by its own size: (N,) nanoseconds, and which are a time.

    >>> epoch_ns(np.array([1700000000, 1700000000000, -1]))
    (array([1700000000000000000, 1700000000000000000,                   0]), array([ True,  True, False]))
    """
    good = (values >= 0) & (values <= LATEST_NS)
    number = np.where(good, values, 0).astype(np.int64)
    bounds = np.array([bound for bound, _ in _BOUNDS[:-1]], np.int64)
    scale = np.array([scale for _, scale in _BOUNDS], np.int64)[np.searchsorted(bounds, number, side="right")]
    good &= number <= LATEST_NS // scale
    return np.where(good, number, 0) * scale, good


def _parse_text(text: str) -> int | None:
    """RFC 3339 with up to nine digits of a second; datetime holds six, so the rest is added by hand.

    A leap second (23:59:60 UTC) is the first of the next day, as on every clock that counts since 1970.
    """
    rest = leap = 0
    point = text.rfind(".")
    if point > 0:
        end = point + 1
        while end < len(text) and text[end].isdigit():
            end += 1
        digits = text[point + 1 : end]
        if len(digits) > 6:
            rest = int(digits[6:9].ljust(3, "0"))
            text = text[: point + 7] + text[end:]
    if text[16:19] == ":60":
        text, leap = f"{text[:17]}59{text[19:]}", 1
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or (leap and (moment - _EPOCH) // _SECOND % _DAY_S != _DAY_S - 1):
        return None
    return (moment - _EPOCH) // _MICROSECOND * 1000 + rest + leap * 10**9

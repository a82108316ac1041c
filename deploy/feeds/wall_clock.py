"""Times as people and spreadsheets write them: 28/12/2015 10:00:00 AM, 7/1/2014 0:05, 2.1.2015, 2015/12/28 10:00.

In:   texts, all of one column.
Out:  nanoseconds since 1970, taken as UTC, and which of them are times.
Whether day or month stands first is one decision for all: by numbers beyond twelve, else by the order in which times rise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TIME = re.compile(
    r"\s*(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})"
    r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp])?\.?[Mm]?\.?)?\s*"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_wall_clock(cells: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) nanoseconds, 0 where a cell is no such time, and (N,) which are.

    >>> times, good = read_wall_clock(["1/7/2014 11:59 PM", "1/8/2014 0:04", "soon"])
    >>> np.diff(times).tolist()[0] // 10**9, good.tolist()
    (300, [True, True, False])
    """
    found = [_TIME.fullmatch(cell) if isinstance(cell, str) else None for cell in cells]
    day_first = _day_first([one for one in found if one])
    times = np.array([-1 if one is None else _nanoseconds(one, day_first) for one in found], np.int64)
    good = times >= 0
    return np.where(good, times, 0), good


def _day_first(found: list[re.Match[str]]) -> bool:
    short = [one for one in found if len(one[1]) <= 2]
    first, second = (max((int(one[place]) for one in short), default=0) for place in (1, 3))
    if first > 12 or second > 12:
        return first > 12
    if short and short[0][2] == ".":
        return True
    rising = [np.diff([_nanoseconds(one, order) for one in short]) >= 0 for order in (False, True)]
    return bool(rising[1].sum() > rising[0].sum())


def _nanoseconds(one: re.Match[str], day_first: bool) -> int:
    """-1 for a day or an hour that is not there."""
    left, _, middle, right, hour, minute, second, fraction, half = one.groups()
    year, month, day = (left, middle, right) if len(left) == 4 else (right, *((middle, left) if day_first else (left, middle)))
    in_year = int(year) + (2000 if len(year) <= 2 else 0)
    of_day = int(hour or 0)
    if half is not None and of_day <= 12:
        of_day = of_day % 12 + 12 * (half in "Pp")
    try:
        moment = datetime(in_year, int(month), int(day), of_day, int(minute or 0), int(second or 0), tzinfo=UTC)
    except ValueError:
        return -1
    return (moment - _EPOCH) // timedelta(seconds=1) * 10**9 + int((fraction or "0").ljust(9, "0"))

"""Infer a twin type from a sample of telemetry: which channels, which sampling period.

In:   columns of readings and their event times, of one or many assets.
Out:  a DTDL interface that `twin.types.compile_type` takes. Limits and units are left out: a sample does not prove them.
Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.types import CONTEXT, NS_PER_S

_MS = NS_PER_S // 1000
_MINUTE, _HOUR, _DAY = 60 * NS_PER_S, 3600 * NS_PER_S, 86_400 * NS_PER_S
# periods that people choose
_GRID = np.array(
    [n * _MS for n in (1, 2, 5, 10, 20, 25, 40, 50, 100, 200, 250, 500)]
    + [n * NS_PER_S for n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)]
    + [n * _MINUTE for n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)]
    + [n * _HOUR for n in (1, 2, 3, 4, 6, 8, 12)]
    + [_DAY, 7 * _DAY],
    np.int64,
)
_SNAP = 0.2  # a median this close to a period of the grid means that period
_LONGEST_NAME = 64
_RESERVED = frozenset({"asset", "time"})  # keys of a telemetry record


def infer_type(
    name: str, columns: Mapping[str, NDArray[Any]], time_ns: NDArray[np.int64], asset: NDArray[Any] | None = None
) -> dict[str, Any]:
    """A DTDL interface for readings like these.

    Args:
        name: of the type, in any wording; becomes `dtmi:livetwin:inferred:<Name>;1`.
        columns: channel name → values; names as `channel_names` gives them.
        time_ns: event time of each row, any order.
        asset: which asset each row is of; None: all of one.

    >>> times = np.arange(0, 50, 5) * 1_000_000_000
    >>> interface = infer_type("boiler room", {"flow": np.ones(10)}, times)
    >>> interface["@id"], interface["samplingPeriod"]
    ('dtmi:livetwin:inferred:BoilerRoom;1', 'PT5S')
    """
    period_ns = infer_period(time_ns, asset)
    return {
        "@context": CONTEXT,
        "@id": f"dtmi:livetwin:inferred:{type_name(name)};1",
        "@type": "Interface",
        "displayName": name[:512],
        "samplingPeriod": duration(period_ns),
        "lateness": duration(2 * period_ns),
        "maxAhead": "PT1H",
        "contents": [_telemetry(channel, values) for channel, values in columns.items()],
    }


def infer_period(time_ns: NDArray[np.int64], asset: NDArray[Any] | None = None) -> int:
    """The usual distance between two readings of an asset: the median, set to a usual period where it is near one.

    One second where there are not two different times of any asset.

    >>> infer_period(np.array([0, 1_000_400_000, 1_999_800_000, 3_000_000_000, 60_000_000_000]))
    1000000000
    """
    times = np.asarray(time_ns, np.int64)
    if asset is None:
        distances = np.diff(np.sort(times))
    else:
        _, codes = np.unique(np.asarray(asset), return_inverse=True)
        order = np.lexsort((times, codes))
        distances = np.diff(times[order])[np.diff(codes[order]) == 0]
    distances = distances[distances > 0]
    if len(distances) == 0:
        return NS_PER_S
    median = float(np.median(distances))
    nearest = int(_GRID[np.argmin(np.abs(np.log(_GRID / median)))])
    if abs(nearest - median) <= _SNAP * nearest:
        return nearest
    return max(_MS, _two_digits(median))


def channel_names(raw: Iterable[str]) -> dict[str, str]:
    """Column names → names that a DTDL telemetry may have, each once.

    >>> channel_names(["Flow (l/s)", "flow_l_s", "2nd", "time"])
    {'Flow (l/s)': 'Flow_l_s', 'flow_l_s': 'flow_l_s', '2nd': 'c_2nd', 'time': 'time_2'}
    """
    found: dict[str, str] = {}
    taken = set(_RESERVED)
    for column in raw:
        name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_")
        if not name or not name[0].isalpha():
            name = f"c_{name}".rstrip("_")
        name = name[:_LONGEST_NAME].rstrip("_")
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name[: _LONGEST_NAME - 8]}_{count}"
        taken.add(unique)
        found[column] = unique
    return found


def type_name(name: str) -> str:
    """A segment of a DTMI.

    >>> type_name("boiler-room 2"), type_name("2024"), type_name("??")
    ('BoilerRoom2', 'T2024', 'Sample')
    """
    joined = "".join(word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", name))
    if not joined:
        return "Sample"
    return (joined if joined[0].isalpha() else f"T{joined}")[:_LONGEST_NAME]


def duration(period_ns: int) -> str:
    """ISO 8601.

    >>> duration(300 * NS_PER_S), duration(NS_PER_S // 4), duration(2 * 3600 * NS_PER_S)
    ('PT5M', 'PT0.25S', 'PT2H')
    """
    for size, letter in ((_HOUR, "H"), (_MINUTE, "M"), (NS_PER_S, "S")):
        if period_ns >= size and period_ns % size == 0:
            return f"PT{period_ns // size}{letter}"
    seconds, rest = divmod(period_ns, NS_PER_S)
    return f"PT{seconds}.{rest:09d}".rstrip("0") + "S"


def _telemetry(channel: str, values: NDArray[Any]) -> dict[str, Any]:
    element: dict[str, Any] = {"@type": "Telemetry", "name": channel, "schema": "double"}
    if np.asarray(values).dtype == np.bool_:  # the only range that a sample proves
        element |= {"schema": "boolean", "minimum": 0, "maximum": 1}
    return element


def _two_digits(number: float) -> int:
    size = 10 ** max(0, int(np.floor(np.log10(number))) - 1)
    return int(round(number / size) * size)

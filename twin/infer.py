"""Infer a twin type from a sample of telemetry: which channels, which sampling period.

In:   columns of readings and their event times, of one or many assets.
Out:  a DTDL interface that `twin.types.compile_type` takes. `infer_type` leaves limits and units out, as a sample does not prove
      them; `suggest_type` guesses them for a person to read, and says how sure it is.
Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.guessing import Guess, guess_range, guess_role, guess_semantic, guess_unit
from twin.type_sets import RESERVED
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
_REGULAR, _NEAR = 0.9, 0.01  # so many distances within _SNAP of the median are regular; a mean this close to the grid is of it
_LONGEST_NAME = 64


def infer_type(
    name: str,
    columns: Mapping[str, NDArray[Any]],
    time_ns: NDArray[np.int64],
    asset: NDArray[Any] | None = None,
    *,
    units: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A DTDL interface for readings like these.

    Args:
        name: of the type, in any wording; becomes `dtmi:livetwin:inferred:<Name>;1`.
        columns: channel name → values; names as `channel_names` gives them.
        time_ns: event time of each row, any order.
        asset: which asset each row is of; None: all of one.
        units: by channel, where the source stated them.

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
        "contents": [_telemetry(channel, values, (units or {}).get(channel)) for channel, values in columns.items()],
    }


def suggest_type(
    name: str,
    columns: Mapping[str, NDArray[Any]],
    time_ns: NDArray[np.int64],
    asset: NDArray[Any] | None = None,
    source_names: Mapping[str, str] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, Any], dict[str, list[Guess]]]:
    """An interface with units, roles, ranges and a lateness guessed, and the guesses by channel ("" is the type itself).

    Args:
        source_names: what the source calls each channel, where that is another name: it may tell the unit.
        units: by channel, where the source stated them.
        words: of channels that came in words; their values are positions in the list.
        name, columns, time_ns, asset: as `infer_type`; rows in the order in which they came.

    >>> interface, guesses = suggest_type("pump", {"temp_c": np.linspace(20, 30, 100)}, np.arange(100) * NS_PER_S)
    >>> interface["contents"][0]["unit"], guesses["temp_c"][0].sure
    ('degreeCelsius', 0.9)
    """
    interface = infer_type(name, columns, time_ns, asset)
    codes = np.zeros(len(time_ns), np.int64) if asset is None else np.unique(np.asarray(asset), return_inverse=True)[1]
    order = np.lexsort((time_ns, codes))
    same = np.concatenate([[False], np.diff(codes[order]) == 0])
    period_ns, regular = infer_period(time_ns, asset), _regularity(time_ns[order], same, infer_period(time_ns, asset))
    guesses: dict[str, list[Guess]] = {
        "": [Guess("samplingPeriod", interface["samplingPeriod"], regular, f"{regular:.0%} of the distances are near it")]
    }
    late_ns = _latest_by(time_ns, codes)
    interface["lateness"] = duration(max(2 * period_ns, -(-late_ns // period_ns) * period_ns))
    sure = round(0.8 * len(time_ns) / (len(time_ns) + 1000), 2)
    guesses[""].append(Guess("lateness", interface["lateness"], sure, _lateness_told(late_ns)))
    for element in interface["contents"]:
        channel = element["name"]
        raw = np.asarray(columns[channel])
        values = raw.astype(np.float64)[order]
        found = guesses[channel] = []
        called = (source_names or {}).get(channel, channel)
        if channel in (words or {}):
            element |= {"schema": _enumeration((words or {})[channel]), "role": "state"}
            found.append(Guess("role", "state", 0.9, f"it came in {len((words or {})[channel])} different words"))
            continue
        stated = (units or {}).get(channel)
        unit = Guess("unit", stated, 1.0, "the source states it") if stated is not None else guess_unit(called)
        if unit is not None:
            found.append(unit)
            element["unit"] = unit.value
            semantic = guess_semantic(called, str(unit.value))
            if semantic is not None:
                element["@type"] = ["Telemetry", semantic]
        role = guess_role(called, values, same, None if unit is None else str(unit.value))
        found.append(role)
        element["role"] = role.value
        span = guess_range(values, None if unit is None else str(unit.value)) if role.value == "sensor" else None
        for one in span or ():
            found.append(one)
            element[one.what] = one.value
        element["comment"] = "Guessed: " + "; ".join(f"{one.what} {one.value} ({one.sure:.0%}: {one.why})" for one in found)[:500]
    return interface, guesses


def _lateness_told(late_ns: int) -> str:
    return f"the latest came {late_ns / NS_PER_S:g} s behind a later one" if late_ns else "none came behind a later one"


def _enumeration(words: Sequence[str]) -> dict[str, Any]:
    names = channel_names(words)
    values = [{"name": names[word], "enumValue": word} for word in words]
    return {"@type": "Enum", "valueSchema": "string", "enumValues": values}


def _regularity(time_ns: NDArray[np.int64], same_asset: NDArray[np.bool_], period_ns: int) -> float:
    """Share of distances between readings of an asset that are near the period; what is exactly repeated does not count."""
    distances = np.diff(time_ns)[same_asset[1:]] if len(time_ns) > 1 else np.empty(0)
    distances = distances[distances > 0]
    return round(float((np.abs(distances - period_ns) <= 0.5 * period_ns).mean()), 2) if len(distances) else 0.0


def _latest_by(time_ns: NDArray[np.int64], codes: NDArray[np.int64]) -> int:
    """How far the latest reading came behind a later one of its asset, in the order in which they came."""
    order = np.argsort(codes, kind="stable")
    found = 0
    for part in np.split(time_ns[order], np.flatnonzero(np.diff(codes[order])) + 1):
        if len(part):
            found = max(found, int((np.maximum.accumulate(part) - part).max()))
    return found


def infer_period(time_ns: NDArray[np.int64], asset: NDArray[Any] | None = None) -> int:
    """The usual distance between two readings of an asset: the mean where they are regular, else the median; set to a usual
    period where it is near one.

    One second where there are not two different times of any asset.

    >>> infer_period(np.array([0, 1_000_400_000, 1_999_800_000, 3_000_000_000, 60_000_000_000]))
    1000000000
    >>> infer_period(np.arange(100) * 4_000_000)  # 250 Hz: two in one step of 5 ms would be one too many
    4000000
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
    apart = np.asarray(distances, np.float64)
    usual = apart[np.abs(apart - median) <= _SNAP * median]
    mean = float(usual.mean())
    if len(usual) >= _REGULAR * len(distances) and abs(nearest - mean) > _NEAR * nearest:
        return max(_MS, _digits(mean, 4))
    if abs(nearest - median) <= _SNAP * nearest:
        return nearest
    return max(_MS, _digits(median, 2))


def channel_names(raw: Iterable[str]) -> dict[str, str]:
    """Column names → names that a DTDL telemetry may have, each once.

    >>> channel_names(["Flow (l/s)", "flow_l_s", "2nd", "time"])
    {'Flow (l/s)': 'Flow_l_s', 'flow_l_s': 'flow_l_s', '2nd': 'c_2nd', 'time': 'time_2'}
    """
    found: dict[str, str] = {}
    taken = set(RESERVED)
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


def _telemetry(channel: str, values: NDArray[Any], unit: str | None) -> dict[str, Any]:
    element: dict[str, Any] = {"@type": "Telemetry", "name": channel, "schema": "double"}
    if unit is not None:
        element["unit"] = unit
    if np.asarray(values).dtype == np.bool_:  # the only range that a sample proves
        element |= {"schema": "boolean", "minimum": 0, "maximum": 1}
    return element


def _digits(number: float, kept: int) -> int:
    size = 10 ** max(0, int(np.floor(np.log10(number))) + 1 - kept)
    return int(round(number / size) * size)

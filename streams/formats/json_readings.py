"""JSON telemetry: one reading, or readings of one asset in columns.

In:   a parsed JSON value, and what to take where it names no asset or no time.
Out:  `Telemetry`; ReadingRefused for what is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.formats.readings import LARGEST, NO_UNITS, Telemetry, check_size, checked_asset
from twin.errors import ReadingRefused
from twin.time import parse_time, parse_times

_WITH_UNIT = frozenset({"value", "unit"})


def parse(value: bytes | str) -> Any:
    """Raises ReadingRefused with reason `json`."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ReadingRefused("json", f"not JSON ({error}); the record is kept in dead-letter") from error


def from_json(found: Any, asset: str | None = None, time: object = None, *, flat: bool = False) -> Telemetry:
    """One record of JSON telemetry; `found` is taken apart.

    A unit is stated beside the value, {"flow": {"value": 1.2, "unit": "l/s"}}, or for several channels under "units".

    Args:
        asset, time: taken where the record has none.
        flat: it is known that no object stands within; then nobody looks for units.

    Raises:
        ReadingRefused: reason `shape` | `asset` | `time` | `size`.

    >>> from_json({"time": 1700000000, "flow": 1.2}, asset="p1").channels
    {'flow': 1.2}
    >>> from_json({"asset": "p1", "time": 1700000000, "flow": {"value": 1.2, "unit": "l/s"}}).units
    {'flow': 'l/s'}
    """
    if not isinstance(found, dict):
        raise ReadingRefused(
            "shape", f"a JSON {type(found).__name__} was found, expected an object with asset and time; kept in dead-letter"
        )
    named = checked_asset(found.pop("asset", asset))
    at = found.pop("time", time)
    units = NO_UNITS
    if not flat and dict in map(type, found.values()):
        units = _take_units(found)
    if isinstance(at, list):
        check_size(len(at), len(found))
        for name, column in found.items():
            if not isinstance(column, list) or len(column) != len(at):
                length = len(column) if isinstance(column, list) else "no list"
                raise ReadingRefused(
                    "shape", f"column {name!r} has {length}, expected a list of {len(at)} as time; kept in dead-letter"
                )
        return Telemetry(named, parse_times(at), found, units)
    check_size(1, len(found))
    return Telemetry(named, parse_time(at), found, units)


def _take_units(found: dict[str, Any]) -> dict[str, str]:
    """The units that a record states; in `found` stay the values. An object of another kind stays, as it is no number."""
    stated: dict[str, Any] = {}
    of_channels = found.get("units")
    if isinstance(of_channels, dict):
        del found["units"]
        stated |= {name: unit for name, unit in of_channels.items() if name in found}
    for name, cell in found.items():
        if isinstance(cell, dict) and "value" in cell and cell.keys() <= _WITH_UNIT:
            found[name] = cell["value"]
            if "unit" in cell:
                stated[name] = cell["unit"]
    return {name: unit if isinstance(unit, str) else orjson.dumps(unit).decode() for name, unit in stated.items() if unit}


def column_values(column: list[Any] | NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """A column as numbers: null becomes NaN; what is no finite number becomes NaN too and is counted."""
    if isinstance(column, np.ndarray):
        return column, 0  # of a table, checked when it was read
    try:
        values = np.array(column, np.float64)  # null → NaN; text raises or is parsed, so look below
        if not any(isinstance(cell, str | list | dict) for cell in column):
            bad = ~np.isnan(values) & (np.abs(values) > LARGEST)
            values[bad] = np.nan
            return values, int(bad.sum())
    except (TypeError, ValueError, OverflowError):
        pass
    numbers = [number(cell) for cell in column]
    bad_count = sum(1 for cell, value in zip(column, numbers, strict=True) if cell is not None and value is None)
    return np.array([np.nan if value is None else value for value in numbers], np.float64), bad_count


def number(cell: Any) -> float | None:
    """A JSON scalar as a number that a float32 can hold, None when it is none.

    >>> number(True), number("3"), number(1e39)
    (1.0, None, None)
    """
    if isinstance(cell, int | float) and -LARGEST <= cell <= LARGEST:
        return float(cell)
    return None

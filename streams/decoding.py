"""Decode telemetry records: single and columnar JSON.

In:   the bytes of one record.
Out:  `Telemetry`: the asset, its time or times, its channels. A record that can't be decoded raises ReadingRefused
      with a reason; whoever folds sends it to dead-letter and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from twin.errors import ReadingRefused
from twin.time import parse_time, parse_times

RESERVED = frozenset({"asset", "time"})
MAX_READINGS = 100_000  # in one columnar record
MAX_ASSET = 256  # characters
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One record. `time_ns` is one time, or an array for a columnar record; `channels` still holds what JSON held."""

    asset: str
    time_ns: int | NDArray[np.int64]
    channels: dict[str, Any]

    @property
    def columnar(self) -> bool:
        return not isinstance(self.time_ns, int)


def decode(value: bytes | None) -> Telemetry:
    """Decode one record.

    Raises:
        ReadingRefused: reason `empty` | `json` | `shape` | `asset` | `time` | `size`.

    >>> decode(b'{"asset":"p1","time":1700000000,"flow":1.2}').channels
    {'flow': 1.2}
    """
    if not value:
        raise ReadingRefused("empty", "the record has no value, expected a JSON object; it is kept in dead-letter")
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ReadingRefused("json", f"not JSON ({error}); the record is kept in dead-letter") from error
    if not isinstance(found, dict):
        raise ReadingRefused(
            "shape", f"a JSON {type(found).__name__} was found, expected an object with asset and time; kept in dead-letter"
        )
    asset = found.pop("asset", None)
    if not isinstance(asset, str) or not asset or len(asset) > MAX_ASSET:
        raise ReadingRefused(
            "asset", f"asset is {str(asset)[:80]!r}, expected a text of 1 to {MAX_ASSET} characters; kept in dead-letter"
        )
    time = found.pop("time", None)
    if isinstance(time, list):
        if not 0 < len(time) <= MAX_READINGS:
            raise ReadingRefused("size", f"{len(time)} times in one record, expected 1 to {MAX_READINGS}; kept in dead-letter")
        for name, column in found.items():
            if not isinstance(column, list) or len(column) != len(time):
                length = len(column) if isinstance(column, list) else "no list"
                raise ReadingRefused(
                    "shape", f"column {name!r} has {length}, expected a list of {len(time)} as time; kept in dead-letter"
                )
        return Telemetry(asset, parse_times(time), found)
    return Telemetry(asset, parse_time(time), found)


def column_values(column: list[Any]) -> tuple[NDArray[np.float64], int]:
    """A JSON column as numbers: null becomes NaN; what is no finite number becomes NaN too and is counted."""
    try:
        values = np.array(column, np.float64)  # null → NaN; text raises or is parsed, so look below
        if not any(isinstance(cell, str | list | dict) for cell in column):
            bad = ~np.isnan(values) & (np.abs(values) > _LARGEST)
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
    if isinstance(cell, int | float) and -_LARGEST <= cell <= _LARGEST:
        return float(cell)
    return None

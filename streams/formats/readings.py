"""What decoding makes of one record: readings of one asset, or a table of readings of many.

`Telemetry` still holds what JSON held; `TelemetryTable` holds arrays, and no step on the way to the arena looks at its
readings one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.formats.limits import MAX_ASSET, MAX_CHANNELS, MAX_READINGS, MAX_VALUES
from twin.errors import ReadingRefused

NO_UNITS: Mapping[str, str] = MappingProxyType({})
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Readings of one asset. `time_ns` is one time, or an array for readings in columns; `units` are those that it states."""

    asset: str
    time_ns: int | NDArray[np.int64]
    channels: dict[str, Any]
    units: Mapping[str, str] = field(default_factory=lambda: NO_UNITS)

    @property
    def columnar(self) -> bool:
        return not isinstance(self.time_ns, int)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A part of a record that can't be used, while the rest is: the record goes to dead-letter with this reason."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TelemetryTable:
    """N readings of K assets; values are NaN where a cell is empty. Rows and columns that can't be used are named in `flaws`.

    `units` are those that the columns state.
    """

    assets: tuple[str, ...]  # K, each once, each with a row at least
    code: NDArray[np.int64]  # (N,) which asset
    time_ns: NDArray[np.int64]  # (N,)
    channels: dict[str, NDArray[np.float64]]  # name → (N,)
    flaws: tuple[Flaw, ...] = ()
    units: Mapping[str, str] = field(default_factory=lambda: NO_UNITS)

    def __len__(self) -> int:
        return len(self.code)

    def without(self, assets: set[str]) -> TelemetryTable:
        """The readings of all other assets; `flaws` are told already."""
        kept = np.array([asset not in assets for asset in self.assets], np.bool_)
        rows = np.flatnonzero(kept[self.code])
        return TelemetryTable(
            tuple(asset for asset in self.assets if asset not in assets),
            (np.cumsum(kept) - 1)[self.code[rows]],
            self.time_ns[rows],
            {name: values[rows] for name, values in self.channels.items()},
            units=self.units,
        )

    def of_each(self, wanted: set[str]) -> Iterator[Telemetry]:
        """The readings of some assets, asset by asset; channels that an asset has no value of are left out."""
        order = np.argsort(self.code, kind="stable")
        bounds = np.searchsorted(self.code[order], np.arange(len(self.assets) + 1))
        for position, asset in enumerate(self.assets):
            if asset in wanted:
                rows = order[bounds[position] : bounds[position + 1]]
                own = {name: values[rows] for name, values in self.channels.items()}
                known = {name: values for name, values in own.items() if not np.isnan(values).all()}
                yield Telemetry(asset, self.time_ns[rows], known, self.units)


Decoded = Telemetry | TelemetryTable


def latest_times(decoded: Decoded) -> Iterator[tuple[str, int]]:
    """The newest event time of each asset of a record."""
    if isinstance(decoded, Telemetry):
        yield decoded.asset, int(np.max(decoded.time_ns))
        return
    newest = np.zeros(len(decoded.assets), np.int64)
    np.maximum.at(newest, decoded.code, decoded.time_ns)
    yield from zip(decoded.assets, newest.tolist(), strict=True)


def check_size(readings: int, channels: int) -> None:
    """Raises ReadingRefused with reason `size`."""
    if not 0 < readings <= MAX_READINGS:
        raise ReadingRefused("size", f"{readings} readings in one record, expected 1 to {MAX_READINGS}; kept in dead-letter")
    if channels > MAX_CHANNELS:
        raise ReadingRefused("size", f"{channels} channels in one record, expected {MAX_CHANNELS} at most; kept in dead-letter")
    if readings * channels > MAX_VALUES:
        found = f"{readings} readings × {channels} channels in one record"
        raise ReadingRefused("size", f"{found}, expected {MAX_VALUES} values at most; kept in dead-letter")


def is_asset(found: object) -> bool:
    """Whether this can be the id of an asset: a text that is not too long and that UTF-8 can write."""
    return isinstance(found, str) and 0 < len(found) <= MAX_ASSET


def checked_asset(found: object) -> str:
    """Raises ReadingRefused with reason `asset`."""
    if not is_asset(found):
        raise ReadingRefused(
            "asset", f"asset is {str(found)[:80]!r}, expected a text of 1 to {MAX_ASSET} characters; kept in dead-letter"
        )
    return str(found)

"""The newest step of every twin of one type, in arrays: what `latest` answers from, and which steps are certainly new.

In:   steps that the store has committed.
Out:  first and last event time and the last step of each twin, by its row.
Pure: no clock, no I/O. Not locked: the store guards it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.stores.port import TwinSnapshot
from twin.quality import Quality

NEVER = np.iinfo(np.int64).min


class Newest:
    """Arrays by row; a row is a twin, in the order in which the store met them. `last_ns` NEVER: no step is kept."""

    def __init__(self, type_: str, channels: list[str], assets: list[str]) -> None:
        self.type = type_
        self.channels: list[str] = []
        self.assets: list[str] = []
        self.row_of: dict[str, int] = {}
        self._resize(max(16, len(assets)), len(channels), first=True)
        self.add_channels(channels)
        self.add_assets(assets)

    def _resize(self, rows: int, columns: int, *, first: bool = False) -> None:
        def grown(name: str, shape: tuple[int, ...], fill: Any, kind: Any) -> None:
            array = np.full(shape, fill, kind)
            if not first:
                old = getattr(self, name)
                array[tuple(slice(0, size) for size in old.shape)] = old
            setattr(self, name, array)

        grown("first_ns", (rows,), NEVER, np.int64)
        grown("last_ns", (rows,), NEVER, np.int64)
        grown("values", (rows, columns), np.nan, np.float32)
        grown("quality", (rows, columns), Quality.MISSING, np.uint8)
        grown("risk", (rows,), 0.0, np.float32)
        grown("version", (rows,), "", object)

    first_ns: NDArray[np.int64]
    last_ns: NDArray[np.int64]
    values: NDArray[np.float32]
    quality: NDArray[np.uint8]
    risk: NDArray[np.float32]
    version: NDArray[Any]

    def add_channels(self, names: list[str]) -> None:
        self.channels = self.channels + names  # a new list: a reader keeps the one it has seen
        if len(self.channels) > self.values.shape[1]:
            self._resize(len(self.last_ns), len(self.channels))

    def add_assets(self, names: list[str]) -> None:
        for name in names:
            self.row_of[name] = len(self.assets)
            self.assets.append(name)
        if len(self.assets) > len(self.last_ns):
            self._resize(2 * len(self.assets), self.values.shape[1])

    def learn(
        self,
        rows: NDArray[np.int32],
        time_ns: NDArray[np.int64],
        values: NDArray[np.float32],
        quality: NDArray[np.uint8],
        risk: NDArray[np.float32],
        version: NDArray[Any],
    ) -> None:
        """Take steps, each (row, time) once; `values` and `quality` have all channels of the type."""
        order = np.lexsort((time_ns, rows))
        ends = np.flatnonzero(np.append(rows[order][1:] != rows[order][:-1], True))
        starts = np.append(0, ends[:-1] + 1)
        earliest, newest = order[starts], order[ends]
        self._begin(rows[earliest], time_ns[earliest])
        newest = newest[time_ns[newest] >= self.last_ns[rows[newest]]]
        at = rows[newest]
        self.last_ns[at] = time_ns[newest]
        self.values[at] = values[newest]
        self.quality[at] = quality[newest]
        self.risk[at] = risk[newest]
        self.version[at] = version[newest]

    def _begin(self, rows: NDArray[np.int32], time_ns: NDArray[np.int64]) -> None:
        known = self.first_ns[rows]
        self.first_ns[rows] = np.where(known == NEVER, time_ns, np.minimum(known, time_ns))

    def begin_at(self, first: dict[int, int]) -> None:
        """First event times as they are in the table; twins that are not among them have no steps any more."""
        gone = np.ones(len(self.last_ns), bool)
        for row, time_ns in first.items():
            gone[row] = False
            self.first_ns[row] = time_ns
        self.first_ns[gone] = NEVER
        self.last_ns[gone] = NEVER

    def rows(self, assets: list[str] | None) -> NDArray[np.int32]:
        """Rows of twins that have steps; all of them, or of those asked for."""
        if assets is None:
            return np.asarray(np.flatnonzero(self.last_ns != NEVER), np.int32)
        found = np.array([self.row_of[asset] for asset in assets if asset in self.row_of], np.int32)
        return np.asarray(found[self.last_ns[found] != NEVER])

    def snapshot(self, row: int) -> TwinSnapshot:
        return TwinSnapshot(
            asset=self.assets[row],
            type=self.type,
            time_ns=int(self.last_ns[row]),
            values={
                name: value if np.isfinite(value) else None
                for name, value in zip(self.channels, self.values[row].tolist(), strict=False)
            },
            quality=dict(zip(self.channels, self.quality[row].tolist(), strict=False)),
            risk=float(self.risk[row]),
            version=str(self.version[row]),
        )


def one_an_asset(found: list[TwinSnapshot]) -> list[TwinSnapshot]:
    """By asset id; of an asset known under two types, the newer step."""
    newest: dict[str, TwinSnapshot] = {}
    for snapshot in sorted(found, key=lambda snapshot: snapshot.time_ns):
        newest[snapshot.asset] = snapshot
    return [newest[asset] for asset in sorted(newest)]

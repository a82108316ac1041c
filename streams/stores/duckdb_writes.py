"""History blocks of one type into its DuckDB tables, each (twin, time) once.

In:   admitted blocks of one write, in the order of their log.
Out:  rows in the hot table, inside the caller's transaction; the steps to remember as newest once that has committed.

A step later than all that is kept of its twin is appended. Any other is compared with what is there: the same, as after a
redelivery, changes nothing; another replaces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.history import HistoryBlock
from streams.stores.duckdb_catalog import TypeTable
from twin.quality import Quality


@dataclass(frozen=True, slots=True)
class Steps:
    """N steps of one type in columns, each (row, time) once; C are all channels of the type."""

    rows: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    values: NDArray[np.float32]  # (N, C), as expected and spread; not finite: none
    quality: NDArray[np.uint8]
    expected: NDArray[np.float32]
    spread: NDArray[np.float32]
    score: NDArray[np.float32]
    risk: NDArray[np.float32]
    version: NDArray[Any]

    def take(self, which: NDArray[Any]) -> Steps:
        return Steps(*(getattr(self, name)[which] for name in self.__slots__))


def gather(table: TypeTable, blocks: Sequence[HistoryBlock]) -> Steps:
    """Blocks of one type as steps; of a step that is there more than once, the last."""
    newest, count = table.newest, len(table.newest.channels)
    rows = np.array([newest.row_of[asset] for block in blocks for asset in block.asset], np.int32)

    def matrix(name: str, fill: float, kind: Any) -> NDArray[Any]:
        parts = []
        for block in blocks:
            part = np.full((len(block), count), fill, kind)
            part[:, [newest.channels.index(channel) for channel in block.channels]] = getattr(block, name)
            parts.append(part)
        return np.concatenate(parts)

    steps = Steps(
        rows=rows,
        time_ns=np.concatenate([block.time_ns for block in blocks]).astype(np.int64),
        values=matrix("values", np.nan, np.float32),
        quality=matrix("quality", Quality.MISSING, np.uint8),
        expected=matrix("expected", np.nan, np.float32),
        spread=matrix("spread", np.nan, np.float32),
        score=np.concatenate([block.score for block in blocks]).astype(np.float32),
        risk=np.nan_to_num(np.concatenate([block.risk for block in blocks]).astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0),
        version=np.array([version for block in blocks for version in block.version], object),
    )
    order = np.lexsort((np.arange(len(rows)), steps.rows, steps.time_ns))
    last = np.append((np.diff(steps.rows[order]) != 0) | (np.diff(steps.time_ns[order]) != 0), True)
    return steps.take(order[last])


def insert(cursor: duckdb.DuckDBPyConnection, table: TypeTable, steps: Steps) -> int:
    """Put steps into the hot table; returns how many were new or different."""
    known = steps.time_ns <= table.newest.last_ns[steps.rows]
    if known.any():
        old = steps.take(known)
        different = _replace(cursor, table, old)
        new, changed = steps.take(~known), old.take(different)
        steps = Steps(*(np.concatenate([getattr(new, name), getattr(changed, name)]) for name in Steps.__slots__))
    if len(steps.rows):
        cursor.register("incoming", _arrow(table, steps))
        cursor.execute(f"INSERT INTO {table.hot} ({', '.join(table.columns())}) SELECT * FROM incoming")
        cursor.unregister("incoming")
    return len(steps.rows)


def _replace(cursor: duckdb.DuckDBPyConnection, table: TypeTable, steps: Steps) -> NDArray[np.int64]:
    """Delete what is kept of these steps where it differs; returns which are to be inserted."""
    columns = table.columns()
    incoming = _arrow(table, steps)
    cursor.register("incoming", incoming.append_column("nth", pa.array(np.arange(len(steps.rows)))))
    within = f"time BETWEEN {steps.time_ns.min()} AND {steps.time_ns.max()}"
    same = " AND ".join(f"kept.{name} IS NOT DISTINCT FROM incoming.{name}" for name in columns)
    unchanged = cursor.execute(
        f"SELECT nth FROM incoming JOIN {table.steps(columns, within)} kept USING (asset, time) WHERE {same}"
    ).fetchnumpy()["nth"]
    cursor.unregister("incoming")
    different = np.setdiff1d(np.arange(len(steps.rows)), np.asarray(unchanged, np.int64))
    if len(different):
        cursor.register("changed", incoming.select(["asset", "time"]).take(pa.array(different)))
        for name in (table.hot, table.cold):
            cursor.execute(
                f"DELETE FROM {name} USING changed "
                f"WHERE {name}.asset = changed.asset AND {name}.time = changed.time AND {name}.{within}"
            )
        cursor.unregister("changed")
    return different


def _arrow(table: TypeTable, steps: Steps) -> pa.Table:
    def finite(array: NDArray[np.float32]) -> pa.Array:
        return pa.array(array, pa.float32(), mask=~np.isfinite(array))

    arrays: list[pa.Array] = [
        pa.array(steps.rows),
        pa.array(steps.time_ns),
        pa.array(steps.risk),
        finite(steps.score),
        pa.array(steps.version, pa.string()),
    ]
    for position in range(len(table.newest.channels)):
        arrays += [
            finite(steps.values[:, position]),
            pa.array(np.ascontiguousarray(steps.quality[:, position])),
            finite(steps.expected[:, position]),
            finite(steps.spread[:, position]),
        ]
    return pa.table(arrays, names=table.columns())


def cluster(cursor: duckdb.DuckDBPyConnection, table: TypeTable) -> None:
    """Move the hot table's rows to the cold one, sorted by twin and time, in a transaction of its own."""
    names = ", ".join(table.columns())
    cursor.begin()
    cursor.execute(f"INSERT INTO {table.cold} ({names}) SELECT {names} FROM {table.hot} ORDER BY asset, time")
    cursor.execute(f"DELETE FROM {table.hot}")
    cursor.commit()

"""Reads of one type's DuckDB tables: a period of one twin, downsampled, and all twins at a time.

In:   a cursor (the caller's transaction: both tables are seen at one moment) and the type's table.
Out:  series and snapshots of `streams.stores.port`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from streams.stores.duckdb_catalog import TypeTable
from streams.stores.newest import NEVER
from streams.stores.port import ChannelSeries, RiskSeries, TwinHistory, TwinSnapshot
from twin.quality import Quality

_HOUR_NS = 3_600_000_000_000
_LOOK_BACK_NS: tuple[int | None, ...] = (_HOUR_NS, 24 * _HOUR_NS, 30 * 24 * _HOUR_NS, None)


def count(cursor: duckdb.DuckDBPyConnection, table: TypeTable, asset: str, from_ns: int, to_ns: int) -> int:
    """Steps of one twin with from_ns <= time < to_ns."""
    found = cursor.execute(f"SELECT count(*) FROM {table.steps(['time'], _period(table, asset, from_ns, to_ns))}").fetchone()
    return int(found[0]) if found is not None else 0


def _period(table: TypeTable, asset: str, from_ns: int, to_ns: int) -> str:
    return f"asset = {table.newest.row_of[asset]} AND time >= {from_ns} AND time < {to_ns}"


def twin_history(
    cursor: duckdb.DuckDBPyConnection,
    table: TypeTable,
    asset: str,
    *,
    known: Sequence[str],
    channels: Sequence[str] | None,
    from_ns: int,
    to_ns: int,
    points: int,
    count: int,
) -> TwinHistory:
    """Steps with from_ns <= time < to_ns of one twin, of which there are `count`, in at most `points` buckets.

    `known`: the type's channels as they were before the transaction began, so that it sees a column for each.
    """
    names = [name for name in known if channels is None or name in channels]
    positions = [known.index(name) for name in names]
    where = _period(table, asset, from_ns, to_ns)
    columns = ["time", "risk", "score", "version"] + [f"{kind}{position}" for position in positions for kind in "vqes"]
    source = table.steps(columns, where)
    if count <= points:
        wanted = ["time", "risk", "score", "version"]
        for p in positions:
            wanted += [f"v{p}", f"v{p}", f"v{p}", f"e{p}", f"s{p}", f"coalesce(q{p}, {Quality.MISSING:d})"]
        query = f"SELECT {', '.join(wanted)} FROM {source} ORDER BY time"
    else:
        width = max(1, -(-(to_ns - from_ns) // points))
        wanted = ["max(time)", "max(risk)", "max(score)", "arg_max(version, time)"]
        for p in positions:
            wanted += [f"avg(v{p})", f"min(v{p})", f"max(v{p})", f"avg(e{p})", f"avg(s{p})"]
            wanted.append(f"bit_or(coalesce(q{p}, {Quality.MISSING:d}))")
        bucket = f"((time::HUGEINT - {from_ns}) // {width})"
        query = f"SELECT {', '.join(wanted)} FROM {source} GROUP BY {bucket} ORDER BY 1"
    rows = cursor.execute(query).fetchall()
    column: list[list[Any]] = [list(values) for values in zip(*rows, strict=True)] if rows else [[] for _ in wanted]
    time_ns, risk, score, version = column[:4]
    series = []
    for nth, name in enumerate(names):
        value, low, high, expected, spread, quality = column[4 + 6 * nth : 10 + 6 * nth]
        series.append(ChannelSeries(name, list(time_ns), value, low, high, expected, spread, quality))
    return TwinHistory(asset, series, RiskSeries(time_ns, risk, score, version))


def steps_at(
    cursor: duckdb.DuckDBPyConnection, table: TypeTable, rows: NDArray[np.int32], time_ns: int, *, known: Sequence[str]
) -> list[tuple[int, TwinSnapshot]]:
    """The last step at or before a time of each of these rows; looks back further only for those not found."""
    names = ["asset", "time", "risk", "version"] + [f"{kind}{p}" for p in range(len(known)) for kind in "vq"]
    found: list[tuple[int, TwinSnapshot]] = []
    missing = rows
    for look_back in _LOOK_BACK_NS:
        if not len(missing):
            break
        where = f"time <= {time_ns}" + (f" AND time > {max(time_ns - look_back, NEVER)}" if look_back else "")
        source = table.steps(names, f"{where} AND asset IN (SELECT unnest($1::INTEGER[]))")
        last = f"(SELECT asset, max(time) AS time FROM {table.steps(['asset', 'time'], where)} GROUP BY asset)"
        query = f"SELECT {', '.join(names)} FROM {source} JOIN {last} USING (asset, time)"
        steps = cursor.execute(query, [missing.tolist()]).fetchall()
        found += [(step[0], _snapshot(table, known, step)) for step in steps]
        missing = np.setdiff1d(missing, np.array([step[0] for step in steps], np.int32))
    return found


def _snapshot(table: TypeTable, channels: Sequence[str], step: tuple[Any, ...]) -> TwinSnapshot:
    row, time_ns, risk, version, *cells = step
    return TwinSnapshot(
        asset=table.newest.assets[row],
        type=table.newest.type,
        time_ns=time_ns,
        values=dict(zip(channels, cells[0::2], strict=True)),
        quality={name: Quality.MISSING.value if bits is None else bits for name, bits in zip(channels, cells[1::2], strict=True)},
        risk=risk,
        version=version,
    )


def spans(cursor: duckdb.DuckDBPyConnection, table: TypeTable) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Rows that have steps, with their first and last event time."""
    found = cursor.execute(
        f"SELECT asset, min(time) AS first, max(time) AS last FROM {table.steps(['asset', 'time'], 'true')} GROUP BY asset"
    ).fetchnumpy()
    return np.asarray(found["asset"], np.int32), np.asarray(found["first"], np.int64), np.asarray(found["last"], np.int64)


def load_newest(cursor: duckdb.DuckDBPyConnection, table: TypeTable) -> None:
    """Fill in the newest steps from what is kept."""
    newest = table.newest
    rows, first, last = spans(cursor, table)
    newest.first_ns[rows], newest.last_ns[rows] = first, last
    end = int(last.max()) if len(last) else NEVER
    position = {name: nth for nth, name in enumerate(newest.channels)}
    for row, step in steps_at(cursor, table, rows, end, known=newest.channels):
        newest.values[row] = [np.nan if step.values[name] is None else step.values[name] for name in position]
        newest.quality[row] = [step.quality[name] for name in position]
        newest.risk[row], newest.version[row] = step.risk, step.version

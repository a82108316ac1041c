"""How much a DuckDB store keeps: the oldest steps go, by age and by size.

DuckDB frees the blocks of deleted rows at a checkpoint and fills them again; the file shrinks when its end is free. So size is
what is in use: used blocks and the write-ahead log. A read that is going on while rows are deleted keeps their blocks
until the next checkpoint that has something to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from streams.stores.duckdb_catalog import TypeTable

log = logging.getLogger(__name__)
_ROOM = 0.9  # what is left of the size bound after oldest steps were dropped: not again at the next write
_ROUNDS = 8
_PERCENTS = ", ".join(str(percent / 100) for percent in range(1, 101))


def used_bytes(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
    row = cursor.execute(
        "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchone()
    wal = path.with_name(path.name + ".wal")
    return (int(row[0]) if row else 0) + (wal.stat().st_size if wal.exists() else 0)


def enforce(
    cursor: duckdb.DuckDBPyConnection, tables: Sequence[TypeTable], path: Path, *, max_age_ns: int, max_bytes: int
) -> dict[str, int]:
    """Drop steps and cleared alerts older than `max_age_ns` before the newest step, then oldest steps until `max_bytes` holds."""
    dropped = {"steps": 0, "alerts": 0}
    ends = [int(table.newest.last_ns.max()) for table in tables if len(table.newest.rows(None))]
    if not ends:
        return dropped
    _drop_before(cursor, tables, max(ends) - max_age_ns, dropped)
    _checkpoint(cursor)
    for _ in range(_ROUNDS):
        used = used_bytes(cursor, path)
        if used <= max_bytes:
            break
        cut = _oldest_share(cursor, tables, 1 - _ROOM * max_bytes / used)
        if cut is None:
            break
        before = dropped["steps"]
        _drop_before(cursor, tables, cut + 1, dropped)
        if dropped["steps"] == before or not _checkpoint(cursor, below=used, path=path):
            break  # a read still holds the blocks: what is dropped frees them at the next call
    if dropped["steps"] or dropped["alerts"]:
        log.info("store-limits-enforced steps_dropped=%d alerts_dropped=%d", dropped["steps"], dropped["alerts"])
    return dropped


def _drop_before(cursor: duckdb.DuckDBPyConnection, tables: Sequence[TypeTable], time_ns: int, dropped: dict[str, int]) -> None:
    cursor.begin()
    for table in tables:
        for name in (table.hot, table.cold):
            count = cursor.execute(f"DELETE FROM {name} WHERE time < {time_ns}").fetchone()
            dropped["steps"] += count[0] if count else 0
    count = cursor.execute("DELETE FROM alerts WHERE cleared_ns < ?", [time_ns]).fetchone()
    dropped["alerts"] += count[0] if count else 0
    cursor.commit()


def _oldest_share(cursor: duckdb.DuckDBPyConnection, tables: Sequence[TypeTable], share: float) -> int | None:
    """The event time up to which this share of the bytes of all steps lies, by percentiles of each type."""
    times = " UNION ALL ".join(
        f"SELECT list_prepend(min(time), approx_quantile(time, [{_PERCENTS}])) AS moments, count(*) * {table.row_bytes} AS weight "
        f"FROM {table.steps(['time'], 'true')} HAVING count(*) > 0"
        for table in tables
    )
    rows = cursor.execute(f"SELECT unnest(moments) AS moment, weight FROM ({times}) ORDER BY moment").fetchall()
    total, passed = sum(weight for _, weight in rows), 0
    for moment, weight in rows:
        passed += weight
        if passed >= share * total:
            return int(moment)
    return None


def _checkpoint(cursor: duckdb.DuckDBPyConnection, *, below: int | None = None, path: Path | None = None) -> bool:
    """Free what was deleted; with `below`, until less is used, waiting a moment for reads to end."""
    for _ in range(20):
        # a checkpoint without anything to write frees nothing
        cursor.execute("INSERT OR REPLACE INTO meta VALUES ('checkpointed', ?)", [str(time.time_ns())])
        try:
            cursor.execute("CHECKPOINT")
        except duckdb.TransactionException as error:
            log.debug("checkpoint-postponed error=%s", error)
        if below is None or path is None or used_bytes(cursor, path) < below:
            return True
        time.sleep(0.05)
    return False

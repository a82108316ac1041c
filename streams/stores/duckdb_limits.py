"""How much a DuckDB store keeps: the oldest steps go, by age and by size.

DuckDB frees the blocks of deleted rows at a checkpoint and fills them again; the file shrinks when its end is free. So size is
what is in use: used blocks and the write-ahead log. A read that is going on keeps the blocks of rows that are deleted meanwhile,
so checkpoints that free wait for a moment without reads; without one, the rest is dropped at the next call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb

from streams.stores.duckdb_catalog import TypeTable

log = logging.getLogger(__name__)
Quiet = Callable[[], AbstractContextManager[bool]]  # holds new reads back; whether none is going on
_ROOM = 0.9  # what is left of the size bound after oldest steps were dropped: not again at the next write
_WORTH_REWRITING = 0.2
_ROUNDS = 6
_PERCENTS = ", ".join(str(percent / 100) for percent in range(1, 101))


def used_bytes(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
    row = cursor.execute(
        "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchone()
    wal = path.with_name(path.name + ".wal")
    return (int(row[0]) if row else 0) + (wal.stat().st_size if wal.exists() else 0)


def enforce(
    cursor: duckdb.DuckDBPyConnection,
    tables: Sequence[TypeTable],
    path: Path,
    quiet: Quiet,
    *,
    max_age_ns: int,
    max_bytes: int,
) -> dict[str, int]:
    """Drop steps older than `max_age_ns`, then the oldest until `max_bytes` holds, and alerts that were cleared before them.

    The age of a step is against the newest step of its type: simulated types may have a clock of their own.
    """
    dropped = {"steps": 0, "alerts": 0}
    ends = {table: int(table.newest.last_ns.max()) for table in tables if len(table.newest.rows(None))}
    if not ends:
        return dropped
    _drop_older(cursor, ends, max_age_ns, dropped)
    for _ in range(_ROUNDS):
        used = _settle(cursor, tables, path, quiet, max_bytes)
        if used is None or used <= max_bytes:
            break
        age_ns = _age_of_share(cursor, ends, 1 - _ROOM * max_bytes / used)
        if age_ns <= 0:
            break  # only the newest steps are left
        _drop_older(cursor, ends, age_ns - 1, dropped)
    if dropped["steps"] or dropped["alerts"]:
        log.info("store-limits-enforced steps_dropped=%d alerts_dropped=%d", dropped["steps"], dropped["alerts"])
    return dropped


def _drop_older(cursor: duckdb.DuckDBPyConnection, ends: Mapping[TypeTable, int], age_ns: int, dropped: dict[str, int]) -> None:
    cursor.begin()
    for table, end in ends.items():
        for name in (table.hot, table.cold):
            count = cursor.execute(f"DELETE FROM {name} WHERE time < {end - age_ns}").fetchone()
            dropped["steps"] += count[0] if count else 0
    count = cursor.execute("DELETE FROM alerts WHERE cleared_ns < ?", [min(ends.values()) - age_ns]).fetchone()
    dropped["alerts"] += count[0] if count else 0
    cursor.commit()


def _age_of_share(cursor: duckdb.DuckDBPyConnection, ends: Mapping[TypeTable, int], share: float) -> int:
    """The age above which this share of the bytes of all steps lies, by percentiles of each type."""
    ages: list[tuple[int, int]] = []
    for table, end in ends.items():
        row = cursor.execute(
            f"SELECT list_prepend(min(time), approx_quantile(time, [{_PERCENTS}])), count(*) FROM {table.steps(['time'], 'true')}"
        ).fetchone()
        if row is not None and row[1]:
            ages += [(end - min(moment, end), row[1] * table.row_bytes) for moment in row[0]]
    total, passed = sum(weight for _, weight in ages), 0
    for age_ns, weight in sorted(ages, reverse=True):
        passed += weight
        if passed >= share * total:
            return age_ns
    return 0


def _settle(
    cursor: duckdb.DuckDBPyConnection, tables: Sequence[TypeTable], path: Path, quiet: Quiet, max_bytes: int
) -> int | None:
    """Bytes in use once the blocks of deleted rows are given back; None when reads that are going on still hold them.

    DuckDB gives back whole row groups and merges neighbours that have become small. What is too few for that is written anew.
    """
    with quiet() as alone:
        if not alone:
            return None
        _checkpoint(cursor)
        if used_bytes(cursor, path) > max_bytes:
            sparse = [table for table in tables if _held(cursor, table) > _WORTH_REWRITING]
            for table in sparse:
                _rewrite(cursor, table)
            if sparse:
                _checkpoint(cursor)
        return used_bytes(cursor, path)


def _checkpoint(cursor: duckdb.DuckDBPyConnection) -> None:
    # a checkpoint that has nothing to write frees nothing
    cursor.execute("INSERT OR REPLACE INTO meta VALUES ('checkpointed_ns', ?)", [str(time.time_ns())])
    cursor.execute("CHECKPOINT")


def _held(cursor: duckdb.DuckDBPyConnection, table: TypeTable) -> float:
    """Share of the rows on disk that are deleted."""
    stored = kept = 0
    for name in (table.hot, table.cold):
        row = cursor.execute(
            f"SELECT (SELECT coalesce(sum(count), 0) FROM pragma_storage_info('{name}') "
            f"WHERE column_name = 'time' AND segment_type <> 'VALIDITY'), (SELECT count(*) FROM {name})"
        ).fetchone()
        stored += int(row[0]) if row else 0
        kept += int(row[1]) if row else 0
    return 1 - kept / stored if stored else 0.0


def _rewrite(cursor: duckdb.DuckDBPyConnection, table: TypeTable) -> None:
    cursor.begin()
    cursor.execute(f"CREATE TABLE rewritten AS SELECT * FROM {table.steps(table.columns(), 'true')} ORDER BY asset, time")
    cursor.execute(f"DELETE FROM {table.hot}")
    cursor.execute(f"DROP TABLE {table.cold}")
    cursor.execute(f"ALTER TABLE rewritten RENAME TO {table.cold}")
    cursor.commit()

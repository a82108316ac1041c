"""`DuckDbStore`: history, alerts and swaps in one DuckDB file, the embedded default.

DuckDB lets one process own a file, so the historian runs where the reads are asked for (in the gateway). Any thread may call:
writes take turns, each read has a cursor and a transaction of its own and sees the store at one moment. A write that has
returned is in the write-ahead log on disk: a kill loses nothing of it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from streams.history import HistoryBlock
from streams.model_records import Serving
from streams.records import Alert
from streams.stores import duckdb_limits, duckdb_reads, duckdb_writes
from streams.stores.duckdb_catalog import Catalog, TypeTable, create_or_check
from streams.stores.fencing import EpochFence, Fence
from streams.stores.newest import one_an_asset
from streams.stores.port import StoreUnavailable, TwinHistory, TwinSnapshot
from streams.stores.successive import allot, joined, stretches

log = logging.getLogger(__name__)
_QUIET_WITHIN_S = 2.0
_PUT_ALERT = """INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    revision = excluded.revision, asset = excluded.asset, onset_ns = excluded.onset_ns, cleared_ns = excluded.cleared_ns,
    record = excluded.record WHERE excluded.revision > alerts.revision"""
_PUT_SWAP = """INSERT INTO swaps VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, partition, epoch) DO UPDATE SET
    time_ns = excluded.time_ns, record = excluded.record WHERE excluded.time_ns >= swaps.time_ns"""
_GET_ALERTS = """SELECT record FROM alerts WHERE ($1 IS NULL OR asset = $1)
    AND ($2 IS NULL OR cleared_ns IS NULL OR cleared_ns >= $2) AND ($3 IS NULL OR onset_ns < $3)
    ORDER BY onset_ns DESC, id LIMIT $4"""
_GET_SWAPS = "SELECT record FROM swaps WHERE $1 IS NULL OR name = $1 ORDER BY time_ns, name, partition, epoch"
# what DuckDB raises when the file, the disk or memory fails, rather than the statement
_FAILURES = (duckdb.OperationalError, duckdb.InternalError, duckdb.FatalException, duckdb.PermissionException)


class DuckDbStore:
    """A `TwinStore` in a file.

    `memory_mib` bounds DuckDB's own buffers, `threads` what one query may use; a type's hot steps move to its cold table when
    they are `cluster_bytes` before compression.
    """

    def __init__(self, path: Path, *, memory_mib: int = 512, threads: int | None = None, cluster_bytes: int = 16 << 20) -> None:
        self.path = path
        self._cluster_bytes = cluster_bytes
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mib}MiB",
            "threads": threads or min(4, os.cpu_count() or 1),
        }
        self._writing = threading.Lock()  # one writer at a time
        self._guard = threading.Condition()  # the connection, its cursors, the catalog and the newest steps in memory
        self._cursors = 0
        self._closed = False
        self._database: duckdb.DuckDBPyConnection | None = None
        self._open()

    # ── writes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def write_history(self, blocks: Sequence[HistoryBlock]) -> None:
        with self._writing, self._cursor("history not written") as cursor:
            try:
                admitted = [block for block in blocks if self._fence.admit(block) and len(block)]
                fences = self._fence.changed()
                by_type: dict[str, list[HistoryBlock]] = {}
                for block in admitted:
                    by_type.setdefault(block.type, []).append(block)
                written: list[tuple[TypeTable, duckdb_writes.Steps, int]] = []
                tables = {type_: self._ensure(cursor, type_, own) for type_, own in by_type.items()}
                cursor.begin()
                for type_, own in by_type.items():
                    steps = duckdb_writes.gather(tables[type_], own)
                    written.append((tables[type_], steps, duckdb_writes.insert(cursor, tables[type_], steps)))
                for fence in fences:
                    cursor.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?)", list(dataclasses.astuple(fence)))
                cursor.commit()
            except BaseException:
                self._fence.undo()
                raise
            with self._guard:
                self._fence.kept(fences)
                for table, steps, inserted in written:
                    table.newest.learn(steps.rows, steps.time_ns, steps.values, steps.quality, steps.risk, steps.version)
                    table.hot_rows += inserted
            for table, _, _ in written:
                self._cluster_when_full(cursor, table)

    def _ensure(self, cursor: duckdb.DuckDBPyConnection, type_: str, blocks: Sequence[HistoryBlock]) -> TypeTable:
        channels = list(dict.fromkeys(channel for block in blocks for channel in block.channels))
        assets = list(dict.fromkeys(asset for block in blocks for asset in block.asset))
        with self._guard:
            return self._catalog.ensure(cursor, type_, channels, assets)

    def _cluster_when_full(self, cursor: duckdb.DuckDBPyConnection, table: TypeTable) -> None:
        if table.hot_rows * table.row_bytes < self._cluster_bytes:
            return
        try:
            duckdb_writes.cluster(cursor, table)
            table.hot_rows = 0
        except _FAILURES as error:  # the steps themselves are written; the move is tried again after the next write
            log.warning("steps-not-clustered type=%s error=%s", table.newest.type, error)
            _roll_back(cursor)

    def write_alerts(self, alerts: Sequence[Alert]) -> None:
        newest: dict[str, Alert] = {}
        for alert in alerts:
            if alert.id not in newest or alert.revision > newest[alert.id].revision:
                newest[alert.id] = alert
        with self._writing, self._cursor("alerts not written") as cursor:
            cursor.begin()
            for alert in newest.values():
                row = [alert.id, alert.revision, alert.asset, alert.onset_ns, alert.cleared_ns, alert.to_bytes().decode()]
                cursor.execute(_PUT_ALERT, row)
            cursor.commit()

    def write_swaps(self, swaps: Sequence[Serving]) -> None:
        with self._writing, self._cursor("swaps not written") as cursor:
            cursor.begin()
            for swap in swaps:
                row = [swap.name, swap.partition, swap.epoch, swap.time_ns, swap.to_bytes().decode()]
                cursor.execute(_PUT_SWAP, row)
            cursor.commit()

    # ── reads ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def latest(self, assets: Sequence[str] | None = None) -> list[TwinSnapshot]:
        wanted = None if assets is None else list(dict.fromkeys(assets))
        with self._guard:
            self._ready()
            found = [table.newest.snapshot(row) for table in self._catalog.types.values() for row in table.newest.rows(wanted)]
        return one_an_asset(found)

    def at(self, time_ns: int, assets: Sequence[str] | None = None) -> list[TwinSnapshot]:
        wanted = None if assets is None else list(dict.fromkeys(assets))
        found: list[TwinSnapshot] = []
        with self._cursor("twins not read") as cursor:
            with self._guard:
                asked = []
                for table in self._catalog.types.values():
                    newest, rows = table.newest, table.newest.rows(wanted)
                    found += [newest.snapshot(row) for row in rows[newest.last_ns[rows] <= time_ns]]
                    rows = rows[(newest.first_ns[rows] <= time_ns) & (newest.last_ns[rows] > time_ns)]
                    asked.append((table, rows, newest.channels))
            cursor.begin()
            for table, rows, known in asked:
                found += [snapshot for _, snapshot in duckdb_reads.steps_at(cursor, table, rows, time_ns, known=known)]
            cursor.commit()
        return one_an_asset(found)

    def history(self, asset: str, *, channels: Sequence[str] | None, from_ns: int, to_ns: int, points: int) -> TwinHistory:
        if points < 1:
            raise ValueError(f"history of {asset} not read: points is {points}, expected at least 1")
        with self._cursor(f"history of {asset} not read") as cursor:
            with self._guard:
                kept = [
                    ((table, table.newest.channels), int(table.newest.first_ns[row]), int(table.newest.last_ns[row]))
                    for table in self._catalog.holding(asset)
                    for row in [table.newest.row_of[asset]]
                ]
            found = stretches(kept, from_ns, to_ns)
            cursor.begin()
            counts = [duckdb_reads.count(cursor, table, asset, begin, end) for (table, _), begin, end in found]
            shares = allot([end - begin for _, begin, end in found], counts, points)
            parts = [
                (
                    table.newest.type,
                    duckdb_reads.twin_history(
                        cursor, table, asset, known=known, channels=channels, from_ns=begin, to_ns=end, points=share, count=count
                    ),
                )
                for ((table, known), begin, end), share, count in zip(found, shares, counts, strict=True)
                if share
            ]
            cursor.commit()
            return joined(asset, parts)

    def alerts(
        self, *, asset: str | None = None, from_ns: int | None = None, to_ns: int | None = None, limit: int = 1000
    ) -> list[Alert]:
        with self._cursor("alerts not read") as cursor:
            rows = cursor.execute(_GET_ALERTS, [asset, from_ns, to_ns, limit]).fetchall()
        return [Alert.model_validate_json(row[0]) for row in rows]

    def swaps(self, *, name: str | None = None) -> list[Serving]:
        with self._cursor("swaps not read") as cursor:
            rows = cursor.execute(_GET_SWAPS, [name]).fetchall()
        return [Serving.model_validate_json(row[0]) for row in rows]

    def span(self, asset: str) -> tuple[int, int] | None:
        with self._guard:
            self._ready()
            spans = [
                (int(table.newest.first_ns[row]), int(table.newest.last_ns[row]))
                for table in self._catalog.holding(asset)
                for row in [table.newest.row_of[asset]]
            ]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    # ── limits and life ─────────────────────────────────────────────────────────────────────────────────────────────

    def enforce_limits(self, *, max_age_ns: int, max_bytes: int) -> Mapping[str, int]:
        with self._writing, self._cursor("limits not enforced") as cursor:
            with self._guard:
                tables = list(self._catalog.types.values())
            dropped = duckdb_limits.enforce(cursor, tables, self.path, self._quiet, max_age_ns=max_age_ns, max_bytes=max_bytes)
            if dropped["steps"]:
                for table in tables:
                    rows, first, _ = duckdb_reads.spans(cursor, table)
                    hot = cursor.execute(f"SELECT count(*) FROM {table.hot}").fetchone()
                    with self._guard:
                        table.newest.begin_at(dict(zip(rows.tolist(), first.tolist(), strict=True)))
                        table.hot_rows = hot[0] if hot else 0
        return dropped

    def size_bytes(self) -> int:
        with self._cursor("size not read") as cursor:
            return duckdb_limits.used_bytes(cursor, self.path)

    def close(self) -> None:
        """Wait for the writer, move the write-ahead log into the file, release it. Later calls raise StoreUnavailable."""
        with self._writing, self._guard:
            self._closed = True
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self) -> None:
        """Raises StoreUnavailable when the file can't be had now, StoreRefused when it is not ours."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = duckdb.connect(str(self.path), config=self._config)
        except (OSError, *_FAILURES) as error:
            raise StoreUnavailable(f"store {self.path} not opened: {error}; it is tried again at the next call") from error
        try:
            with database.cursor() as cursor:
                create_or_check(cursor, str(self.path))
                self._catalog = Catalog(cursor)
                self._fence = EpochFence([Fence(*row) for row in cursor.execute("SELECT * FROM epochs").fetchall()])
                for table in self._catalog.types.values():
                    duckdb_reads.load_newest(cursor, table)
        except BaseException:
            database.close()
            raise
        self._database = database

    def _ready(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreUnavailable(f"store {self.path} is closed; nothing was read or written")
        if self._database is None:
            self._open()
        assert self._database is not None
        return self._database

    @contextmanager
    def _cursor(self, otherwise: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of its own; what DuckDB says of the file, disk or memory becomes StoreUnavailable."""
        with self._guard:
            cursor = self._ready().cursor()
            self._cursors += 1
        try:
            yield cursor
        except BaseException as error:
            _roll_back(cursor)
            if isinstance(error, duckdb.FatalException | duckdb.InternalError):
                self._drop_connection()
            if isinstance(error, (*_FAILURES, MemoryError)):
                raise StoreUnavailable(f"{otherwise} in {self.path}: {error}; nothing of the call counts as done") from error
            raise
        finally:
            cursor.close()
            with self._guard:
                self._cursors -= 1
                self._guard.notify_all()

    @contextmanager
    def _quiet(self) -> Iterator[bool]:
        """Hold new reads back for a moment; whether those going on have ended meanwhile. The caller has the only other cursor."""
        with self._guard:
            yield self._guard.wait_for(lambda: self._cursors == 1, timeout=_QUIET_WITHIN_S)

    def _drop_connection(self) -> None:
        """DuckDB has given this connection up; the next call opens the file again."""
        with self._guard:
            if self._database is not None:
                self._database.close()
                self._database = None


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.Error):  # no transaction was open, or the connection is gone with it
        cursor.rollback()

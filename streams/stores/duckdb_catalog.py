"""What is in a DuckDB store: its tables, the types, channels and twins it has met, and what is held of them in memory.

A type has two tables of the same columns: `hot_<id>` in the order of arrival, and `cold_<id>`, sorted by twin and time, to which
full hot tables move: so a write is an append, and months of one twin are read from few blocks. Each channel has four
columns: value, quality bits, expected, spread. There is no index: see docs/performance.md for what it would cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from streams.stores.newest import Newest
from streams.stores.port import StoreRefused

SCHEMA_VERSION = "1"
_TABLES = """
CREATE TABLE meta(key VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE types(id INTEGER, dtmi VARCHAR);
CREATE TABLE channels(type INTEGER, position INTEGER, name VARCHAR);
CREATE TABLE assets(type INTEGER, row INTEGER, name VARCHAR);
CREATE TABLE epochs(log VARCHAR, partition INTEGER, epoch BIGINT, written_ms BIGINT, PRIMARY KEY (log, partition));
CREATE TABLE alerts(
    id VARCHAR PRIMARY KEY, revision BIGINT, asset VARCHAR, onset_ns BIGINT, cleared_ns BIGINT, record VARCHAR);
CREATE TABLE swaps(
    name VARCHAR, partition INTEGER, epoch BIGINT, time_ns BIGINT, record VARCHAR, PRIMARY KEY (name, partition, epoch));
"""
STEP_COLUMNS = ("asset INTEGER", "time BIGINT", "risk FLOAT", "score FLOAT", "version VARCHAR")


class TypeTable:
    """One type: its tables' names and the newest steps of its twins."""

    def __init__(self, id_: int, newest: Newest, hot_rows: int = 0) -> None:
        self.id = id_
        self.newest = newest
        self.hot_rows = hot_rows

    @property
    def hot(self) -> str:
        return f"hot_{self.id}"

    @property
    def cold(self) -> str:
        return f"cold_{self.id}"

    @property
    def row_bytes(self) -> int:
        """Of one step, before compression."""
        return 20 + 13 * len(self.newest.channels)

    def columns(self) -> list[str]:
        """Names of all columns, in the order in which steps are inserted."""
        return [column.split()[0] for column in STEP_COLUMNS] + [
            f"{kind}{position}" for position in range(len(self.newest.channels)) for kind in "vqes"
        ]

    def steps(self, columns: Sequence[str], where: str) -> str:
        """A subquery over both tables."""
        names = ", ".join(columns)
        return f"(SELECT {names} FROM {self.hot} WHERE {where} UNION ALL SELECT {names} FROM {self.cold} WHERE {where})"


def channel_columns(position: int) -> tuple[str, ...]:
    return f"v{position} FLOAT", f"q{position} UTINYINT", f"e{position} FLOAT", f"s{position} FLOAT"


def create_or_check(cursor: duckdb.DuckDBPyConnection, path: str) -> None:
    """Make the tables in a new file. Raises StoreRefused when the file is of something else or of another schema."""
    tables = {row[0] for row in cursor.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()}
    if not tables:
        cursor.begin()
        cursor.execute(_TABLES)
        cursor.execute("INSERT INTO meta VALUES ('schema', ?)", [SCHEMA_VERSION])
        cursor.commit()
        return
    found = cursor.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() if "meta" in tables else None
    if found is None or found[0] != SCHEMA_VERSION:
        what = f"schema {found[0]}" if found else f"tables {sorted(tables)[:5]}"
        raise StoreRefused(
            f"store {path} not opened: found {what}, expected livetwin's schema {SCHEMA_VERSION}; the file is left as it is"
        )


class Catalog:
    """All types of the store. What is in memory here is what is committed in the file."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.types: dict[str, TypeTable] = {}
        for id_, dtmi in cursor.execute("SELECT id, dtmi FROM types ORDER BY id").fetchall():
            channels = cursor.execute("SELECT name FROM channels WHERE type = ? ORDER BY position", [id_]).fetchall()
            assets = cursor.execute("SELECT name FROM assets WHERE type = ? ORDER BY row", [id_]).fetchall()
            hot_rows = cursor.execute(f"SELECT count(*) FROM hot_{id_}").fetchone()
            newest = Newest(dtmi, [row[0] for row in channels], [row[0] for row in assets])
            self.types[dtmi] = TypeTable(id_, newest, hot_rows[0] if hot_rows else 0)

    def holding(self, asset: str) -> list[TypeTable]:
        """Types under which steps of this asset are kept."""
        return [table for table in self.types.values() if len(table.newest.rows([asset]))]

    def ensure(self, cursor: duckdb.DuckDBPyConnection, dtmi: str, channels: Sequence[str], assets: Sequence[str]) -> TypeTable:
        """The type's table, with these channels and twins; commits what has to be added."""
        known = self.types.get(dtmi)
        have = known.newest.channels if known else []
        new_channels = [name for name in channels if name not in have]
        new_assets = list(dict.fromkeys(name for name in assets if known is None or name not in known.newest.row_of))
        if known and not new_channels and not new_assets:
            return known
        id_ = known.id if known else len(self.types)
        cursor.begin()
        if known is None:
            cursor.execute("INSERT INTO types VALUES (?, ?)", [id_, dtmi])
            for name in (f"hot_{id_}", f"cold_{id_}"):
                cursor.execute(f"CREATE TABLE {name}({', '.join(STEP_COLUMNS)})")
        for position, name in enumerate(new_channels, start=len(have)):
            cursor.execute("INSERT INTO channels VALUES (?, ?, ?)", [id_, position, name])
            for table in (f"hot_{id_}", f"cold_{id_}"):
                for column in channel_columns(position):
                    cursor.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
        if new_assets:
            cursor.execute(
                "INSERT INTO assets SELECT $1, $2 + unnest(range(len($3::VARCHAR[]))), unnest($3::VARCHAR[])",
                [id_, len(known.newest.assets) if known else 0, new_assets],
            )
        cursor.commit()
        if known is None:
            known = self.types[dtmi] = TypeTable(id_, Newest(dtmi, [], []))
        known.newest.add_channels(new_channels)
        known.newest.add_assets(new_assets)
        return known

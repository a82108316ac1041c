"""Stores: where history, alerts and swaps are kept for queries. One port, one contract suite, many backends."""

from __future__ import annotations

from pathlib import Path

from streams.stores.port import StoreRefused, TwinStore


def open_store(address: str, *, home: Path) -> TwinStore:
    """Open `duckdb:PATH`; with an empty path, `store.duckdb` under `home`.

    Raises:
        StoreRefused: no store of that kind, or a file that is not livetwin's.
        StoreUnavailable: the file is held by another process, or the disk fails.
    """
    kind, _, rest = address.partition(":")
    if kind == "duckdb":
        from streams.stores.duckdb import DuckDbStore

        return DuckDbStore(Path(rest).expanduser() if rest else home / "store.duckdb")
    raise StoreRefused(f"store {address!r} not opened: found kind {kind!r}, expected duckdb:PATH; nothing is stored")

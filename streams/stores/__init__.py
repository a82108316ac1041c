"""Stores: where history, alerts and swaps are kept for queries. One port, one contract suite, many backends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from streams.stores.port import StoreRefused, TwinStore


@dataclass(frozen=True, slots=True)
class InfluxDbAccess:
    """What an InfluxDB lets livetwin in by; `bucket` is also the name of the database in InfluxQL."""

    token: str = field(repr=False)
    org: str = "livetwin"
    bucket: str = "livetwin"


def open_store(address: str, *, home: Path, influxdb: InfluxDbAccess | None = None) -> TwinStore:
    """Open `duckdb:PATH`; with an empty path, `store.duckdb` under `home`. Or `influxdb:URL`, which is first asked when used.

    Raises:
        StoreRefused: no store of that kind, or a file that is not livetwin's.
        StoreUnavailable: the file is held by another process, or the disk fails.
    """
    kind, _, rest = address.partition(":")
    if kind == "duckdb":
        from streams.stores.duckdb import DuckDbStore

        return DuckDbStore(Path(rest).expanduser() if rest else home / "store.duckdb")
    if kind == "influxdb":
        from streams.stores.influxdb import InfluxDbStore

        url = urlsplit(rest)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise StoreRefused(f"store {address!r} not opened: found no http address, expected influxdb:http://HOST:8086")
        if influxdb is None or not influxdb.token:
            raise StoreRefused(f"store {address!r} not opened: no token, expected LIVETWIN_INFLUXDB_TOKEN or _TOKEN_FILE")
        return InfluxDbStore(rest, token=influxdb.token, org=influxdb.org, bucket=influxdb.bucket)
    raise StoreRefused(
        f"store {address!r} not opened: found kind {kind!r}, expected duckdb:PATH or influxdb:URL; nothing is stored"
    )

"""How a contract's test gets a store, and what it compares."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path
from typing import Protocol

from hypothesis import HealthCheck, settings

from deploy.influxd import InfluxDbAddress
from streams.stores.duckdb import DuckDbStore
from streams.stores.influxdb import InfluxDbStore
from streams.stores.port import TwinStore

CONTRACT = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)


class Backend(Protocol):
    """One kind of store."""

    def address(self) -> str:
        """Of a new, empty store."""
        ...

    def open(self, address: str) -> TwinStore: ...

    def words(self, address: str) -> list[str]:
        """By which `write_until_killed.py` opens it."""
        ...


class DuckDbBackend:
    """A file a store, in a folder."""

    def __init__(self, folder: Path, **settings: int) -> None:
        self._settings = settings
        self._paths = (folder / f"{number}.duckdb" for number in itertools.count())

    def address(self) -> str:
        return f"duckdb:{next(self._paths)}"

    def open(self, address: str) -> DuckDbStore:
        return DuckDbStore(Path(address.removeprefix("duckdb:")), **self._settings)

    def words(self, address: str) -> list[str]:
        return [address]


class InfluxDbBackend:
    """Buckets of its own a store, on one server."""

    def __init__(self, server: InfluxDbAddress) -> None:
        self._server = server

    def address(self) -> str:
        return f"t{uuid.uuid4().hex[:12]}"

    def open(self, address: str) -> InfluxDbStore:
        return InfluxDbStore(self._server.url, token=self._server.token, org=self._server.org, bucket=address)

    def words(self, address: str) -> list[str]:
        return [f"influxdb:{self._server.url}", self._server.token, self._server.org, address]


def everything(store: TwinStore) -> object:
    """All that can be read of a store."""
    latest = store.latest()
    assets = [twin.asset for twin in latest]
    spans = [store.span(asset) for asset in assets]
    histories = [store.history(asset, channels=None, from_ns=-(2**60), to_ns=2**60, points=10**6) for asset in assets]
    return repr((latest, spans, histories, store.alerts(), store.swaps()))

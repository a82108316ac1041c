"""How a contract's test gets a store, and what it compares."""

from __future__ import annotations

from typing import Protocol

from hypothesis import HealthCheck, settings

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


def everything(store: TwinStore) -> object:
    """All that can be read of a store."""
    latest = store.latest()
    assets = [twin.asset for twin in latest]
    spans = [store.span(asset) for asset in assets]
    histories = [store.history(asset, channels=None, from_ns=-(2**60), to_ns=2**60, points=10**6) for asset in assets]
    return repr((latest, spans, histories, store.alerts(), store.swaps()))

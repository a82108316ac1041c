"""Every store keeps the contract of `streams.stores.port.TwinStore`: the same tests on each, a real InfluxDB among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.influxd import InfluxDbAddress
from tests.streams.stores.backend import Backend, DuckDbBackend, InfluxDbBackend
from tests.streams.stores.contract import StoreContract
from tests.streams.stores.contract_size import SizeContract


class TestDuckDbStore(StoreContract, SizeContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return DuckDbBackend(tmp_path)


class TestDuckDbStoreThatClustersAllTheTime(StoreContract, SizeContract):
    """Most steps lie in the cold tables, some in the hot ones."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return DuckDbBackend(tmp_path, cluster_bytes=600)


@pytest.mark.influxdb
class TestInfluxDbStore(StoreContract):
    """It can't hold a size: the server frees disk when it compacts."""

    @pytest.fixture
    def backend(self, influxdb: InfluxDbAddress) -> Backend:
        return InfluxDbBackend(influxdb)

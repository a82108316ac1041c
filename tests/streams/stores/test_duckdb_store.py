"""DuckDbStore keeps the contract of every store, and what is its own: one owner, whole snapshots, the file's size, full disks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from streams.stores.duckdb import DuckDbStore

from .backend import Backend
from .contract import StoreContract


class DuckDbBackend:
    def __init__(self, folder: Path, **settings: int) -> None:
        self._settings = settings
        self._paths = (folder / f"{number}.duckdb" for number in itertools.count())

    def address(self) -> str:
        return f"duckdb:{next(self._paths)}"

    def open(self, address: str) -> DuckDbStore:
        return DuckDbStore(Path(address.removeprefix("duckdb:")), **self._settings)


class TestDuckDbStore(StoreContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return DuckDbBackend(tmp_path)


class TestDuckDbStoreThatClustersAllTheTime(StoreContract):
    """Most steps lie in the cold tables, some in the hot ones."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return DuckDbBackend(tmp_path, cluster_bytes=600)

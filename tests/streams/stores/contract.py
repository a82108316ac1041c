"""What every store must do, written once: a backend's test class inherits `StoreContract` and gives it a `backend`.

The reference is plain Python over the same blocks (`reference.py`); nothing here knows how a store keeps its rows.
"""

from __future__ import annotations

import pytest

from .backend import Backend
from .contract_faults import FaultsContract
from .contract_reads import ReadsContract
from .contract_writes import WritesContract


class StoreContract(ReadsContract, WritesContract, FaultsContract):
    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

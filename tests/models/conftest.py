"""A small model trained on a fleet with a daily rhythm: what most tests of this room look at."""

from __future__ import annotations

import pytest
import torch

from models.training import Trained, train
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock


@pytest.fixture(scope="session")
def block() -> StepBlock:
    return rhythm()


@pytest.fixture(scope="session")
def trained(block: StepBlock) -> Trained:
    torch.set_num_threads(1)
    return train(type=type_of(block), block=block, base=None, number=1, alarms_per_twin_day=0.02, seed=7, threads=1)

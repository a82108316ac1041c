"""Adapters of another rank: room that is added changes nothing, what is cut is the least."""

from __future__ import annotations

import pytest
import torch

from models.network import Architecture, Forecaster
from models.structure import with_rank
from models.windows import CALENDAR_FEATURES

ARCHITECTURE = Architecture(twins=3, channels=2, rank=4)


@pytest.fixture
def network() -> Forecaster:
    torch.manual_seed(1)
    made = Forecaster(ARCHITECTURE)
    torch.nn.init.normal_(made.up)
    return made.eval()


def forecasts(network: Forecaster) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    rows = torch.arange(9) % 3
    x = torch.randn(9, ARCHITECTURE.past, 2, generator=generator)
    with torch.inference_mode():
        return torch.stack(network(rows, x, torch.ones_like(x), torch.zeros(9, CALENDAR_FEATURES)))


def test_more_rank_changes_no_forecast(network: Forecaster) -> None:
    grown = with_rank(network, 8).eval()
    assert grown.architecture.rank == 8
    torch.testing.assert_close(forecasts(grown), forecasts(network), rtol=1e-5, atol=1e-5)
    assert not torch.equal(grown.down[0], grown.down[1]), "and there is something to learn from"


def test_less_rank_keeps_the_largest_part_of_each_adapter(network: Forecaster) -> None:
    whole = network.down @ network.up
    for rank in (1, 2):
        cut = with_rank(network, rank)
        left_over = torch.linalg.svdvals(whole)[:, rank : ARCHITECTURE.rank].square().sum(dim=1).sqrt()
        torch.testing.assert_close((whole - cut.down @ cut.up).flatten(1).norm(dim=1), left_over, rtol=1e-3, atol=1e-3)


def test_rank_that_nobody_uses_goes_without_a_trace(network: Forecaster) -> None:
    with torch.no_grad():
        network.up[:, 2:] = 0
    torch.testing.assert_close(forecasts(with_rank(network, 2).eval()), forecasts(network), rtol=1e-4, atol=1e-4)

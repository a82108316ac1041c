"""Another structure: what is added changes no forecast, what is cut is the least; any is written, read, carried over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import version
from models.network import Architecture, Forecaster
from models.structure import BLOCKS_MAX, RANKS, Structure, restructured, with_block, with_rank, without_block
from models.training import Trained, train
from models.windows import CALENDAR_FEATURES
from tests.models.fleets import bits, type_of, windows_of
from tests.models.test_carried_twins import FAULTY, KNOWN, broken, left_out
from twin.block import StepBlock

ARCHITECTURE = Architecture(twins=3, channels=2, rank=4)


def forecaster(blocks: int = 0) -> Forecaster:
    torch.manual_seed(1)
    made = Forecaster(replace(ARCHITECTURE, blocks=blocks))
    torch.nn.init.normal_(made.up)
    for number in range(blocks):
        torch.nn.init.normal_(leaving(made, number), std=0.1)
    return made.eval()


def leaving(network: Forecaster, number: int) -> torch.Tensor:
    """Last weights of a block: zero when it begins."""
    return network.get_parameter(f"blocks.{number}.leave.weight")


def forecasts(network: Forecaster) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    rows = torch.arange(9) % 3
    x = torch.randn(9, ARCHITECTURE.past, 2, generator=generator)
    with torch.inference_mode():
        return torch.stack(network.eval()(rows, x, torch.ones_like(x), torch.zeros(9, CALENDAR_FEATURES)))


def test_more_rank_changes_no_forecast() -> None:
    network = forecaster()
    grown = with_rank(network, 8)
    assert grown.architecture.rank == 8
    torch.testing.assert_close(forecasts(grown), forecasts(network), rtol=1e-6, atol=1e-6)
    assert not torch.equal(grown.down[0], grown.down[1]), "and there is something to learn from"


def test_a_block_more_changes_no_bit_of_a_forecast_and_learns() -> None:
    network = forecaster(blocks=1)
    grown = with_block(network)
    assert grown.architecture.blocks == 2
    assert torch.equal(forecasts(grown), forecasts(network))
    x = torch.randn(4, ARCHITECTURE.past, 2)
    mean, _ = grown.train()(torch.zeros(4, dtype=torch.int64), x, torch.ones_like(x), torch.zeros(4, CALENDAR_FEATURES))
    torch.autograd.backward(mean.sum())
    gradient = leaving(grown, 1).grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_less_rank_keeps_the_largest_part_of_each_adapter() -> None:
    network = forecaster()
    whole = network.down @ network.up
    for rank in (0, 1, 2):
        cut = with_rank(network, rank)
        left_over = torch.linalg.svdvals(whole)[:, rank : ARCHITECTURE.rank].square().sum(dim=1).sqrt()
        torch.testing.assert_close((whole - cut.down @ cut.up).flatten(1).norm(dim=1), left_over, rtol=1e-3, atol=1e-3)


def test_rank_that_nobody_uses_goes_without_a_trace() -> None:
    network = forecaster()
    with torch.no_grad():
        network.up[:, 2:] = 0
    torch.testing.assert_close(forecasts(with_rank(network, 2)), forecasts(network), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("idle", [0, 1, 2])
def test_of_several_blocks_the_one_goes_that_costs_least(idle: int) -> None:
    network = forecaster(blocks=3)
    with torch.no_grad():
        leaving(network, idle).zero_()
    before = forecasts(network)
    smaller = restructured(network, Structure(4, 2), lambda one: float((forecasts(one) - before).abs().max()))
    assert Structure.of(smaller.architecture) == Structure(4, 2)
    assert torch.equal(forecasts(smaller), before)
    others = [without_block(network, which) for which in range(3) if which != idle]
    assert all((forecasts(one) - before).abs().max() > 1e-3 for one in others)


def test_every_neighbour_is_within_bounds_and_leads_back() -> None:
    for rank in RANKS:
        for blocks in range(BLOCKS_MAX + 1):
            now = Structure(rank, blocks)
            for one in now.neighbours():
                assert one.rank in RANKS
                assert 0 <= one.blocks <= BLOCKS_MAX
                assert now.within(one) != one.within(now)
                assert now in one.neighbours()


def made(
    block: StepBlock, base: Trained | None, structure: Structure | None, exclude: NDArray[np.bool_] | None = None
) -> Trained:
    return train(
        type=type_of(block),
        block=block,
        base=base.model if base else None,
        number=2,
        alarms_per_twin_day=0.02,
        seed=7,
        threads=1,
        exclude=exclude,
        structure=structure,
    )


@pytest.mark.parametrize("structure", [Structure(0, 0), Structure(16, 2)], ids=str)
def test_a_version_of_any_structure_is_trained_written_and_read_again(structure: Structure) -> None:
    first = made(KNOWN, None, structure)
    assert Structure.of(first.model.info.architecture) == structure
    again = version.decode(version.encode(first.model.info, first.model.detectors))
    given = windows_of(again, KNOWN, 200)
    assert bits(again.score(*given)) == bits(first.model.score(*given))


def test_a_version_without_blocks_says_nothing_of_them_as_versions_of_before(trained: Trained) -> None:
    assert "blocks" not in trained.model.info.as_dict()["architecture"]
    assert b"blocks" not in trained.payload[: 8 + int.from_bytes(trained.payload[:8], "little")]


@pytest.mark.parametrize("structure", [Structure(2, 0), Structure(8, 1)], ids=str)
def test_a_twin_that_is_carried_over_keeps_the_nearest_adapter_and_all_else_bit_for_bit(structure: Structure) -> None:
    first = made(KNOWN, None, None)
    second = made(broken(), first, structure, left_out(1.0))
    assert second.figures["twins_carried"] == 1
    asset = KNOWN.assets[FAULTY]
    before, after = (one.model.detectors.tensors() for one in (first, second))
    row_before, row_after = (int(one.model.rows([asset])[0]) for one in (first, second))
    nearest = with_rank(first.model.detectors.network, structure.rank)
    wanted = (nearest.down @ nearest.up)[row_before]
    torch.testing.assert_close((after["network.down"] @ after["network.up"])[row_after], wanted, rtol=1e-5, atol=1e-6)
    for name in ("loc", "scale", "network.bias", "network.step", "basis", "table_fused"):
        assert torch.equal(after[name][row_after], before[name][row_before])

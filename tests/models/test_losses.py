"""What forecasts can be taught by: each loss is least where it should be, two of them stand gross outliers, versions tell."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.losses import LOSSES
from models.network import TO_DEVIATION
from models.update import LossName, Update, UpdateJob
from models.updating import update
from tests.models.fleets import rhythm, type_of


def fitted(loss: LossName, sample: torch.Tensor) -> tuple[float, float]:
    """Mean and deviation for which the loss over the sample is least."""
    place = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([place], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        mean, log_scale = place[0].expand_as(sample), place[1].expand_as(sample)
        torch.autograd.backward(LOSSES[loss](mean, log_scale, sample).mean())
        optimizer.step()
    centre, log_scale = place.detach().tolist()
    return centre, math.exp(log_scale) * TO_DEVIATION


@pytest.mark.parametrize("loss", ["student", "gaussian", "quantile"])
def test_a_loss_is_least_at_the_centre_and_spread_of_what_comes(loss: LossName) -> None:
    sample = 2.0 + 0.5 * torch.randn(2000, generator=torch.Generator().manual_seed(1))
    centre, deviation = fitted(loss, sample)
    assert centre == pytest.approx(2.0, abs=0.05)
    assert deviation == pytest.approx(0.5, rel=0.25)


def test_two_gross_outliers_in_a_hundred_mislead_the_normal_distribution_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    sample = 2.0 + 0.5 * torch.randn(2000, generator=generator)
    sample[::50] = 20.0
    found = {loss: fitted(loss, sample) for loss in LOSSES}
    assert found["gaussian"][0] > 2.3
    assert found["gaussian"][1] > 2.0
    for loss in ("student", "quantile"):
        assert found[loss][0] == pytest.approx(2.0, abs=0.05), loss
        assert found[loss][1] < 1.0, loss


def test_a_version_tells_what_it_was_taught_by_and_is_another_one(tmp_path: Path) -> None:
    block = rhythm(twins=2, steps=300)
    nothing = np.zeros(block.values.shape[:2], np.bool_)
    job = UpdateJob(
        tmp_path, type_of(block), block, nothing, None, fine_tune=False, number=1, alarms_per_twin_day=0.02, seed=7, threads=1
    )
    usual, other = update(job), update(replace(job, loss="quantile"))
    assert isinstance(usual, Update)
    assert isinstance(other, Update)
    assert "taught_by_quantile" not in usual.figures
    assert other.figures["taught_by_quantile"] == 1
    assert other.sha256 != usual.sha256

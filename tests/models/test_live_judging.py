"""Two versions on live steps: worse is worse for a reason, and what chance explains is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import version
from models.live import LiveJob
from models.live_judging import judge
from models.served import ServedModel
from models.training import Trained
from models.update import Weights
from models.weights import WeightFiles
from tests.models.bad_updates import changed, of_info, rebuilt
from tests.models.fleets import rhythm, type_of

STEPS = 48


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def kept(home: Path, model: ServedModel, name: str) -> Weights:
    path = WeightFiles(home).path(model.name, name)
    return Weights(name, path.as_uri(), version.save(model, path))


def job(home: Path, trained: Trained, newer: ServedModel, *, steps: int = STEPS, excluded: bool = False) -> LiveJob:
    block = rhythm(steps=1000, seed=21).between(700 - 64, 700 + steps)
    exclude = np.full(block.values.shape[:2], excluded)
    sides = kept(home, newer, "0002-newer"), kept(home, trained.model, "0001-older")
    return LiveJob(home, type_of(block), block, exclude, 64, *sides, alarms_per_twin_day=0.02, chance=1e-2)


def test_a_version_that_is_as_good_is_no_worse(home: Path, trained: Trained) -> None:
    verdict = judge(job(home, trained, changed(trained, "network.head.weight", by=lambda one: one * 1.001)))
    assert verdict.outcome == "no worse"
    assert verdict.figures["twin_steps"] == 5 * STEPS


def test_forecasts_that_are_worse_are_told_with_both_losses(home: Path, trained: Trained) -> None:
    verdict = judge(job(home, trained, changed(trained, "network.head.weight", by=lambda one: one * 3)))
    assert verdict.outcome == "worse"
    assert "0.02 more is allowed, and chance explains" in verdict.why


def test_one_twin_that_is_worse_is_named(home: Path, trained: Trained) -> None:
    def one_off(bias: torch.Tensor) -> torch.Tensor:
        return torch.cat([bias[:3], bias[3:4] + torch.tensor([0.0, -2.5]).repeat(16), bias[4:]])

    verdict = judge(job(home, trained, changed(trained, "network.bias", by=one_off)))
    assert verdict.outcome == "worse"
    assert "twin-3" in verdict.why or "more is allowed" in verdict.why


@pytest.mark.parametrize("excluded", [False, True])
def test_a_version_that_alarms_does_not_hide_behind_its_alerts(home: Path, trained: Trained, excluded: bool) -> None:
    noisy = changed(trained, "table_fused", by=lambda one: one * 0.2)
    verdict = judge(job(home, trained, noisy, excluded=excluded))
    assert verdict.outcome == "worse"
    assert "alarms against 0 in" in verdict.why


def test_a_version_that_takes_too_long_is_worse(home: Path, trained: Trained) -> None:
    assert "64 rows against" in judge(job(home, trained, rebuilt(trained, width=128, hidden=768), steps=3)).why


def test_too_few_steps_say_nothing(home: Path, trained: Trained) -> None:
    assert judge(job(home, trained, trained.model, steps=3)).outcome == "undecided"
    assert judge(job(home, trained, trained.model, excluded=True)).outcome == "undecided"


def test_weights_that_are_gone_are_worse_than_any(home: Path, trained: Trained) -> None:
    found = job(home, trained, of_info(trained, version="0002-newer"))
    WeightFiles(home).path(trained.model.name, "0002-newer").write_bytes(b"something else")
    assert judge(found).why.startswith("it does not load any more: hash: ")
    WeightFiles(home).path(trained.model.name, "0001-older").unlink()
    assert judge(found).outcome == "worse"

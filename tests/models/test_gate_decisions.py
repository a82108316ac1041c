"""The gate lets a better or equal version serve, and says in numbers why another one may not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import version
from models.gate import compare
from models.served import ServedModel
from models.training import Trained
from tests.models.fleets import rhythm
from twin.block import StepBlock


@pytest.fixture(scope="module")
def holdout() -> StepBlock:
    return rhythm(seed=9).between(450, 700)


def disturbed(trained: Trained, name: str, factor: float) -> ServedModel:
    model = version.decode(trained.payload)
    tensor = model.detectors.state_dict()[name]
    tensor.copy_(tensor * factor if factor else torch.full_like(tensor, torch.nan))
    return model


def test_the_first_model_is_promoted_when_its_checks_hold(trained: Trained, holdout: StepBlock) -> None:
    decision = compare(trained.model, None, holdout, start=64)
    assert decision.promote
    assert decision.why.startswith("first model: loss ")
    assert decision.figures["candidate_twins"] == 5


def test_an_equal_version_is_promoted(trained: Trained, holdout: StepBlock) -> None:
    decision = compare(version.decode(trained.payload), trained.model, holdout, start=64)
    assert decision.promote
    assert decision.figures["candidate_loss"] == decision.figures["champion_loss"]


def test_a_version_that_forecasts_worse_is_refused_with_both_losses(trained: Trained, holdout: StepBlock) -> None:
    decision = compare(disturbed(trained, "network.head.weight", 3.0), trained.model, holdout, start=64)
    assert not decision.promote
    assert decision.why.startswith("refused: loss ")
    assert "of the champion on the same" in decision.why


def test_a_version_that_is_better_over_all_and_far_off_on_one_twin_is_refused(trained: Trained, holdout: StepBlock) -> None:
    def off(row: int, by: float) -> ServedModel:
        model = version.decode(trained.payload)
        model.detectors.state_dict()["network.bias"][row] += by
        return model

    decision = compare(off(0, 3.0), off(1, 4.0), holdout, start=64)
    assert decision.figures["candidate_loss"] < decision.figures["champion_loss"]
    assert not decision.promote
    assert "1 twins are worse by more than 0.5 nats, 0 at most expected (the worst, twin-0, by " in decision.why


def test_a_version_that_alarms_on_normal_steps_is_refused(trained: Trained, holdout: StepBlock) -> None:
    for champion in (None, trained.model):
        decision = compare(disturbed(trained, "table_shape", 0.2), champion, holdout, start=64)
        assert not decision.promote
        assert "alarms in" in decision.why


def test_a_version_that_is_not_finite_is_refused(trained: Trained, holdout: StepBlock) -> None:
    decision = compare(disturbed(trained, "network.head.bias", 0.0), trained.model, holdout, start=64)
    assert not decision.promote
    assert "not finite" in decision.why


def test_a_hold_out_with_next_to_nothing_in_it_decides_nothing(trained: Trained, holdout: StepBlock) -> None:
    decision = compare(trained.model, None, holdout, start=holdout.steps - 2)
    assert not decision.promote
    assert "only 10 twin-steps" in decision.why


def test_excluded_steps_are_not_held_against_a_version(trained: Trained, holdout: StepBlock) -> None:
    values = holdout.values.copy()
    values[0, 150:, 1] += 30
    faulty = StepBlock(holdout.assets, holdout.channels, holdout.first_step, holdout.period_ns, values, holdout.quality)
    exclude = np.zeros(values.shape[:2], np.bool_)
    exclude[0, 150:] = True
    assert compare(trained.model, None, faulty, start=64).figures["candidate_alarms"] > 0
    assert compare(trained.model, None, faulty, start=64, exclude=exclude).figures["candidate_alarms"] == 0

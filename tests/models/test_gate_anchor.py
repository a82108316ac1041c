"""Candidates that are each hardly worse than the last do not add up: the best of earlier champions is an anchor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.gate import Decision, compare
from models.served import ServedModel
from models.training import Trained
from tests.models.bad_updates import changed, of_info, tables
from tests.models.fleets import rhythm
from twin.block import StepBlock


@pytest.fixture(scope="module")
def holdout() -> StepBlock:
    return rhythm(seed=9).between(450, 700)


def named(model: ServedModel, number: int) -> ServedModel:
    model.info = replace(model.info, version=f"{number:04d}-chain", base=None)
    return model


def less_sure(trained: Trained, by: float, number: int) -> ServedModel:
    """A version whose forecasts are as good and whose spreads are wider, which costs loss."""
    return named(changed(trained, "network.head.bias", by=lambda one: one + torch.tensor([0.0, by]).repeat(16)), number)


def chain(versions: list[ServedModel], holdout: StepBlock, *, anchored: bool) -> list[Decision]:
    """Each judged beside the champion that the ones before it have left, and the champions before that."""
    served, decisions = [versions[0]], []
    for candidate in versions[1:]:
        decision = compare(candidate, served[-1], holdout, start=64, earlier=served[:-1] if anchored else ())
        decisions.append(decision)
        if decision.promote:
            served.append(candidate)
    return decisions


def test_losses_that_are_each_hardly_higher_do_not_add_up(trained: Trained, holdout: StepBlock) -> None:
    versions = [less_sure(trained, by, number) for number, by in enumerate((0.0, 0.2, 0.27))]
    alone = chain(versions, holdout, anchored=False)
    assert all(one.promote for one in alone), [one.why for one in alone]
    decisions = chain(versions, holdout, anchored=True)
    assert decisions[0].promote
    assert not decisions[-1].promote
    assert "nats worse than 0000-chain, which served before, 0.02 is allowed" in decisions[-1].why
    assert decisions[-1].anchors[0] == "0000-chain"


def test_one_that_is_better_than_the_champion_serves_though_an_older_one_was_better_still(
    trained: Trained, holdout: StepBlock
) -> None:
    best, champion, candidate = (less_sure(trained, by, number) for number, by in enumerate((0.0, 1.0, 0.8)))
    decision = compare(candidate, champion, holdout, start=64, earlier=[best])
    assert decision.promote, decision.why
    assert decision.anchors[0] == best.version
    assert decision.figures["anchor_loss_below"] > 0.1


def test_faults_that_are_each_hardly_fewer_do_not_add_up(trained: Trained, holdout: StepBlock) -> None:
    versions = [
        named(changed(trained, *tables("fused"), by=lambda one, by=by: one * by), number)
        for number, by in enumerate((1.0, 1.1, 1.2, 1.3, 1.4, 1.5))
    ]
    alone = chain(versions, holdout, anchored=False)
    assert all(one.promote for one in alone), [one.why for one in alone]
    decisions = chain(versions, holdout, anchored=True)
    refused = [one for one in decisions if not one.promote]
    assert refused
    assert "of 0000-chain, which served before" in refused[-1].why
    assert refused[-1].anchors[-1] == "0000-chain"


def test_a_version_of_other_twins_is_compared_on_those_it_knows(trained: Trained, holdout: StepBlock) -> None:
    renamed = named(of_info(trained, assets=("twin-0", "a", "b", "c", "d")), 1)
    decision = compare(less_sure(trained, 0.05, 3), trained.model, holdout, start=64, earlier=[renamed])
    assert decision.stages[-1].name == "anchor"
    assert decision.stages[-1].passed, decision.why

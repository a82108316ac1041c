"""A twin of which too little may train is taken over from the version before as it is: judged as before, its alert stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.carrying import PER_TWIN
from models.evaluate import evaluate
from models.risk import RiskState
from models.training import Trained, TrainingImpossible, train
from tests.models.fleets import rhythm, type_of
from tests.models.test_old_regimes import stretches_of
from twin.block import StepBlock
from twin.stretches import Stretches

LEARNT, NEW, FAULTY = 500, 420, 1
KNOWN = rhythm(twins=3, steps=LEARNT)


def broken() -> StepBlock:
    """What came after: a sensor of one twin is off all the time."""
    block = rhythm(twins=3, steps=NEW, seed=2, first_step=KNOWN.first_step + LEARNT)
    block.values[FAULTY, :, 0] += 15.0
    return block


def trained(
    block: StepBlock,
    base: Trained | None = None,
    *,
    exclude: np.ndarray | None = None,
    old: Stretches | None = None,
    anew: bool = False,
) -> Trained:
    return train(
        type=type_of(block),
        block=block,
        base=base.model if base else None,
        number=2 if base else 1,
        alarms_per_twin_day=0.02,
        seed=7,
        threads=1,
        exclude=exclude,
        old=old,
        anew=anew,
    )


def left_out(share: float) -> np.ndarray:
    """The newest steps of the faulty twin."""
    found = np.zeros((3, NEW), np.bool_)
    found[FAULTY, NEW - int(share * NEW) :] = True
    return found


def slices(version: Trained, twin: str) -> dict[str, torch.Tensor]:
    row = int(version.model.rows([twin])[0])
    tensors = version.model.detectors.tensors()
    return {name: tensors[name][row] for name in PER_TWIN}


@pytest.fixture(scope="module")
def first() -> Trained:
    return trained(KNOWN)


@pytest.fixture(scope="module")
def second(first: Trained) -> Trained:
    return trained(broken(), first, exclude=left_out(1.0), old=stretches_of(KNOWN))


def test_a_twin_under_an_alert_for_the_whole_record_keeps_all_its_tensors_and_the_others_learn(
    first: Trained, second: Trained
) -> None:
    assert second.figures["twins_carried"] == 1
    assert (second.figures["twins"], second.figures["twins_learning"]) == (3, 0)
    before, after = slices(first, "twin-1"), slices(second, "twin-1")
    assert all(torch.equal(before[name], after[name]) for name in PER_TWIN)
    before, after = slices(first, "twin-2"), slices(second, "twin-2")
    assert not any(torch.equal(before[name], after[name]) for name in PER_TWIN if name not in ("good_share", "table_pattern"))


def test_its_alert_stays_when_the_next_version_serves(first: Trained, second: Trained) -> None:
    alarmed, block = RiskState(3), broken()
    assert [one.asset for one in evaluate(first.model, block.between(0, 200), risk=alarmed).alarms] == ["twin-1"]
    later = evaluate(second.model, block, start=200, risk=alarmed)
    assert later.scored[FAULTY, 200:].all()
    assert later.alarm[FAULTY, 200:].all()
    assert not later.alarms, "no twin alarms anew"


@pytest.mark.parametrize(("share", "carried"), [(0.85, 1), (0.5, 0)])
def test_a_twin_is_not_fitted_to_the_little_that_is_left_of_it(first: Trained, share: float, carried: int) -> None:
    found = trained(broken(), first, exclude=left_out(share))
    assert found.figures["twins_carried"] == carried
    same = torch.equal(slices(first, "twin-1")["loc"], slices(found, "twin-1")["loc"])
    assert same == bool(carried)


def test_a_version_is_not_trained_anew_where_a_twin_would_be_lost(first: Trained) -> None:
    kept = trained(broken(), first, exclude=left_out(1.0), anew=True).model.info
    assert (kept.base, set(kept.assets)) == (first.model.version, set(KNOWN.assets))
    assert trained(broken(), first, anew=True).model.info.base is None


def test_where_all_twins_are_left_out_nothing_is_trained(first: Trained) -> None:
    with pytest.raises(TrainingImpossible, match=r"none of 3 twins .* 3 twins are known already and mostly left out"):
        trained(broken(), first, exclude=np.ones((3, NEW), np.bool_))

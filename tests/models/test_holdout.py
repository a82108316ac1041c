"""What an update holds out for the gate: enough to judge on, and no more than it must, as what is held out is not learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import version
from models.drift import look_for_drift
from models.split import HOLDOUT_SHARE
from models.training import Trained
from models.update import DriftFound, DriftJob, Update, UpdateJob, Weights
from models.updating import update
from models.version import save
from models.weights import WeightFiles, path_of
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock

STEPS_A_DAY = 144


def as_champion(trained: Trained, home: Path) -> Weights:
    path = WeightFiles(home).path(trained.model.name, trained.model.version)
    return Weights(trained.model.version, path.as_uri(), save(trained.model, path))


def job(home: Path, block: StepBlock, champion: Weights) -> UpdateJob:
    nothing = np.zeros(block.values.shape[:2], np.bool_)
    return UpdateJob(
        home, type_of(block), block, nothing, champion, fine_tune=True, number=2, alarms_per_twin_day=0.02, seed=7, threads=1
    )


@pytest.mark.parametrize(("new_days", "held_out"), [(1, STEPS_A_DAY), (4, 4 * STEPS_A_DAY // 3)])
def test_an_update_holds_out_a_third_of_what_is_new_and_a_day_at_least(
    trained: Trained, tmp_path: Path, new_days: int, held_out: int
) -> None:
    learnt = trained.model.info.trained_to_ns // rhythm().period_ns
    after = new_days * STEPS_A_DAY
    block = rhythm(steps=400 + 700 + after, first_step=learnt - 1100)
    assert int((block.time_ns() > trained.model.info.trained_to_ns).sum()) == after
    found = update(job(tmp_path, block, as_champion(trained, tmp_path)))
    assert isinstance(found, Update)
    assert found.figures["twin_days"] * STEPS_A_DAY == pytest.approx(held_out * len(block.assets))
    assert version.header(path_of(found.uri)).holdout_steps == held_out


def test_drift_is_measured_from_where_the_hold_out_of_the_champion_begins(trained: Trained, tmp_path: Path) -> None:
    block = rhythm(steps=900)

    def first_step(holdout_steps: int | None) -> int:
        told = replace(trained, model=version.decode(trained.payload))
        told.model.info = replace(told.model.info, holdout_steps=holdout_steps)
        found = look_for_drift(DriftJob(tmp_path, type_of(block), block, as_champion(told, tmp_path), None, 999, -1, threads=1))
        assert isinstance(found, DriftFound)
        return found.surprises.first_step - block.first_step

    assert first_step(50) == 650
    assert first_step(None) == 700 - int(700 * HOLDOUT_SHARE), "a version of before says nothing of it"

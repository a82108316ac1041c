"""A structure that is tried beside the champion's: taken where it is surely better, or smaller and surely no worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models import gate_holdout, structure_trial, version
from models.gate_stage import Stretch
from models.served import ServedModel
from models.structure import Structure
from models.structure_trial import verdict
from models.training import Trained
from models.update import Update, UpdateJob
from models.updating import update
from models.weights import path_of
from tests.models.fleets import reshaped, rhythm
from tests.models.test_holdout import STEPS_A_DAY, as_champion, job

SMALL, USUAL, LARGE = Structure(2, 0), Structure(4, 0), Structure(8, 1)


def in_trouble(model: ServedModel) -> ServedModel:
    """The same version, with twins that mistake where they go."""
    made = version.decode(version.encode(model.info, model.detectors))
    made.detectors.network.bias.add_(0.7)
    return made


@pytest.fixture(scope="module")
def newest(trained: Trained) -> Stretch:
    return Stretch(rhythm(steps=400, first_step=trained.model.info.trained_to_ns // rhythm().period_ns), 64)


def test_a_larger_structure_must_win_and_surely(trained: Trained, newest: Stretch) -> None:
    model, grown = trained.model, reshaped(trained.model, LARGE)
    same = verdict(grown, model, newest)
    assert (same.taken, abs(same.worse) < 1e-4) == (False, True)
    assert same.found.startswith(f"{LARGE} instead of {USUAL} not taken: loss ")
    assert same.found.endswith("it must win 0.005, and more than chance explains")
    assert verdict(grown, in_trouble(model), newest).taken
    two_hours = replace(newest, start=newest.block.steps - 12)
    by_chance = verdict(grown, in_trouble(model), two_hours)
    assert (by_chance.taken, by_chance.worse < -0.01) == (False, True), "as likely as not it is chance"


def test_a_smaller_structure_must_surely_cost_nothing(trained: Trained, newest: Stretch) -> None:
    grown = reshaped(trained.model, LARGE)
    cut = verdict(trained.model, grown, newest)
    assert (cut.taken, cut.found.startswith(f"{USUAL} instead of {LARGE}: loss ")) == (True, True)
    assert not verdict(in_trouble(trained.model), grown, newest).taken
    assert not verdict(trained.model, grown, replace(newest, start=newest.block.steps - 3)).taken, "too little to be sure"


def asked(trained: Trained, home: Path, trial: int | None) -> UpdateJob:
    learnt = trained.model.info.trained_to_ns // rhythm().period_ns
    block = rhythm(steps=1100 + STEPS_A_DAY, first_step=learnt - 1100)
    return replace(job(home, block, as_champion(trained, home)), trial=trial)


def told(found: object) -> tuple[Update, Structure, str]:
    """The update, the structure of what it wrote, and what was said of the trial."""
    assert isinstance(found, Update)
    said = [stage.why for stage in found.stages if stage.name == "structure"]
    return found, Structure.of(version.header(path_of(found.uri)).architecture), said[0] if said else ""


def test_an_update_is_the_same_beside_a_structure_that_is_not_taken(trained: Trained, tmp_path: Path) -> None:
    alone, _, silent = told(update(asked(trained, tmp_path, None)))
    found, written, said = told(update(asked(trained, tmp_path, 0)))
    assert (written, silent) == (USUAL, "")
    assert said.startswith(f"{Structure(8, 0)} instead of {USUAL} not taken: loss ")
    assert (found.sha256, found.promote) == (alone.sha256, alone.promote)
    assert found.figures["structure_worse"] > -found.figures["structure_by_chance"]


def test_what_is_taken_is_the_version_and_goes_through_the_gate(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure_trial, "COST_MAX", 9.0)
    found, written, said = told(update(asked(trained, tmp_path, 2)))
    assert (found.promote, written) == (True, SMALL), found.why
    assert said.startswith(f"{SMALL} instead of {USUAL}: loss ")
    monkeypatch.setattr(gate_holdout, "LOSS_TOLERANCE", -9.0)  # and one that it refuses leaves the other
    found, written, said = told(update(asked(trained, tmp_path, 2)))
    assert (found.promote, written) == (False, USUAL)
    assert "but not let through: loss " in said


def test_what_is_too_large_or_too_slow_is_not_taken_whatever_it_wins(trained: Trained, newest: Stretch) -> None:
    huge = verdict(reshaped(trained.model, Structure(256, 0)), in_trouble(trained.model), newest)
    assert not huge.taken
    assert huge.found.startswith(f"{Structure(256, 0)} instead of {USUAL} not taken: ")
    assert "of the champion, " in huge.found

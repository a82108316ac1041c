"""Drift is found when a type behaves otherwise, not when a twin has a fault; looks in pieces find what one look finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import version
from models.drift import look_for_drift
from models.training import Trained
from models.update import DriftFound, DriftJob, Surprises, UpdateFailed, Weights
from models.weights import WeightFiles
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock

NEW = 300  # steps after those that the version knows


@pytest.fixture
def weights(trained: Trained, tmp_path: Path) -> Weights:
    path = WeightFiles(tmp_path).path(trained.model.name, trained.model.version)
    return Weights(trained.model.version, path.as_uri(), version.save(trained.model, path))


def later(block: StepBlock) -> StepBlock:
    """The trained record and what came after it."""
    more = rhythm(steps=NEW, seed=9, first_step=block.first_step + block.steps)
    joined = [np.concatenate([getattr(block, name), getattr(more, name)], axis=1) for name in ("values", "quality")]
    return replace(block, values=joined[0], quality=joined[1])


def look(
    home: Path,
    weights: Weights,
    block: StepBlock,
    earlier: Surprises | None = None,
    *,
    ignored_to: int = -1,
    steps_max: int = 999,
) -> DriftFound:
    found = look_for_drift(DriftJob(home, type_of(block), block, weights, earlier, steps_max, ignored_to, threads=1))
    assert isinstance(found, DriftFound)
    return found


def swinging_wider(block: StepBlock, twins: slice) -> StepBlock:
    """From the middle of what is new on, the pressure swings three times as far."""
    values = block.values.copy()
    at = block.steps - NEW // 2
    values[twins, at:, 1] = 40 + 3 * (values[twins, at:, 1] - 40)
    return replace(block, values=values)


def test_a_type_that_behaves_otherwise_has_drifted_and_one_that_does_not_has_not(
    block: StepBlock, weights: Weights, tmp_path: Path
) -> None:
    record = later(block)
    calm = look(tmp_path, weights, record)
    assert calm.risen is None
    assert calm.surprises.first_step == block.first_step + block.steps - int(block.steps * 0.15), "where its hold-out began"
    changed = look(tmp_path, weights, swinging_wider(record, slice(None)))
    assert changed.risen is not None
    assert changed.risen.startswith("median surprise rose from 0.")
    assert changed.risen.endswith(" to 2.00")
    assert look(tmp_path, weights, swinging_wider(record, slice(1, 2))).risen is None, "a fault of one twin"
    answered = record.first_step + record.steps
    assert look(tmp_path, weights, swinging_wider(record, slice(None)), ignored_to=answered).risen is None


def test_looks_in_pieces_find_what_one_look_finds(block: StepBlock, weights: Weights, tmp_path: Path) -> None:
    record = swinging_wider(later(block), slice(None))
    whole = look(tmp_path, weights, record)
    known: Surprises | None = None
    for stop in (block.steps - 40, block.steps + 100, block.steps + 101, record.steps):
        found = look(tmp_path, weights, record.between(0, stop), known)
        known = found.surprises
    assert known is not None
    np.testing.assert_array_equal(known.medians, whole.surprises.medians)
    assert found.risen == whole.risen


def test_a_look_scores_no_more_than_it_may_and_says_what_it_left_out(block: StepBlock, weights: Weights, tmp_path: Path) -> None:
    found = look(tmp_path, weights, later(block), steps_max=50).surprises
    assert np.isfinite(found.medians).sum() == 50
    assert np.isfinite(found.medians[-50:]).all()


def test_weights_that_are_not_there_are_a_reason(block: StepBlock, weights: Weights, tmp_path: Path) -> None:
    gone = replace(weights, uri=(tmp_path / "models" / "gone.safetensors").as_uri())
    found = look_for_drift(DriftJob(tmp_path, type_of(block), block, gone, None, 50, -1, threads=1))
    assert isinstance(found, UpdateFailed)
    assert found.why.startswith("missing: ")

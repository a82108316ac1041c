"""The reservoir is a sample of all of the past, the same whatever the order, the batches and the restarts; files keep it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.remembering import Remembering
from streams.reservoir import LENGTH, STRATA, Reservoir
from streams.training_periods import TrainingPeriods
from tests.streams.test_trainer_blocks import PERIOD_NS, TANK, alert
from twin.quality import Quality
from twin.stretches import Stretches
from twin.types import compile_type

CAPACITY = 2 * STRATA


def fill(reservoir: Reservoir | Remembering, assets: list[str], steps: range, batch: int = 500) -> None:
    """Every twin closes every step: its number, and a half more in the second channel."""
    pairs = [(asset, step) for step in steps for asset in assets]
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        step = np.array([step for _, step in part], np.int64)
        values = np.stack([step, step + 0.5], axis=1).astype(np.float32)
        columns = [asset for asset, _ in part], step, values, np.zeros(values.shape, np.uint8)
        reservoir.add(*columns) if isinstance(reservoir, Reservoir) else reservoir.add(TANK, *columns)


def bits(found: Stretches) -> tuple[object, ...]:
    return found.assets, found.first_step.tobytes(), found.values.tobytes(), found.quality.tobytes()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4000), st.integers(0, 20), st.lists(st.integers(0, 40 * LENGTH), max_size=4))
def test_the_sample_does_not_depend_on_batches_or_on_what_is_told_again(batch: int, begin: int, restarts: list[int]) -> None:
    assets, steps = ["a", "b", "c"], range(begin * LENGTH, (begin + 40) * LENGTH)
    once, again = (Reservoir(TANK, capacity=CAPACITY, seed=1) for _ in range(2))
    fill(once, assets, steps)
    at = steps.start
    for restart in sorted(restarts):
        fill(again, assets, range(at, min(steps.start + restart, steps.stop)), batch)
        at = max(steps.start, steps.start + restart - 3 * LENGTH // 2)  # what the log still has is folded again
    fill(again, assets, range(at, steps.stop), batch)
    assert bits(once.before(steps.stop)) == bits(again.before(steps.stop))
    whole = once.before(steps.stop)
    assert (whole.quality == 0).all()
    np.testing.assert_array_equal(whole.values[:, :, 0], (whole.first_step[:, None] + np.arange(LENGTH)).astype(np.float32))


def test_every_part_of_the_past_is_in_the_sample_and_it_stays_within_its_bound() -> None:
    reservoir = Reservoir(TANK, capacity=CAPACITY, seed=1)
    fill(reservoir, [f"t{number}" for number in range(6)], range(300 * LENGTH), batch=10_000)
    found = reservoir.before(300 * LENGTH)
    assert CAPACITY // 2 <= len(found) <= CAPACITY
    per_tenth = np.bincount(found.first_step * 10 // (300 * LENGTH), minlength=10)
    assert per_tenth.min() >= 3, per_tenth
    assert len(set(found.assets)) == 6
    assert (reservoir.before(30 * LENGTH).first_step <= 29 * LENGTH).all()
    assert len(Reservoir(TANK, capacity=CAPACITY, seed=2).before(0)) == 0


def test_another_seed_takes_another_sample() -> None:
    one, other = (Reservoir(TANK, capacity=CAPACITY, seed=seed) for seed in (1, 2))
    for reservoir in (one, other):
        fill(reservoir, ["a", "b", "c"], range(100 * LENGTH), batch=10_000)
    assert bits(one.before(100 * LENGTH)) != bits(other.before(100 * LENGTH))


def test_what_is_kept_in_files_is_there_after_a_restart_with_what_must_not_train(tmp_path: Path) -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert(2, state="cleared", cleared_ns=113 * PERIOD_NS).to_bytes())  # t1, steps 105 to 112
    before = Remembering(tmp_path, capacity=CAPACITY, seed=1)
    fill(before, ["t0", "t1"], range(5 * LENGTH))
    before.keep(periods, 5 * LENGTH - 1, TANK)
    after, told = Remembering(tmp_path, capacity=CAPACITY, seed=1), TrainingPeriods()
    after.load_periods(told)
    fill(after, ["t0", "t1"], range(5 * LENGTH - 10, 5 * LENGTH + 1))  # the rest of the log
    found = after.before(TANK, 5 * LENGTH, told)
    known = before.before(TANK, 5 * LENGTH, periods)
    assert found is not None
    assert known is not None
    assert bits(found[0]) == bits(known[0])
    left_out = {
        (found[0].assets[row], int(found[0].first_step[row] + at)) for row, at in zip(*np.nonzero(found[1].mask), strict=True)
    }
    assert left_out == {("t1", step) for step in range(105, 113)}
    np.testing.assert_array_equal(found[0].without(found[1].mask).quality[:, :, 1] != 0, found[1].mask)
    after.forget("t1")
    remaining = after.before(TANK, 5 * LENGTH, told)
    assert remaining is not None
    assert set(remaining[0].assets) == {"t0"}


@pytest.mark.parametrize("damage", ["cut off", "another contract", "another seed", "not a file of ours"])
def test_a_file_that_does_not_fit_is_left_alone(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "tank.npz"
    before = Reservoir(TANK, capacity=CAPACITY, seed=1)
    fill(before, ["a"], range(3 * LENGTH))
    before.save(path)
    kind, seed = TANK, 1
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:900])
    elif damage == "another contract":
        content = [{"@type": "Telemetry", "name": name, "schema": "double"} for name in ("level", "flow")]
        kind = compile_type({"@id": TANK.id, "@type": "Interface", "samplingPeriod": "PT5M", "contents": content})
    elif damage == "another seed":
        seed = 2
    else:
        path.write_bytes(b"PK\3\4 something else")
    after = Reservoir(kind, capacity=CAPACITY, seed=seed)
    after.load(path)
    assert len(after) == 0
    assert "reservoir-starts-anew" in caplog.text
    fill(after, ["a"], range(3 * LENGTH))
    assert len(after) == 3


def test_a_step_without_a_value_is_marked_missing() -> None:
    reservoir = Reservoir(TANK, capacity=CAPACITY, seed=1)
    reservoir.add(["a"], np.array([5]), np.array([[1.0, np.nan]], np.float32), np.zeros((1, 2), np.uint8))
    quality = reservoir.before(LENGTH).quality[0]
    assert quality[5].tolist() == [0, Quality.MISSING]
    assert (quality[:5] == Quality.MISSING).all()

"""Training gives the same version for the same input, learns from good steps only, and fine-tunes without forgetting."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from models import forecast_training, training
from models.alarm_rate import choose, onsets
from models.evaluate import evaluate
from models.fleet_fit import inherit
from models.network import Architecture, Forecaster
from models.split import holdout_steps
from models.training import Trained, TrainingImpossible, train
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock
from twin.quality import Quality


def trained_on(block: StepBlock, *, base: Trained | None = None, number: int = 1, exclude: np.ndarray | None = None) -> Trained:
    return train(
        type=type_of(block),
        block=block,
        base=base.model if base else None,
        number=number,
        alarms_per_twin_day=0.02,
        seed=7,
        threads=1,
        exclude=exclude,
    )


@pytest.fixture(scope="module")
def small() -> StepBlock:
    return rhythm(twins=3, steps=300)


@pytest.fixture(scope="module")
def first(small: StepBlock) -> Trained:
    return trained_on(small)


def test_same_record_and_seed_give_the_same_file(small: StepBlock, first: Trained) -> None:
    assert trained_on(small).payload == first.payload


def test_the_forecast_beats_persistence(trained: Trained) -> None:
    assert trained.figures["loss_one_step"] < trained.figures["loss_naive_one_step"] - 0.1


def test_a_normal_record_raises_no_more_alarms_than_asked_for(trained: Trained) -> None:
    later = rhythm(seed=5, steps=1500)
    found = evaluate(trained.model, later, start=64)
    assert len(found.alarms) <= 3  # 50 twin-days at 0.02 a twin-day: 1 expected
    assert np.mean(found.p_value[:, 64:] < 0.05) == pytest.approx(0.05, abs=0.03)


def test_a_shift_becomes_an_alarm_of_that_twin_and_channel(trained: Trained) -> None:
    later = rhythm(seed=6, steps=400)
    later.values[2, 300:, 1] += 1.0  # ten times the noise, half of the day's swing
    alarms = evaluate(trained.model, later, start=64).alarms
    assert [(alarm.asset, alarm.top_channel) for alarm in alarms] == [("twin-2", "pressure")]
    assert 300 <= alarms[0].onset <= 306


def test_fine_tuning_moves_all_weights_less_far_with_a_stronger_pull(
    small: StepBlock, first: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = small.values.copy()
    values[:, :, 0] = values[:, ::-1, 0]  # another rhythm
    changed = StepBlock(small.assets, small.channels, small.first_step, small.period_ns, values, small.quality)
    before = first.model.detectors.network.state_dict()

    def moved(tuned: Trained) -> dict[str, float]:
        after = tuned.model.detectors.network.state_dict()
        return {name: float((after[name] - before[name]).norm()) for name in before if "weight" in name or name in ("down", "up")}

    tuned = trained_on(changed, base=first, number=2)
    assert tuned.model.info.base == first.model.version
    assert tuned.model.fits(first.model)
    far = moved(tuned)
    assert min(far.values()) > 0
    monkeypatch.setattr(forecast_training, "PULL", 1.0)
    near = moved(trained_on(changed, base=first, number=2))
    assert sum(near.values()) < 0.5 * sum(far.values())


def test_a_version_of_other_sizes_is_fine_tuned_with_its_own(small: StepBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that an older release has trained."""
    monkeypatch.setattr(training, "Architecture", partial(Architecture, width=32, hidden=128))
    older = trained_on(small)
    monkeypatch.undo()
    tuned = trained_on(small, base=older, number=2)
    assert tuned.model.info.architecture == older.model.info.architecture != trained_on(small).model.info.architecture


def test_a_new_twin_starts_on_the_fleets_mean_adapter(first: Trained) -> None:
    old = first.model.detectors.network
    new = Forecaster(old.architecture.__class__(**{**old.architecture.as_dict(), "twins": 4}))
    inherit(new, old, first.model.info.assets, ("twin-1", "new", "twin-0", "twin-2"))
    assert torch.equal(new.bias[0], old.bias[1])
    assert torch.equal(new.down[3], old.down[2])
    assert torch.equal(new.bias[1], old.bias.mean(dim=0))


def test_cells_that_are_not_good_and_excluded_steps_train_nothing(small: StepBlock) -> None:
    absurd, quality = small.values.copy(), small.quality.copy()
    quality[0, 50:60] = int(Quality.SPIKE)
    exclude = np.zeros(small.values.shape[:2], np.bool_)
    exclude[1, 80:95] = True
    clean = trained_on(
        StepBlock(small.assets, small.channels, small.first_step, small.period_ns, absurd.copy(), quality), exclude=exclude
    )
    absurd[0, 50:60], absurd[1, 80:95] = 1e9, -1e9
    poisoned = trained_on(
        StepBlock(small.assets, small.channels, small.first_step, small.period_ns, absurd, quality), exclude=exclude
    )
    assert poisoned.payload == clean.payload


def test_the_hold_out_is_not_looked_at(small: StepBlock, first: Trained) -> None:
    values = small.values.copy()
    values[:, -holdout_steps(small) :] = -5.0
    later = trained_on(StepBlock(small.assets, small.channels, small.first_step, small.period_ns, values, small.quality))
    assert later.payload == first.payload


def test_a_twin_with_too_few_steps_keeps_learning(small: StepBlock) -> None:
    quality = small.quality.copy()
    quality[1, :280] = int(Quality.MISSING)
    model = trained_on(StepBlock(small.assets, small.channels, small.first_step, small.period_ns, small.values, quality)).model
    assert model.rows(small.assets).tolist() == [0, -1, 1]


def test_a_record_without_enough_steps_is_impossible_and_says_how_many_there_are(small: StepBlock) -> None:
    with pytest.raises(TrainingImpossible, match=r"none of 3 twins has 48 good steps to train on \(most: 34 of 60 steps\)"):
        trained_on(small.between(0, 60))


@pytest.mark.parametrize("values", [0.0, 5.0, "switch", "late"])
def test_flat_and_switching_channels_train_to_a_version_that_serves(values: float | str) -> None:
    block = rhythm(twins=2, steps=200)
    block.values[:, :, 0] = (np.arange(200) // 20) % 2 if values == "switch" else 0.0 if values == "late" else values
    if values == "late":
        block.values[0, :190] = np.nan
        block.quality[0, :190] = int(Quality.MISSING)
    found = evaluate(trained_on(block).model, block, start=64)
    assert np.isfinite(found.score).all()


def test_the_threshold_is_stricter_for_a_lower_target() -> None:
    surprise = np.random.default_rng(1).standard_exponential((20, 600)).astype(np.float32) / np.log(10)
    strict, loose = (choose(surprise, 300 * 10**9, rate).alarm_p for rate in (0.002, 0.2))
    assert strict < loose


def test_the_alarms_counted_on_the_calibration_steps_stay_within_the_target() -> None:
    surprise = np.random.default_rng(2).standard_exponential((20, 600)).astype(np.float32) / np.log(10)
    surprise = np.maximum(surprise[:, :-2], np.maximum(surprise[:, 1:-1], surprise[:, 2:]))  # windows overlap
    chosen = choose(surprise, 300 * 10**9, 0.02)
    assert onsets(surprise, -np.log10(chosen.alarm_p)) <= 2

"""Calibration beside the champion: what chance explains, and what following a drift explains, is no reason to refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.batch_means import mean_and_chance
from models.gate_calibration import calibration, left_behind
from models.gate_holdout import Judged
from models.gate_stage import Stage, Stretch
from models.training import Trained
from tests.models.fleets import PERIOD_NS, rhythm


@pytest.fixture(scope="module")
def judged(trained: Trained) -> Judged:
    return Judged.of(trained.model, trained.model, Stretch(rhythm(seed=9).between(450, 700), 64))


def strange(judged: Judged, share: float, *, seed: int, lasting: int = 1) -> np.ndarray:
    """p-values of which this share is below 0.05, so many steps in a row."""
    random = np.random.default_rng(seed)
    twins, steps = judged.mine.p_value.shape
    low = np.repeat(random.random((twins, steps // lasting + 1)) < share, lasting, axis=1)[:, :steps]
    return np.where(low, 0.01, 0.5).astype(np.float32)


def judge(
    judged: Judged,
    mine: np.ndarray,
    theirs: np.ndarray,
    *,
    nats: float | np.ndarray = 0.0,
    shadow: bool = False,
    **figures: float,
) -> Stage:
    """The stage's word, with these p-values and a champion, below 0 a candidate, whose loss is higher by some `nats`."""
    assert judged.theirs is not None
    wider = [
        (one.spread * np.exp(np.maximum(by, 0.0))).astype(np.float32) for one, by in ((judged.mine, -nats), (judged.theirs, nats))
    ]
    mine_of, theirs_of = (
        replace(judged.mine, p_value=mine, spread=wider[0]),
        replace(judged.theirs, p_value=theirs, spread=wider[1]),
    )
    changed = Judged(judged.stretch, mine_of, theirs_of)
    return calibration(changed, changed.figures() | figures, alarms_per_twin_day=0.02, shadow=shadow)


def test_as_strange_as_the_champion_is_no_reason_to_refuse_where_it_forecasts_surely_better(judged: Judged) -> None:
    theirs = strange(judged, 0.3, seed=1, lasting=12)
    assert judge(judged, theirs, theirs, nats=0.5).passed
    assert judge(judged, strange(judged, 0.31, seed=2, lasting=12), theirs, nats=0.5).passed
    assert judge(judged, strange(judged, 0.19, seed=2), strange(judged, 0.05, seed=1)).passed


def test_as_lost_as_the_champion_and_no_better_at_forecasting_is_refused(judged: Judged) -> None:
    mine, theirs = strange(judged, 0.3, seed=2, lasting=12), strange(judged, 0.4, seed=1, lasting=12)
    stage = judge(judged, mine, theirs)
    assert not stage.passed
    assert "(champion 35%), and its loss" in stage.why
    assert "the hold-out is strange to it too" in stage.why
    assert judge(judged, mine, strange(judged, 0.9, seed=1, lasting=12)).passed, (
        "it follows a drift that has left the champion behind"
    )


def test_where_both_are_lost_the_one_that_likely_forecasts_better_by_more_than_counts_as_equal_serves(judged: Judged) -> None:
    mine, theirs = strange(judged, 0.3, seed=2, lasting=12), strange(judged, 0.4, seed=1, lasting=12)
    losses, _ = judged.losses()

    def gain(nats: np.ndarray, chance: float) -> tuple[float, float]:
        """By how much the loss of a champion is higher whose spread is so many nats wider, and what chance explains."""
        wide, narrow = (replace(judged.mine, spread=(judged.mine.spread * np.exp(by)).astype(np.float32)) for by in (nats, 0.0))
        mine_of, theirs_of = Judged(judged.stretch, narrow, wide).losses()
        assert theirs_of is not None
        return mean_and_chance(theirs_of - mine_of, PERIOD_NS, chance)

    now_and_then = (np.arange(losses.shape[1]) // 28 % 4 == 0)[:, None].astype(float)  # a part of the day is forecast better
    for size, passes in ((1.0, True), (0.2, False)):
        lower, by_chance = gain(size * now_and_then, 0.1)
        assert by_chance < lower < gain(size * now_and_then, 0.01)[1], "likely, not surely"
        assert (lower > 0.02) == passes
        assert judge(judged, mine, theirs, nats=size * now_and_then).passed == passes


def test_surely_stranger_than_the_champion_is_refused_with_both_shares(judged: Judged) -> None:
    stage = judge(judged, strange(judged, 0.5, seed=2, lasting=12), strange(judged, 0.25, seed=1, lasting=12))
    assert not stage.passed
    assert "of steps have p < 0.05, expected about 5% (champion 2" in stage.why


def test_a_loss_that_is_surely_lower_explains_some_more(judged: Judged) -> None:
    mine, theirs = strange(judged, 0.25, seed=2), strange(judged, 0.19, seed=1)
    assert not judge(judged, mine, theirs).passed
    assert judge(judged, mine, theirs, nats=0.5).passed
    assert not judge(judged, mine, theirs, nats=-0.5).passed
    assert not judge(judged, strange(judged, 0.6, seed=2), theirs, nats=0.5).passed


def test_a_drift_has_left_a_champion_behind_that_it_is_strange_to_where_the_loss_is_no_higher(judged: Judged) -> None:
    def behind(share: float, nats: float = 0.0) -> bool:
        assert judged.theirs is not None
        wider = (judged.mine.spread * np.exp(nats)).astype(np.float32)
        other = replace(judged.theirs, p_value=strange(judged, share, seed=1))
        beside = Judged(judged.stretch, replace(judged.mine, spread=wider), other)
        return left_behind(beside, beside.figures())

    assert behind(0.4)
    assert not behind(0.1)
    assert not behind(0.4, nats=0.5)


def test_alarms_on_less_than_a_twin_day_are_left_to_the_shadow(judged: Judged) -> None:
    calm = strange(judged, 0.05, seed=1)
    assert not judge(judged, calm, calm, candidate_alarms=4.0, twin_days=0.9).passed
    stage = judge(judged, calm, calm, candidate_alarms=4.0, twin_days=0.9, shadow=True)
    assert stage.passed
    assert "4 alarms against 0 in 0.9 twin-days (too little to judge alarms by: the shadow will)" in stage.why
    assert not judge(judged, calm, calm, candidate_alarms=4.0, twin_days=1.1, shadow=True).passed


def test_a_few_alarms_more_than_the_champions_are_chance(judged: Judged) -> None:
    calm = strange(judged, 0.05, seed=1)
    assert judge(judged, calm, calm, candidate_alarms=33.0, champion_alarms=30.0).passed
    assert not judge(judged, calm, calm, candidate_alarms=45.0, champion_alarms=30.0).passed
    assert not judge(judged, calm, calm, candidate_alarms=4.0, champion_alarms=0.0).passed


def test_chance_is_told_of_steps_that_hang_together() -> None:
    random = np.random.default_rng(3)
    walk = np.array([np.convolve(random.normal(size=1500), np.ones(12) / 12, "valid") for _ in range(200)])
    beyond = [mean > by_chance for mean, by_chance in (mean_and_chance(one[None], PERIOD_NS, 0.01) for one in walk)]
    assert np.mean(beyond) < 0.03
    alone = walk.std(axis=1) / np.sqrt(walk.shape[1])
    assert np.mean(walk.mean(axis=1) > 2.33 * alone) > 0.1, "as if each step were a sample of its own"
    mean, by_chance = mean_and_chance(np.full((2, 300), np.nan), PERIOD_NS, 0.01)
    assert np.isnan(mean)
    assert by_chance == np.inf

"""Stages of the gate by themselves: golden faults are the same for everybody, old steps count, the cost is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import version
from models.gate import compare
from models.gate_calibration import as_promised
from models.gate_cost import size
from models.gate_faults import FAULT_STEPS, SIZES, Golden, drawn, found, golden_faults, inject, surely_fewer
from models.gate_holdout import Judged, mean_and_error, twins_worse
from models.gate_memory import old_regimes, remembered
from models.gate_stage import Stretch
from models.old_regime import for_training_and_judging
from models.training import Trained
from tests.models.bad_updates import changed, tables
from tests.models.fleets import rhythm
from twin.block import StepBlock
from twin.stretches import Stretches


@pytest.fixture(scope="module")
def stretch() -> Stretch:
    return Stretch(rhythm(seed=9).between(450, 700), 64)


def test_faults_are_put_where_all_is_calm_and_are_the_same_each_time(stretch: Stretch) -> None:
    known = np.array([True, True, True, True, False])
    faults = drawn(stretch, known, 64)
    assert faults == drawn(stretch, known, 64)
    assert {fault.row for fault in faults} == {0, 1, 2, 3}
    assert {fault.kind for fault in faults} == {"offset", "drift", "spikes", "stuck", "uncorrelated"}
    assert all(64 + 7 <= fault.onset <= stretch.block.steps - FAULT_STEPS for fault in faults)
    exclude = np.zeros(stretch.block.values.shape[:2], np.bool_)
    exclude[0] = True
    assert {fault.row for fault in drawn(Stretch(stretch.block, 64, exclude), known, 64)} == {1, 2, 3}
    exclude[:] = True
    assert drawn(Stretch(stretch.block, 64, exclude), known, 64) == []


def test_a_fault_changes_its_channel_from_its_onset_on(stretch: Stretch) -> None:
    for fault in drawn(stretch, np.ones(5, np.bool_), 64):
        before = stretch.block.values[fault.row, :60]
        values = before.copy()
        inject(values, fault, 36, 1.0)
        assert (values[:36] == before[:36]).all()
        assert (values[:, 1 - fault.channel] == before[:, 1 - fault.channel]).all()
        assert (values[36:, fault.channel] != before[36:, fault.channel]).any()


def test_a_version_that_is_always_in_alarm_finds_nothing(trained: Trained, stretch: Stretch) -> None:
    faults = drawn(stretch, np.ones(5, np.bool_), 64)
    usual = found(trained.model, stretch, faults, 64)
    assert 0.3 < usual.mean() < 1
    gross = np.array([fault.size > 8 for fault in faults])
    assert usual[gross].mean() > usual[~gross].mean()
    loud = changed(trained, *tables("fused"), by=lambda one: one * 0.02)
    assert found(loud, stretch, faults, 64).mean() < 0.1


def test_sizes_reach_from_what_nobody_finds_to_what_everybody_finds(trained: Trained, stretch: Stretch) -> None:
    faults = drawn(stretch, np.ones(5, np.bool_), 64)
    usual = found(trained.model, stretch, faults, 64)
    offsets = [usual[[(fault.kind, fault.size) == ("offset", size) for fault in faults]].mean() for size in SIZES]
    assert offsets[0] < 0.2
    assert offsets[-1] > 0.9
    duller = changed(trained, *tables("fused"), by=lambda one: one * 1.5)
    stage = golden_faults(Golden.of(duller, trained.model, stretch))
    assert not stage.passed, stage.why
    assert golden_faults(Golden.of(trained.model, duller, stretch)).passed


def test_an_alarm_that_rises_without_the_fault_too_finds_nothing(trained: Trained, stretch: Stretch) -> None:
    faults = drawn(stretch, np.ones(5, np.bool_), 64)
    values = stretch.block.values.copy()
    values[faults[0].row, faults[0].onset :] += 20
    jumped = Stretch(replace(stretch.block, values=values), 64)
    there = np.array([(fault.row, fault.onset) == (faults[0].row, faults[0].onset) for fault in faults])
    assert found(trained.model, stretch, faults, 64)[there].any()
    assert not found(trained.model, jumped, faults, 64)[there].any()


def test_beside_a_champion_that_a_drift_has_left_behind_large_faults_count_alone(trained: Trained, stretch: Stretch) -> None:
    small = changed(trained, *tables("fused"), by=lambda one: one * 1.5)
    assert not golden_faults(Golden.of(small, trained.model, stretch)).passed
    large = Golden.of(small, trained.model, stretch, large_only=True)
    assert {fault.size for fault in large.faults} == {0.0, 1.0, 2.0, 4.0, 32.0}
    assert golden_faults(large).passed
    deaf = changed(trained, *tables("fused"), by=lambda one: one * 8)
    assert not golden_faults(Golden.of(deaf, trained.model, stretch, large_only=True)).passed


def test_fewer_faults_found_of_two_twins_at_their_times_may_be_chance(stretch: Stretch) -> None:
    faults = drawn(stretch, np.ones(5, np.bool_), 64)
    theirs = np.ones(len(faults), np.bool_)
    samples = [(fault.row, fault.onset) for fault in faults]
    of_two = np.array([sample in (samples[0], samples[-1]) for sample in samples])
    spread = np.arange(len(faults)) % 10 == 0
    assert of_two.sum() == spread.sum() == 0.1 * len(faults)
    assert not surely_fewer(faults, ~of_two, theirs)
    assert surely_fewer(faults, ~spread, theirs)
    assert not surely_fewer(faults, theirs, ~spread)


def test_without_a_champion_some_gross_faults_must_be_found(trained: Trained, stretch: Stretch) -> None:
    assert golden_faults(Golden.of(trained.model, None, stretch)).passed
    deaf = golden_faults(Golden.of(changed(trained, *tables("fused"), by=lambda one: one * 50), None, stretch))
    assert not deaf.passed
    assert "of 20 faults of 32 spreads found, 10% at least expected" in deaf.why


def test_a_record_without_room_for_faults_is_no_reason_to_refuse(trained: Trained) -> None:
    short = Stretch(rhythm(seed=9).between(600, 690), 64)
    assert golden_faults(Golden.of(trained.model, None, short)).passed


def test_what_old_steps_cost_must_be_gained_on_the_newest(trained: Trained) -> None:
    old = [Stretch(rhythm(seed=4).between(0, 200), 64)]
    forgetful = changed(trained, "network.head.weight", by=lambda one: one * 3)
    assert old_regimes(version.decode(trained.payload), trained.model, old, gained=0.0).passed
    stage = old_regimes(forgetful, trained.model, old, gained=0.05)
    assert not stage.passed
    assert "old twin-steps, 0.10 more is allowed (it gained 0.05 on the newest)" in stage.why
    assert old_regimes(forgetful, trained.model, old, gained=20.0).passed
    decision = compare(forgetful, trained.model, rhythm(seed=9).between(450, 700), start=64, old=old)
    assert not decision.promote
    assert [stage.name for stage in decision.stages] == [
        "identity", "latency", "size", "hold-out", "calibration", "golden faults", "old regimes", "anchor",
    ]  # fmt: skip


def test_what_is_remembered_of_the_past_is_judged_and_has_trained_nothing(trained: Trained) -> None:
    past = rhythm(steps=960, seed=4, first_step=2_890_080)
    names = [asset for asset in past.assets for _ in range(10)]
    first = np.tile(past.first_step + 96 * np.arange(10), 5)
    values = past.values.reshape(50, 96, 2)
    old = Stretches(tuple(names), first, past.period_ns, values, np.zeros(values.shape, np.uint8))
    stretches = remembered(old, past.channels, 64)
    trains, judges = for_training_and_judging(old)
    assert sum(len(one.block.assets) for one in stretches) == len(judges) == 50 - len(trains)
    assert all(one.block.steps - one.start == 33 for one in stretches)
    stage = old_regimes(trained.model, trained.model, stretches, gained=0.0)
    assert stage.passed
    assert stage.figures["old_twin_steps"] == 33 * len(judges)


def test_a_twin_is_worse_when_that_is_more_than_chance(trained: Trained) -> None:
    random = np.random.default_rng(1)
    difference = random.normal(0, 1, (4, 200, 1))
    difference[2] += 1.5
    difference[3, :180] = np.nan
    difference[3, 180:] = 9.0  # too few steps
    assert [row for row, _ in twins_worse(difference)] == [2]
    mean, error = mean_and_error(random.normal(0, 1, 800))
    assert abs(mean) < 3 * error < 1


def test_more_twins_may_take_more_bytes(trained: Trained, block: StepBlock) -> None:
    assert size(trained.model, None).passed
    assert size(trained.model, trained.model).figures["candidate_bytes"] == len(trained.payload)


def test_a_champion_whose_p_values_are_too_small_is_compared_at_the_threshold_that_it_should_have(
    trained: Trained, stretch: Stretch
) -> None:
    near = changed(trained, *tables("fused"), by=lambda one: one * 0.7)
    figures = Judged.of(trained.model, near, stretch).figures()
    fair = as_promised(near, figures)
    assert fair.alarm_p < near.alarm_p / 1.5
    faults = drawn(stretch, np.ones(5, np.bool_), 64)
    assert found(fair, stretch, faults, 64).sum() < found(near, stretch, faults, 64).sum()
    assert as_promised(near, {**figures, "candidate_loss": figures["champion_loss"] + 0.01}) is near, "no price for a worse one"
    assert as_promised(near, {**figures, "champion_share_p01": 0.01}) is near


def test_one_that_is_blind_does_not_follow_a_champion_that_a_drift_has_blinded(trained: Trained, stretch: Stretch) -> None:
    blind = changed(trained, *tables("fused"), by=lambda one: one * 50)
    assert golden_faults(Golden.of(blind, blind, stretch)).passed
    assert not golden_faults(Golden.of(blind, blind, stretch, large_only=True)).passed

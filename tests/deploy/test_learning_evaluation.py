"""The evaluation of learning: the fleets it drifts, the arms it runs, what its figures count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.eval.learning_arms import ANSWERED, FROZEN, NAIVE, OURS, OurArm, Rules, VersionCourse
from deploy.eval.learning_course import Course, run_scenario
from deploy.eval.learning_figures import figures_of, found_faults, judgements, summary
from deploy.eval.learning_scenario import Injected, Scenario, Span, drift_plan
from deploy.eval.learning_series import TYPE, series_scenario
from deploy.eval.learning_water import DRIFTS, drift_scenario, slow_scenario
from deploy.feeds.water_plant import JUNCTION, PUMP
from streams.alert_replay import AlertReplay
from streams.records import Alert, Evidence, Signal
from streams.remembering import Remembering
from twin.types import NS_PER_S, compile_type

HOUR_S = 3600
WHOLE = drift_plan(24)
PLAN = replace(WHOLE, updates=WHOLE.updates[:1], judged=WHOLE.judged[:1])  # each update takes a second or two


def rules_in(home: Path) -> Rules:
    return Rules(home, seed=1, alarms_per_twin_day=0.02, max_steps=4032, old_stretches=64)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return series_scenario("level shift", seed=1, step_s=HOUR_S, twins=3, plan=PLAN)


@pytest.fixture(scope="module")
def course(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Course:
    torch.set_num_threads(1)
    return run_scenario(scenario, rules_in(tmp_path_factory.mktemp("home")))


def values(course: Course) -> dict[str, float]:
    return {figure.measure: figure.value for figure in [*figures_of(course), *summary([course])]}


def test_a_drift_of_the_plant_changes_nothing_before_it_and_after_its_end() -> None:
    plan = drift_plan(24, learnt_days=1, fault_days=1)
    for name, drift in DRIFTS.items():
        found = drift_scenario(name, seed=3, step_s=HOUR_S, twins=2, plan=plan)
        assert tuple(found.blocks) == drift.types
        assert found.undrifted is not None
        assert found.settled is not None
        moved = since_long = 0.0
        for kind, block in found.blocks.items():
            other = found.undrifted[kind]
            before, during = np.s_[:, : plan.drifted.start], np.s_[:, plan.drifted.start : plan.drifted.stop]
            assert np.array_equal(block.values[before], other.values[before]), (name, kind)
            moved += float(np.abs(block.values[during] - other.values[during]).max())
            since_long += float(np.abs(found.settled[kind].values[before] - other.values[before]).max())
        assert moved > 0.2, name
        assert since_long > 0.2, name


def test_a_worn_pump_adds_less_head_and_a_heat_wave_takes_more_water() -> None:
    plan = drift_plan(24, learnt_days=1, fault_days=1)
    late = np.s_[:, plan.judged[0].start : plan.judged[0].stop]
    worn = drift_scenario("pump wear", seed=3, step_s=HOUR_S, plan=plan)
    assert worn.undrifted is not None
    head, head_before = (blocks[PUMP].values[late][..., 2] for blocks in (worn.blocks, worn.undrifted))
    running = (head > 1) & (head_before > 1)
    assert running.any()
    assert head[running].mean() < 0.95 * head_before[running].mean()
    season = drift_scenario("new season", seed=3, step_s=HOUR_S, plan=plan)
    assert season.undrifted is not None
    more = season.blocks[JUNCTION].values[late][..., 0].mean() / season.undrifted[JUNCTION].values[late][..., 0].mean()
    assert more == pytest.approx(1.22, abs=0.05)


def test_slow_leaks_grow_from_nothing() -> None:
    found = slow_scenario(seed=3, step_s=HOUR_S, twins=2)
    clean = drift_scenario("demand pattern", seed=3, step_s=HOUR_S, twins=1000).undrifted
    assert clean is not None
    assert {fault.kind for fault in found.slow} == {"leak", "drift"}
    assert all(any(fault.asset in block.assets for block in found.blocks.values()) for fault in found.slow)
    for fault in found.slow:
        if fault.kind == "leak":
            with_leak, without = (
                blocks[JUNCTION].values[blocks[JUNCTION].assets.index(fault.asset), : fault.span.stop, 1]
                for blocks in (found.blocks, clean)
            )
            missing = (without - with_leak).reshape(-1, 24).mean(axis=1)  # of each day, m
            first, last = missing[fault.span.start // 24], missing[-1]
            assert np.abs(missing[: fault.span.start // 24]).max() < 0.01
            assert 0 < first < last / 3


def test_before_the_drift_all_arms_see_and_score_the_same(scenario: Scenario, course: Course) -> None:
    before = np.s_[:, scenario.plan.before.start : scenario.plan.before.stop - 3]
    first = course.undrifted[TYPE].loss[before]
    assert np.isfinite(first).all()
    for arm in (FROZEN, NAIVE, OURS, ANSWERED):
        assert np.array_equal(course.ledgers[arm][TYPE].loss[before], first), arm


def test_after_an_update_each_arm_serves_what_it_should(course: Course) -> None:
    after = np.s_[:, PLAN.judged[0].start : PLAN.judged[0].stop]
    frozen = course.ledgers[FROZEN][TYPE].loss[after]
    assert values(course)["level shift: rise of the frozen model's loss, one update later"] > 0.1
    assert not np.array_equal(course.ledgers[NAIVE][TYPE].loss[after], frozen)
    for arm in (OURS, ANSWERED):
        (version,) = course.versions[arm]
        served = course.ledgers[arm][TYPE].loss[after]
        assert np.array_equal(served, frozen) != version.promoted
        assert np.array_equal(version.other[after], frozen) == version.promoted


def test_what_can_be_won_back_is_told_by_a_model_that_knows_the_drift(scenario: Scenario, course: Course) -> None:
    assert scenario.settled is not None
    assert np.array_equal(
        scenario.settled[TYPE].values[:, PLAN.judged[0].start], scenario.blocks[TYPE].values[:, PLAN.judged[0].start]
    )
    after = np.s_[:, PLAN.judged[0].start : PLAN.judged[0].stop]
    known, frozen = course.settled[TYPE].loss, course.ledgers[FROZEN][TYPE].loss
    assert np.isfinite(known[after]).all()
    assert np.isnan(known[:, PLAN.drifted.start : PLAN.updates[0] - 3]).all()  # those close late
    most = float((frozen[after] - known[after]).mean())
    found = values(course)
    assert found["level shift: of it less where the drift is long known, one update later"] == pytest.approx(most, abs=1e-3)
    won = (
        found["level shift: loss won back after one update, naive"]
        * found["level shift: rise of the frozen model's loss, one update later"]
    )
    assert found["level shift: won back of what can be after one update, naive"] == pytest.approx(won / most, abs=1e-2)


def raised(asset: str, step: int, scenario: Scenario) -> Signal:
    onset_ns = (scenario.blocks[TYPE].first_step + step + 1) * HOUR_S * NS_PER_S
    return Signal(
        kind="raise",
        asset=asset,
        type=TYPE,
        condition="anomaly",
        severity="minor",
        onset_ns=onset_ns,
        time_ns=onset_ns,
        risk=0.6,
        evidence=Evidence(channels=[], model_version=None, weights_sha256=None, partition=0, first_offset=0, last_offset=0),
    )


def alerts_of(*signals: Signal) -> list[Alert]:
    replay = AlertReplay()
    for signal in signals:
        replay.take(signal)
    return replay.finished()


@pytest.mark.parametrize("answered", [True, False])
def test_people_who_answer_bring_back_what_no_fault_caused(scenario: Scenario, tmp_path: Path, answered: bool) -> None:
    made = replace(scenario, faults=(Injected("series-1", "offset", Span(100, 104)),))
    arm = OurArm({}, made, rules_in(tmp_path), Remembering(tmp_path, capacity=0, seed=1), answered=answered)
    for asset, step in (("series-0", 100), ("series-1", 101), ("series-2", 197)):
        arm.replay.take(raised(asset, step, made))
    left_out = arm.excluded(compile_type(scenario.interfaces[0]), scenario.blocks[TYPE].between(0, 200))
    assert left_out[0, 150] != answered  # nobody's fault
    assert left_out[1, 150]  # of the fault
    assert left_out[2, 199]  # nobody had time to answer


def test_an_alert_counts_for_the_fault_of_its_twin_that_was_on_and_else_as_false(scenario: Scenario, course: Course) -> None:
    faults = (Injected("series-0", "offset", Span(10, 14)), Injected("series-1", "offset", Span(30, 34)))
    made = replace(course, scenario=replace(scenario, faults=faults))
    onsets = (("series-0", 12), ("series-0", 20), ("series-2", 31))
    alerts = [alert for asset, onset in onsets for alert in alerts_of(raised(asset, onset, scenario))]
    assert found_faults(made, alerts, Span(0, 48)) == (1, 1, 2)
    leak = replace(course, scenario=replace(scenario, faults=(*faults, Injected("series-0", "leak", Span(30, 34), spreads=True))))
    assert found_faults(leak, alerts, Span(0, 48)) == (1, 2, 1)


def test_a_promoted_version_that_its_predecessor_beats_is_told_as_worse(course: Course) -> None:
    served = course.ledgers[OURS][TYPE].loss

    def judged(other: np.ndarray, *, promoted: bool) -> bool:
        version = VersionCourse(0, TYPE, "0009-x", promoted, other.astype(np.float32))
        made = replace(course, versions={**course.versions, OURS: [version]})
        return next(iter(judgements(made, OURS))).worse

    noise = np.random.default_rng(0).normal(0, 0.01, served.shape)
    assert judged(served - 0.1 + noise, promoted=True)
    assert not judged(served + 0.1 + noise, promoted=True)
    assert not judged(served.copy(), promoted=False)


def test_what_a_fault_shows_of_its_twin_is_not_held_against_a_version(scenario: Scenario, course: Course) -> None:
    served = course.ledgers[OURS][TYPE].loss
    other, span = served + np.random.default_rng(0).normal(0, 0.01, served.shape), PLAN.judged[0]
    other[1, span.start + 1 :] -= 1.0
    version = VersionCourse(0, TYPE, "0009-x", True, other.astype(np.float32))
    made = replace(course, versions={**course.versions, OURS: [version]})
    assert [one.worse for one in judgements(made, OURS)] == [True]
    growing = (Injected("series-1", "drift", Span(span.start + 1, span.stop + 9)),)
    assert [one.worse for one in judgements(replace(made, scenario=replace(scenario, slow=growing)), OURS)] == [False]

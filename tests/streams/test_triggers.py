"""When a type is trained: time, volume, drift, by hand, the first model; a budget puts off what can wait."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from streams.model_records import ModelVersion
from streams.step_blocks import StepBlockBuilder
from streams.triggers import BUDGET_LEFT, DAY_S, Trigger, TriggerRules, Triggers
from tests.streams.test_trainer_blocks import TANK, add

MIN_STEPS = 40


class Looks:
    """One type's steps, and looks at it at times of the test's choosing."""

    def __init__(self, rules: TriggerRules) -> None:
        self.builder = StepBlockBuilder(TANK, max_steps=1000)
        self.triggers = Triggers(rules, now_s=0.0)
        self._step = 0

    def feed(self, steps: int, *, bad: bool = False) -> None:
        if bad:
            step = np.arange(self._step, self._step + steps)
            self.builder.add(["a"] * steps, step, np.ones((steps, 2), np.float32), np.full((steps, 2), 4, np.uint8))
        else:
            add(self.builder, [("a", step, 1.0) for step in range(self._step, self._step + steps)])
        self._step += steps

    def at(self, now_s: float, *, asked: bool = False, has_model: bool = True, announced_s: float = 0.0) -> Trigger | None:
        return self.triggers.due(self.builder, asked=asked, has_model=has_model, announced_s=announced_s, now_s=now_s)

    def kind(self, now_s: float, **more: float) -> str | None:
        found = self.at(now_s, announced_s=more.get("announced_s", 0.0))
        return found.kind if found else None

    def train(self, now_s: float, cpu_s: float = 0.0) -> None:
        self.triggers.began(self.builder, now_s=now_s)
        self.triggers.budget.spend(cpu_s, now_s=now_s)


def looks(**rules: float) -> Looks:
    return Looks(TriggerRules(every_s=100.0, min_steps=MIN_STEPS, **rules))  # type: ignore[arg-type]


def test_the_first_model_waits_for_enough_steps_and_for_the_end_of_a_backlog_but_not_for_ever() -> None:
    watched = looks()
    watched.feed(MIN_STEPS - 1)
    assert watched.at(0.0, has_model=False) is None
    for now_s in (1.0, 3.0):
        watched.feed(MIN_STEPS)
        assert watched.at(now_s, has_model=False) is None, "more is streaming in"
    found = watched.at(5.0, has_model=False)
    assert found is not None
    assert str(found) == f"first: {3 * MIN_STEPS - 1} closed steps a twin, {MIN_STEPS} at least"
    other = looks()
    for now_s in (0.0, 50.0):
        other.feed(MIN_STEPS)
        assert other.at(now_s, has_model=False) is None
    other.feed(MIN_STEPS)
    assert other.at(100.0, has_model=False) is not None


def test_time_counts_from_the_last_round_also_of_an_earlier_process_and_needs_new_steps() -> None:
    watched = looks()
    watched.feed(MIN_STEPS)
    assert watched.kind(1099.0, announced_s=1000.0) is None
    assert watched.kind(1100.0, announced_s=1000.0) == "time"
    assert watched.kind(1000.0, announced_s=5000.0) == "time", "a clock was set back"
    watched.train(1100.0)
    assert watched.kind(1300.0) is None, "nothing new"
    watched.feed(1)
    assert watched.kind(1199.0) is None
    assert watched.kind(1200.0) == "time"


def test_volume_counts_good_steps_since_the_last_update() -> None:
    watched = looks(every_good_steps=30)
    watched.feed(MIN_STEPS)
    watched.train(0.0)
    watched.feed(29)
    watched.feed(50, bad=True)
    assert watched.kind(1.0) is None
    watched.feed(1)
    found = watched.at(1.0)
    assert found is not None
    assert str(found) == "volume: 30 good twin-steps since the last update, 30 asked for"
    watched.train(1.0)
    watched.feed(10)
    assert watched.kind(2.0) is None


def test_drift_fires_once() -> None:
    watched = looks()
    watched.feed(MIN_STEPS)
    watched.train(0.0)
    watched.feed(1)
    watched.triggers.drifted(TANK.id, "median surprise rose from 0.30 to 1.20")
    found = watched.at(1.0)
    assert found == Trigger("drift", "median surprise rose from 0.30 to 1.20")
    watched.train(1.0)
    watched.feed(1)
    assert watched.at(2.0) is None


def test_without_budget_left_updates_wait_but_not_the_first_model_or_what_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    watched = looks(budget_cpu_s_per_day=50.0)
    watched.feed(MIN_STEPS)
    watched.train(0.0, cpu_s=51.0)
    watched.feed(1)
    for now_s in (200.0, 300.0):
        assert watched.at(now_s) is None
    assert caplog.text.count("update-deferred") == 1
    found = watched.at(200.0, asked=True)
    assert found is not None
    assert found.kind == "hand"
    assert watched.kind(0.021 * DAY_S) == "time", "a second has come in"
    new = looks(budget_cpu_s_per_day=50.0)
    new.triggers.budget.spend(99.0, now_s=0.0)
    new.feed(MIN_STEPS)
    assert new.at(0.0, has_model=False) is None
    assert new.at(1.0, has_model=False) is not None


def test_the_budget_goes_on_after_a_restart_where_the_newest_version_says_it_stood() -> None:
    def version(number: int, time_s: float, left: float) -> ModelVersion:
        return ModelVersion(
            name="tank",
            type=TANK.id,
            version=f"{number:04d}-x",
            uri="",
            sha256="",
            contract="",
            decision="refused",
            why="",
            time_ns=int(time_s * 1e9),
            figures={BUDGET_LEFT: left},
        )

    before = looks(budget_cpu_s_per_day=86.4).triggers
    before.budget.spend(100.0, now_s=1000.0)
    left = before.budget_figure(now_s=1000.0)[BUDGET_LEFT]
    after = looks(budget_cpu_s_per_day=86.4).triggers
    after.go_on([version(2, 1000.0, left), version(1, 500.0, 80.0)])
    assert after.budget.left(2000.0) == pytest.approx(left + 1.0)
    assert looks().triggers.budget_figure(now_s=0.0) == {}

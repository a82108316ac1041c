"""Changes that are normal train although they alarm: announced ones, and those that most twins of a type share."""

from __future__ import annotations

import numpy as np
import pytest

from models.hygiene import counts
from streams.live_watch import CONTEXT_STEPS, live_steps
from streams.model_records import Canary
from streams.records import EventRecord, Feedback
from streams.step_blocks import StepBlockBuilder
from streams.training_periods import TrainingPeriods
from tests.streams.test_trainer_blocks import PERIOD_NS, TANK, alert, block_of

DAY, HOUR = 288, 12  # steps
FIRST = 100 * DAY
TWINS = 6


def raised(periods: TrainingPeriods, twin: int, onset: int, until: int | None = None, condition: str = "anomaly") -> None:
    """An alert of a twin, steps counted from FIRST; `until` None: it stands."""
    key = f"{twin}-{onset}-{condition}"
    more = {} if until is None else {"state": "cleared", "cleared_ns": (FIRST + until) * PERIOD_NS}
    onset_ns = (FIRST + onset) * PERIOD_NS
    told = alert(id=key, asset=f"t{twin}", condition=condition, onset_ns=onset_ns, **more)
    periods.alert(key.encode(), told.to_bytes())


def announced(periods: TrainingPeriods, twin: int, step: int, kind: str) -> None:
    periods.event(EventRecord(asset=f"t{twin}", time_ns=(FIRST + step) * PERIOD_NS, kind=kind))


def left_out(periods: TrainingPeriods, twin: int, days: int = 4) -> list[int]:
    """Steps of a twin that do not train, as (first, step after the last); [] where all do."""
    mask = periods.exclude(block_of(TWINS, days * DAY, FIRST))[twin]
    return np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]]))).tolist()


@pytest.mark.parametrize("kind", ["recalibration", "regime-change"])
def test_from_an_announced_change_on_an_alert_trains(kind: str) -> None:
    periods = TrainingPeriods()
    raised(periods, 0, onset=300)
    raised(periods, 1, onset=300)
    announced(periods, 0, 290, kind)
    assert left_out(periods, 0) == []
    assert left_out(periods, 1) == [295, 4 * DAY], "of another twin nothing was said"
    found = counts(*_cells(), periods.left_out(block_of(TWINS, 4 * DAY, FIRST)))
    assert found["hygiene_steps_brought_back"] == 4 * DAY - 295


def test_what_was_before_the_change_does_not_train() -> None:
    periods = TrainingPeriods()
    raised(periods, 0, onset=300)
    announced(periods, 0, 600, "recalibration")
    assert left_out(periods, 0) == [295, 600]


def test_a_change_says_nothing_of_alerts_days_later_of_limits_and_of_what_people_call_a_fault() -> None:
    periods = TrainingPeriods()
    announced(periods, 0, 10, "recalibration")
    raised(periods, 0, onset=10 + 3 * DAY)
    raised(periods, 1, onset=300, condition="limit:level:high")
    announced(periods, 1, 290, "regime-change")
    raised(periods, 2, onset=300)
    announced(periods, 2, 290, "regime-change")
    label = Feedback(asset="t2", from_ns=(FIRST + 400) * PERIOD_NS, to_ns=(FIRST + 500) * PERIOD_NS, label="fault")
    periods.feedback(label.to_bytes())
    assert left_out(periods, 0) == [5 + 3 * DAY, 4 * DAY]
    assert left_out(periods, 1) == [295, 4 * DAY]
    assert left_out(periods, 2) == [400, 500]


@pytest.mark.parametrize("kind", ["fault", "maintenance", "message", "log"])
def test_other_events_say_nothing_of_what_is_normal(kind: str) -> None:
    periods = TrainingPeriods()
    raised(periods, 0, onset=300)
    announced(periods, 0, 290, kind)
    assert left_out(periods, 0) == [295, 4 * DAY]


def test_announced_changes_are_kept_over_a_restart_as_long_as_they_matter() -> None:
    before, after = TrainingPeriods(), TrainingPeriods()
    raised(before, 0, onset=300)
    announced(before, 0, 290, "recalibration")
    announced(before, 1, 290, "recalibration")
    after.restore(before.to_bytes())
    assert left_out(after, 0) == []
    after.exclude(block_of(TWINS, DAY, FIRST + 20 * DAY))
    assert set(after._changes) == {"t0"}, "its alert stands"


def _cells() -> tuple[np.ndarray, np.ndarray]:
    block = block_of(TWINS, 4 * DAY, FIRST)
    return block.values, block.quality


def most_alarmed(condition: str = "anomaly") -> TrainingPeriods:
    """Five of six twins for two days, one of them since long before."""
    periods = TrainingPeriods()
    for twin in range(4):
        raised(periods, twin, onset=DAY + HOUR * twin, until=3 * DAY, condition=condition)
    raised(periods, 4, onset=-10 * DAY, condition=condition)
    return periods


def test_what_most_twins_show_trains_and_is_counted_and_the_fault_of_one_does_not() -> None:
    periods = most_alarmed()
    assert left_out(periods, 3) == []
    assert left_out(periods, 0) == [DAY - 5, DAY + HOUR], "when only one other had it"
    assert left_out(periods, 4) == [0, 4 * DAY]
    found = counts(*_cells(), periods.left_out(block_of(TWINS, 4 * DAY, FIRST)))
    assert found["hygiene_steps_common"] == sum(3 * DAY - max(DAY + HOUR * twin - 5, DAY + HOUR) for twin in range(4))
    assert found["hygiene_steps_used"] == found["hygiene_steps"] - found["hygiene_steps_alerted"]


def test_limits_and_people_have_the_last_word_on_what_is_common() -> None:
    assert left_out(most_alarmed("limit:level:high"), 3) == [DAY + 3 * HOUR - 5, 3 * DAY]
    periods = most_alarmed()
    raised(periods, 3, onset=2 * DAY, until=2 * DAY + 20, condition="limit:level:high")
    assert left_out(periods, 3) == [2 * DAY - 5, 2 * DAY + 20]
    for twin in range(2):
        period = {"from_ns": FIRST * PERIOD_NS, "to_ns": (FIRST + 3 * DAY) * PERIOD_NS}
        periods.feedback(Feedback(asset=f"t{twin}", label="fault", **period).to_bytes())
    assert left_out(periods, 2) == [DAY + 2 * HOUR - 5, 3 * DAY], "two of the five are faulty: three are not most"


def test_what_most_show_is_told_in_a_block_shorter_than_it_has_lasted_and_is_kept_across_a_restart() -> None:
    periods = TrainingPeriods()
    periods.restore(most_alarmed().to_bytes())
    short = block_of(TWINS, HOUR, FIRST + 3 * DAY - 2 * HOUR)
    assert periods.of_fleet(short).common.sum(axis=1).tolist() == [HOUR] * 4 + [0, 0]
    assert periods.of_fleet(short).alerted.sum(axis=1).tolist() == [0] * 4 + [HOUR, 0]
    early = block_of(TWINS, 4 * HOUR, FIRST + DAY + 20 * HOUR)
    assert periods.of_fleet(early).common.sum() == 0, "not a day yet"


def test_live_steps_of_a_common_cause_are_judged_also_where_only_canary_twins_are() -> None:
    builder = StepBlockBuilder(TANK, max_steps=1000)
    block = block_of(TWINS, 400, FIRST + 3 * DAY - 400)
    for at in range(400):
        step = np.full(TWINS, block.first_step + at)
        builder.add(block.assets, step, block.values[:, at], block.quality[:, at])
    first = FIRST + 3 * DAY - HOUR
    judged, exclude = live_steps(builder, most_alarmed(), first)
    assert (judged.assets, judged.steps) == (block.assets, CONTEXT_STEPS + HOUR)
    assert exclude[:, -HOUR:].any(axis=1).tolist() == [False] * 4 + [True, False]
    canary = Canary(version="0002", sha256="", uri="", share=0.5, since_ns=0)
    some, exclude = live_steps(builder, most_alarmed(), first, canary)
    assert 0 < len(some.assets) < TWINS
    assert exclude[:, -HOUR:].any(axis=1).tolist() == [asset == "t4" for asset in some.assets]

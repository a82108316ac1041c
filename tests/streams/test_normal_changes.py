"""Changes that are normal train although they alarm: announced ones."""

from __future__ import annotations

import numpy as np
import pytest

from models.hygiene import counts
from streams.records import EventRecord, Feedback
from streams.training_periods import TrainingPeriods
from tests.streams.test_trainer_blocks import PERIOD_NS, alert, block_of

DAY = 288  # steps
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

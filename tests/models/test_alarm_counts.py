"""Alarms of a twin and the steps in which it could have raised one are counted exactly, however steps come."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.alarm_counts import DAYS, AlarmCounts
from models.windows import DAY_NS

HOUR_NS = DAY_NS // 24
FIRST_NS = 20_000 * DAY_NS


def counted(splits: list[int], *, hours: int = 240, capacity: int = 3) -> AlarmCounts:
    """Rows 0 and 2 over ten days of hours: version 7, then 9; an alarm every 25th hour of row 0; row 2 not judged every fifth."""
    counts = AlarmCounts(capacity)
    hour = np.arange(hours)
    bounds = [0, *splits, hours]
    for start, end in itertools.pairwise(bounds):
        part = hour[start:end]
        rows = np.repeat([0, 2], len(part))
        steps = np.tile(part, 2)
        mark = np.where(steps < 200, 7, 9)
        mark[(rows == 2) & (steps % 5 == 0)] = 0
        counts.follow(rows, FIRST_NS + (steps + 1) * HOUR_NS, mark, (rows == 0) & (steps % 25 == 24))
    return counts


def test_the_newest_days_and_the_version_in_force_are_counted() -> None:
    counts = counted([])
    everything, judged = np.array([0, 1, 2]), np.arange(240)
    week, since = judged[judged >= 24 * (10 - DAYS)], judged[judged >= 200]
    assert counts.newest_days(everything) == (len(week) + int((week % 5 != 0).sum()), int((week % 25 == 24).sum()))
    assert counts.newest_days(np.array([0])) == (len(week), int((week % 25 == 24).sum()))
    assert counts.under(everything, 9) == (len(since) + int((since % 5 != 0).sum()), int((since % 25 == 24).sum()))
    assert counts.under(everything, 7) == (0, 0)
    assert counts.newest_days(np.array([1])) == (0, 0)


@pytest.mark.parametrize("splits", [[1, 2, 3], [23, 24, 25, 199, 201], list(range(7, 240, 7))])
def test_the_boundaries_of_calls_change_nothing(splits: list[int]) -> None:
    whole, parts = counted([]), counted(splits)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(parts.arrays[name], array, err_msg=name)


def test_days_of_a_twin_that_stopped_leave_the_week_of_the_others() -> None:
    counts = counted([])
    later = FIRST_NS + np.arange(12 * 24 + 1, 12 * 24 + 25) * HOUR_NS
    counts.follow(np.zeros(24, np.int64), later, np.full(24, 9), np.zeros(24, np.bool_))
    steps, _ = counts.newest_days(np.array([2]))
    both, _ = counts.newest_days(np.array([0, 2]))
    own, _ = counts.newest_days(np.array([0]))
    assert 0 < both - own < steps

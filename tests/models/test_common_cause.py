"""What most twins of a type show together and for long is the regime; what one, a few, or all for an hour show is not."""

from __future__ import annotations

import numpy as np
import pytest

from models.common_cause import common_hours

TWINS, HOURS = 10, 240


def found(spans: dict[int, tuple[int, int]], twins: int = TWINS) -> np.ndarray:
    """Common hours of each twin, of alerts by twin: (first hour, hour after the last)."""
    alerted = np.zeros((twins, HOURS), np.bool_)
    for twin, (begin, end) in spans.items():
        alerted[twin, begin:end] = True
    return common_hours(alerted, np.ones((twins, HOURS), np.bool_))


def test_what_most_twins_show_for_a_day_is_common_from_when_most_show_it() -> None:
    steps = found({twin: (100 + twin, 180) for twin in range(7)})
    assert steps.any(axis=1).tolist() == [True] * 7 + [False] * 3
    assert np.flatnonzero(steps[0]).tolist() == list(range(105, 180)), "six of ten from hour 105 on"
    assert np.flatnonzero(steps[6]).tolist() == list(range(106, 180))


@pytest.mark.parametrize(
    ("spans", "twins"),
    [
        ({0: (50, 240)}, TWINS),  # one twin, for eight days
        (dict.fromkeys(range(5), (50, 240)), TWINS),  # half of them
        (dict.fromkeys(range(10), (50, 73)), TWINS),  # all of them, for less than a day
        (dict.fromkeys(range(3), (50, 240)), 3),  # too few to tell
        ({twin: (50 + 12 * twin, 240) for twin in range(10)}, TWINS),  # one after the other, in five days
        (dict.fromkeys(range(10), (0, 240)), TWINS),  # nobody knows since when
    ],
)
def test_a_fault_of_one_of_a_few_of_an_hour_one_that_spreads_and_that_of_a_small_fleet_is_not_common(
    spans: dict[int, tuple[int, int]], twins: int
) -> None:
    assert not found(spans, twins).any()


def test_an_alert_that_began_long_before_or_goes_on_alone_is_not_of_the_common_cause() -> None:
    steps = found({**dict.fromkeys(range(7), (100, 150)), 7: (60, 150), 8: (80, 150), 9: (120, 240)})
    assert not steps[7].any(), "nearly two days before the others"
    assert np.flatnonzero(steps[8]).tolist() == list(range(100, 150))
    assert np.flatnonzero(steps[9]).tolist() == list(range(120, 150)), "the others' alerts are over, its own is not"


def test_what_recurs_at_one_hour_of_the_day_is_common_from_the_second_day_on() -> None:
    alerted = np.zeros((TWINS, HOURS), np.bool_)
    alerted[:, 100:104] = True
    closed = np.ones(alerted.shape, np.bool_)
    assert not common_hours(alerted, closed).any()
    alerted[:8, 124:128] = True
    alerted[9, 110:114] = True  # between them, alone
    steps = common_hours(alerted, closed)
    assert steps[0].sum() == 8
    assert not steps[9, 110:114].any()


def test_twins_that_close_no_step_have_no_vote() -> None:
    alerted, closed = np.zeros((TWINS, HOURS), np.bool_), np.ones((TWINS, HOURS), np.bool_)
    alerted[:5, 100:150] = True
    assert not common_hours(alerted, closed).any()
    closed[7:] = False
    assert common_hours(alerted, closed).sum() == 5 * 50


def test_hours_are_counted_where_a_column_stands_for_several() -> None:
    alerted = np.zeros((TWINS, HOURS), np.bool_)
    alerted[:, 100:111] = True
    closed = np.ones(alerted.shape, np.bool_)
    assert not common_hours(alerted, closed, hours=2.0).any()
    alerted[:, 111] = True
    assert common_hours(alerted, closed, hours=2.0).sum() == TWINS * 12

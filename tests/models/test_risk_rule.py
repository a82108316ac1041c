"""The rule from p-values to alarms: k of n, hysteresis, the same state wherever it goes on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.risk import ANEW, CLEAR, LONG, MUTE, QUIET, SEVERITIES, Heights, K, N, RiskState, RiskUpdate

ALARM_P = 1e-3
ALARM_AT = 3.0  # decades
ROW = np.array([0])


def steps(state: RiskState, p_values: list[float], row: int = 0) -> list[RiskUpdate]:
    return [state.update(np.array([row]), surprises(p), ALARM_AT) for p in p_values]


def surprises(*p_values: float) -> np.ndarray:
    return -np.log10(np.array(p_values)).astype(np.float32)


def test_fewer_than_k_strange_steps_of_n_raise_nothing() -> None:
    updates = steps(RiskState(1), ([1e-20] * (K - 1) + [0.5] * (N - K + 1)) * 5)
    assert not any(update.alarm[0] for update in updates)
    assert all(update.risk[0] < 0.5 for update in updates)


def test_the_kth_strange_step_of_n_raises_once() -> None:
    updates = steps(RiskState(1), [0.5, 1e-4, 0.5, 1e-4, 1e-4, 1e-4, 1e-4])
    assert [bool(update.rising[0]) for update in updates] == [False, False, False, False, True, False, False]


def test_an_alarm_ends_after_quiet_steps_below_the_weaker_level() -> None:
    weaker, stronger = ALARM_P ** (CLEAR * 0.9), ALARM_P ** (CLEAR * 1.1)
    state = RiskState(1)
    steps(state, [1e-9] * N)
    assert all(update.alarm[0] for update in steps(state, [stronger] * 50))
    # the last strong steps leave the k-of-n memory first
    updates = steps(state, [weaker] * (N + QUIET))
    ended = [bool(update.alarm[0]) for update in updates].index(False)
    assert QUIET <= ended + 1 <= N + QUIET


def said(state: RiskState, *surprise: float) -> list[RiskUpdate]:
    return [state.update(ROW, np.array([one], np.float32), ALARM_AT) for one in surprise]


@pytest.mark.parametrize("gap", [1, 4, 3 * LONG])
@pytest.mark.parametrize("calm", [0, 3, 6])
def test_steps_that_say_nothing_hold_an_alarm_which_then_ends_as_if_they_had_not_been(gap: int, calm: int) -> None:
    with_gap, without = RiskState(1), RiskState(1)
    for state in (with_gap, without):
        said(state, *[9.0] * N, *[0.0] * calm)
    held = said(with_gap, *[MUTE] * gap)
    assert all(update.alarm[0] and update.held[0] and update.risk[0] >= 0.5 for update in held)
    assert len({int(update.severity[0]) for update in held}) == 1
    ended = [[bool(update.alarm[0]) for update in said(state, *[0.0] * 20)].index(False) for state in (with_gap, without)]
    assert abs(ended[0] - ended[1]) <= N - K  # steps by which K of N have spoken again


def test_an_alarm_that_goes_on_behind_a_gap_does_not_rise_again() -> None:
    state = RiskState(1)
    said(state, *[9.0] * N)
    updates = said(state, *[MUTE] * 50, *[9.0] * 10)
    assert all(update.alarm[0] for update in updates)
    assert not any(update.rising[0] for update in updates)


def test_a_twin_that_begins_anew_is_not_in_alarm() -> None:
    state = RiskState(1)
    said(state, *[9.0] * N, *[MUTE] * 3)
    updates = said(state, ANEW, *[MUTE] * 10, *[9.0] * K)
    assert [bool(update.alarm[0]) for update in updates] == [False] * (11 + K - 1) + [True]
    assert updates[-1].rising[0]


def test_what_says_nothing_raises_nothing() -> None:
    assert not any(update.alarm[0] for update in said(RiskState(1), *[9.0, MUTE, MUTE, 9.0, MUTE, MUTE] * 5))


@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=60))
def test_risk_is_at_or_above_one_half_exactly_during_an_alarm(p_values: list[float]) -> None:
    for update in steps(RiskState(1), p_values):
        assert (update.risk[0] >= 0.5) == update.alarm[0]
        assert 0 <= update.risk[0] <= 1
        assert (update.severity[0] > 0) == update.alarm[0]
        assert update.severity[0] < len(SEVERITIES)


@given(st.lists(st.tuples(st.floats(1e-9, 1.0), st.floats(1e-9, 1.0)), min_size=1, max_size=40), st.integers(0, 39))
def test_twins_do_not_touch_each_other_and_a_restored_one_goes_on_with_the_same_bits(
    pairs: list[tuple[float, float]], cut: int
) -> None:
    together, alone, moved = RiskState(3), RiskState(1), RiskState(5)
    for number, (one, other) in enumerate(pairs):
        if number == cut:
            moved.restore(4, alone.export(0))
        both = together.update(np.array([2, 0]), surprises(one, other), ALARM_AT)
        single = steps(alone, [one])[0]
        for name in ("risk", "alarm", "rising", "severity"):
            assert getattr(both, name)[0].tobytes() == getattr(single, name)[0].tobytes()
        if number >= cut:
            assert steps(moved, [one], row=4)[0].risk.tobytes() == single.risk.tobytes()


def test_risk_rises_with_strangeness() -> None:
    risks = [steps(RiskState(1), [p] * N)[-1].risk[0] for p in (0.5, 1e-1, 1e-2, 1e-3, 1e-5, 1e-9)]
    assert risks == sorted(risks)


def test_severity_grows_with_strength_and_duration() -> None:
    light, grave = (steps(RiskState(1), [p] * N)[-1].severity[0] for p in (0.8e-3, 1e-12))
    assert SEVERITIES[light] == "warning"
    assert SEVERITIES[grave] == "critical"
    assert SEVERITIES[steps(RiskState(1), [0.8e-3] * 40)[-1].severity[0]] == "minor"


def test_growing_keeps_what_is_known_and_reset_forgets_it() -> None:
    state = RiskState(1)
    steps(state, [1e-9] * N)
    known = state.export(0)
    state.grow(4)
    assert len(state) == 4
    assert all((state.export(0)[name] == array).all() for name, array in known.items())
    state.reset(0)
    assert all((array == 0).all() for array in state.export(0).values())


def test_a_state_of_another_shape_is_refused_and_changes_nothing() -> None:
    state = RiskState(1)
    steps(state, [1e-9] * N)
    before = state.export(0)
    with pytest.raises(ValueError, match=r"surprise has shape \(3,\), expected \(5,\)"):
        state.restore(0, {**before, "surprise": np.zeros(3, np.float32)})
    assert all((state.export(0)[name] == array).all() for name, array in before.items())


def told(update: RiskUpdate) -> tuple[np.ndarray, ...]:
    return update.risk, update.alarm, update.rising, update.severity, update.held


def test_twins_that_stay_calm_and_those_that_do_not_are_where_steps_one_by_one_bring_them() -> None:
    random = np.random.default_rng(4)
    stepwise, at_once = RiskState(9), RiskState(9)
    seen, alarms = np.zeros(2, np.int64), 0
    for _ in range(40):
        counts = random.integers(0, 12, 9)
        rows = np.repeat(np.arange(9), counts)
        surprise = random.gamma(0.7, 1.2, len(rows)).astype(np.float32)
        surprise[random.random(len(rows)) < 0.2] = MUTE
        surprise[random.random(len(rows)) < 0.02] = ANEW
        alarm_at = np.full(len(rows), 1.7)
        found = at_once.heights(rows, surprise)
        calm = at_once.calm(rows, found.height, alarm_at)
        stirred = np.isin(rows, rows[calm.stirred])
        seen += stirred.sum(), (~stirred).sum()
        last = np.append(rows[1:] != rows[:-1], [True])[: len(rows)]
        at_once.settle_calm(rows[last & ~stirred], found.recent[last & ~stirred])
        theirs = Heights(found.recent[stirred], found.height[stirred])
        followed = zip(*told(at_once.follow(rows[stirred], theirs, alarm_at[stirred])), strict=True)
        for at, row in enumerate(rows):
            update = stepwise.update(np.array([row]), surprise[[at]], alarm_at[[at]])
            if stirred[at]:
                alarms += update.alarm[0]
                assert tuple(next(followed)) == tuple(part[0] for part in told(update))
            else:
                assert (calm.risk[at], False, 0) == (update.risk[0], update.alarm[0], update.severity[0])
        for name, array in stepwise.arrays.items():
            assert array.tobytes() == at_once.arrays[name].tobytes(), name
    assert (seen > 100).all(), seen
    assert alarms > 100

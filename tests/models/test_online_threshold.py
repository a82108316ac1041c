"""A twin's threshold follows what the twin itself does, without learning away what lasts, and the same however steps come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from models.alarm_rate import choose
from models.online_threshold import BLOCK, BOUNDS, FALL, NEVER, RISE, STEP, OnlineThresholds, Promises
from models.risk import RiskState

PROMISED, TARGET_A_BLOCK, SIZE = 3.3, 0.02 * BLOCK / 288, 0.35  # decades; 0.02 alarms a day of 288 steps; decades
WEEK = 2016


def promises(count: int, mark: int = 1) -> Promises:
    return promised(np.full(count, mark))


def promised(marks: NDArray[np.int64], threshold: float = PROMISED) -> Promises:
    """By versions of these marks, for each step."""
    return Promises(marks, *(np.full(len(marks), one) for one in (threshold, TARGET_A_BLOCK, SIZE)))


def surprises(twins: int, steps: int, *, stretch: float = 1.0, memory: float = 0.9, seed: int = 0) -> NDArray[np.float32]:
    """(twins, steps) of normal steps that resemble their neighbours; `stretch` 1: p-values are what they say."""
    noise = np.random.default_rng(seed).standard_normal((twins, steps)) * np.sqrt(1 - memory * memory)
    wandering = signal.lfilter([1], [1, -memory], noise, axis=1)
    return np.asarray(-np.log10(2 * stats.norm.sf(np.abs(wandering))) * stretch, np.float32)


def followed(surprise: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
    """Heights, thresholds and alarms, (twins, steps) each."""
    twins, steps = surprise.shape
    rows, step, risk = np.repeat(np.arange(twins), steps), np.tile(np.arange(steps), twins) + 10**7, RiskState(twins)
    found = risk.heights(rows, surprise.ravel())
    thresholds = OnlineThresholds(twins).follow(rows, step, found.height, promises(len(rows)))
    alarm = risk.follow(rows, found, thresholds).alarm
    return tuple(one.reshape(twins, steps) for one in (found.height, thresholds, alarm))  # type: ignore[return-value]


def onsets_over_target(alarm: NDArray[np.bool_]) -> float:
    return int((alarm[:, 1:] & ~alarm[:, :-1]).sum()) / (TARGET_A_BLOCK * alarm.size / BLOCK)


def test_twins_that_are_stranger_than_promised_come_to_alarm_about_as_often_as_asked_for() -> None:
    height, thresholds, alarm = followed(surprises(40, 6 * WEEK, stretch=2.5))
    later = np.s_[:, 2 * WEEK :]
    assert onsets_over_target(height[later] >= PROMISED) > 20
    assert 0.3 < onsets_over_target(alarm[later]) < 2.5
    assert (thresholds[:, 0] == PROMISED).all()


def test_twins_that_are_as_promised_stay_near_the_promise() -> None:
    _, thresholds, alarm = followed(surprises(40, 4 * WEEK))
    assert np.abs(thresholds[:, -1] - PROMISED).max() < 1.2
    assert onsets_over_target(alarm) < 1.5


def test_twins_so_quiet_that_no_peak_comes_come_to_alarm_about_as_often_as_asked_for() -> None:
    height, thresholds, _ = followed(surprises(16, 40 * WEEK, stretch=0.55))
    later = np.s_[:, 20 * WEEK :]
    assert (height[later] >= PROMISED).sum() == 0
    assert 0.6 < onsets_over_target(height[later] >= thresholds[later]) < 1.6


def test_a_promise_learnt_from_two_days_of_a_type_holds_for_weeks_of_its_twins() -> None:
    surprise = surprises(40, 576 + 6 * WEEK)
    chosen = choose(surprise[:, :576], 300 * 10**9, 0.02)
    height = RiskState(40).heights(np.repeat(np.arange(40), 6 * WEEK), surprise[:, 576:].ravel()).height.reshape(40, -1)
    assert 0.2 < onsets_over_target(height >= -np.log10(chosen.alarm_p)) < 1.25
    assert 0.05 < chosen.peak_size < 0.4


def test_a_fault_that_stays_is_not_learnt_away() -> None:
    surprise = surprises(20, 5 * WEEK)
    surprise[:, 3 * WEEK :] += 8.0
    _, thresholds, alarm = followed(surprise)
    assert alarm[:, 3 * WEEK + 10 :].all()
    assert (thresholds[:, -1] - thresholds[:, 3 * WEEK]).max() < 1.2  # as one peak that reached it, and one alarm


def test_a_fault_that_grows_for_a_week_is_not_learnt_away() -> None:
    surprise = surprises(20, 5 * WEEK)
    surprise[:, 3 * WEEK : 4 * WEEK] += np.linspace(0, 8, WEEK, dtype=np.float32)
    surprise[:, 4 * WEEK :] += 8.0
    _, _, alarm = followed(surprise)
    assert alarm[:, 4 * WEEK :].all()
    began = alarm[:, 3 * WEEK :].argmax(axis=1)
    assert np.median(began) < 0.75 * WEEK


def test_a_threshold_stays_within_bounds_of_the_promise() -> None:
    step = np.arange(60 * WEEK)
    rows, wanted = np.zeros(len(step), np.int64), promises(len(step))
    loud = np.where(step // BLOCK % 3 == 0, np.float32(30), np.float32(0))  # a peak of its own every third block
    assert OnlineThresholds(1).follow(rows, step, loud, wanted).max() == BOUNDS[1] * PROMISED
    silent = np.where(step // BLOCK % 40 == 0, np.float32(2.41), np.float32(0))  # that just begin
    assert OnlineThresholds(1).follow(rows, step, silent, wanted).min() >= BOUNDS[0] * PROMISED


def test_the_next_version_goes_on_with_part_of_what_was_seen_and_a_twin_it_does_not_know_never_alarms() -> None:
    surprise, rows, step = surprises(1, 3 * WEEK, stretch=2.5).ravel(), np.zeros(3 * WEEK, np.int64), np.arange(3 * WEEK)
    state = OnlineThresholds(1)
    height = RiskState(1).heights(rows, surprise).height
    last = state.follow(rows, step, height, promises(len(rows)))[-1]
    one, seen, moved = rows[:1], state.arrays["sums"][0].copy(), state.arrays["offset"][0]
    unknown = state.follow(one, step[-1:] + 1, height[:1], promises(1, mark=0))
    assert unknown.tolist() == [NEVER] or unknown.tolist() == [PROMISED]
    after = state.follow(one, step[-1:] + 2, height[:1], promises(1, mark=2))[0]
    assert PROMISED < after <= BOUNDS[1] * PROMISED
    assert 0 < state.arrays["sums"][0, 2] < seen[2]
    assert 0 < state.arrays["offset"][0] < moved
    assert last > PROMISED


def test_it_does_not_matter_how_often_versions_follow_each_other() -> None:
    twins, steps = 12, 6 * WEEK + 1
    rows, step, last = np.repeat(np.arange(twins), steps), np.tile(np.arange(steps), twins), {}
    for stretch in (0.7, 2.0):
        height = RiskState(twins).heights(rows, surprises(twins, steps, stretch=stretch).ravel()).height
        for hours in (1, 168):
            wanted = promised(1 + step // (12 * hours))
            last[hours] = OnlineThresholds(twins).follow(rows, step, height, wanted).reshape(twins, steps)[:, -1]
        assert np.abs(last[168] - PROMISED).min() > 0.3
        assert np.median(np.abs(last[1] - last[168])) < 0.1  # one alarm more or less moves a threshold by 0.4


def test_a_threshold_moves_slowly_both_ways() -> None:
    _, thresholds, _ = followed(np.concatenate([surprises(8, WEEK, stretch=3), surprises(8, WEEK, stretch=0.4)], axis=1))
    moves = np.diff(thresholds, axis=1)
    assert np.isclose(moves.max(), RISE, atol=2e-4)
    assert np.isclose(moves.min(), -FALL, atol=2e-4)


def test_a_threshold_does_not_jump_where_another_version_takes_over() -> None:
    step = np.arange(90 * BLOCK)
    rows, loud = np.zeros(len(step), np.int64), np.where(step // BLOCK % 3 == 0, np.float32(6), np.float32(0))
    for more in (0.0, 0.5):
        state = OnlineThresholds(1)
        before = state.follow(rows, step, loud, promises(len(step)))[-1]
        assert before > PROMISED + 1
        after = state.follow(rows[:1], step[-1:] + 1, loud[:1], promised(np.array([2]), PROMISED + more))[0]
        assert before + more < after <= before + more + RISE + 1e-3


def test_what_was_an_alarm_is_one_whatever_the_version_that_takes_over_in_the_same_block_promises() -> None:
    step, rows = np.arange(BLOCK), np.zeros(BLOCK, np.int64)
    for top, alarms, next_promise in ((PROMISED + 0.1, 1, PROMISED + 0.5), (PROMISED - 0.1, 0, PROMISED - 0.5)):
        state, height = OnlineThresholds(1), np.where(step == 5, np.float32(top), np.float32(0))
        state.follow(rows[:16], step[:16], height[:16], promises(16))
        state.follow(rows[16:], step[16:], height[16:], promised(np.full(16, 2), next_promise))
        state.follow(rows[:1], step[-1:] + 1, height[:1], promised(np.array([2]), next_promise))
        assert round(float(state.arrays["offset"][0]), 6) == round(STEP * (alarms - TARGET_A_BLOCK), 6)


def test_boundaries_of_calls_and_a_restored_row_change_no_bit() -> None:
    random = np.random.default_rng(3)
    twins, steps = 6, 500
    surprise = surprises(twins, steps, stretch=2)
    begins, marks = random.integers(0, 40, twins), np.where(np.arange(steps) < 300, 1, 2)
    whole, expected = OnlineThresholds(twins), {}
    for twin in range(twins):
        rows, step = np.full(steps, twin), np.arange(steps) + begins[twin]
        height = RiskState(twins).heights(rows, surprise[twin]).height
        wanted = promised(marks)
        expected[twin] = height, step, whole.follow(rows, step, height, wanted)
    parts, done = OnlineThresholds(twins), np.zeros(twins, np.int64)
    while (done < steps).any():
        counts = np.minimum(random.integers(0, 90, twins), steps - done)
        picked = [(twin, at) for twin in random.permutation(twins) for at in range(done[twin], done[twin] + counts[twin])]
        if not picked:
            continue
        rows, at = (np.array(one) for one in zip(*picked, strict=True))
        height = np.array([expected[row][0][place] for row, place in picked], np.float32)
        step = np.array([expected[row][1][place] for row, place in picked])
        wanted = promised(marks[at])
        found = parts.follow(rows, step, height, wanted)
        assert found.tolist() == [expected[row][2][place] for row, place in picked]
        done += counts
        moved = OnlineThresholds(twins)
        for twin in range(twins):
            moved.restore(twin, parts.export(twin))
        parts = moved
    for name, array in whole.arrays.items():
        assert array.tobytes() == parts.arrays[name].tobytes(), name

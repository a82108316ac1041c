"""What a channel has ever shown is remembered: against a memory that keeps every value, whatever the boundaries of calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.novelty import BINS, LATELY, UNIT, LastingSurprise, NoveltyState, strangeness

Floats = np.ndarray


def novelties(values: Floats, sizes: tuple[int, ...] = ()) -> Floats:
    """Of one twin's steps (T, C), handed over in calls of these sizes, again and again; all at once without."""
    state, found, start = NoveltyState(1, values.shape[1]), [], 0
    for number in range(len(values) + 1):
        size = sizes[number % len(sizes)] if sizes else len(values)
        part = values[start : start + size].astype(np.float32)
        start += size
        if len(part):
            found.append(state.update(np.zeros(len(part), np.int64), part, np.isfinite(part)))
    return np.concatenate(found)


def remembered(values: Floats) -> list[float]:
    """By the definition, with every value kept: decades of the gap to the nearest one before, as a share of the range before."""
    found, before = [], []
    for x in values.astype(np.float32).astype(np.float64):
        share = 0.0
        if before:
            span = max(before) - min(before)
            gap = min(abs(x - one) for one in before)
            share = gap / span if span > 0 else float(gap > 0)
        found.append(float(np.clip(np.log10(max(share, UNIT) / UNIT), 0, np.log10(len(before) + 1))))
        before.append(x)
    return found


def test_a_value_never_seen_is_novel_once_and_values_seen_never_are() -> None:
    ordinary = np.random.default_rng(1).normal(50, 1, 600)
    found = novelties(np.concatenate([ordinary, [58, 58, 57.99], ordinary])[:, None])[:, 0]
    assert found[600] == pytest.approx(np.log10(600 + 1)) == found.max()
    assert (found[601:] == 0).all()


def test_in_a_channel_that_never_moved_any_move_is_novel() -> None:
    for level in (0.0, -3.0, 1e30):
        found = novelties(np.array([level] * 400 + [level + max(abs(level), 1) / 100])[:, None])[:, 0]
        assert (found[:400] == 0).all()
        assert found[400] == pytest.approx(np.log10(401))


def test_a_gap_inside_the_range_counts_too() -> None:
    rng = np.random.default_rng(2)
    both = np.concatenate([rng.uniform(0, 1, 500), rng.uniform(9, 10, 500)])
    found = novelties(np.append(rng.permutation(both), 5.0)[:, None])[:, 0]
    assert found[1000] == pytest.approx(min(np.log10(0.4 / UNIT), np.log10(1001)))
    assert novelties(np.append(rng.permutation(both), 1.2)[:, None])[1000, 0] == pytest.approx(np.log10(0.02 / UNIT), abs=0.25)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3).map(float) | st.just(float("nan")), min_size=2, max_size=60),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
)
def test_boundaries_of_calls_change_no_bit(values: list[float], sizes: list[int]) -> None:
    two = np.array([values, values[::-1]]).T
    assert novelties(two, tuple(sizes)).tobytes() == novelties(two).tobytes()


@settings(deadline=None)
@example([1.0, 791.0, 0.0, -1.0])  # 0 lies beyond the range, in the bin of 1
@given(st.lists(st.floats(-1e5, 1e5, width=32), min_size=1, max_size=40))
def test_within_a_bin_it_is_what_a_memory_of_every_value_says(values: list[float]) -> None:
    found, expected = novelties(np.array(values)[:, None])[:, 0], np.array(remembered(np.array(values)))
    # never more than the exact answer, and less by two bins at most; a bin is no wider than 1/64 of the range
    share, exact = UNIT * 10**found, UNIT * 10**expected
    assert (share <= exact * (1 + 1e-6)).all()
    uncapped = expected < np.log10(np.arange(len(values)) + 1.0) - 1e-9
    assert (exact - share <= 2 / (BINS / 4) + UNIT)[uncapped].all()


def test_twins_and_channels_do_not_mix_and_room_for_more_changes_nothing() -> None:
    values = np.random.default_rng(3).normal(0, 1, (3, 200, 2)).astype(np.float32)
    alone = [novelties(one) for one in values]
    together, steps, found = NoveltyState(0, 2), values.transpose(1, 0, 2).reshape(-1, 2), []
    for start, capacity in ((0, 3), (300, 8)):
        together.grow(capacity)
        rows = np.tile(np.arange(3), 100)
        found.append(together.update(rows, steps[start : start + 300], np.ones((300, 2), np.bool_)))
    assert np.concatenate(found).reshape(200, 3, 2).transpose(1, 0, 2).tobytes() == np.stack(alone).tobytes()


def test_values_that_are_not_good_are_neither_judged_nor_remembered() -> None:
    values = np.random.default_rng(4).normal(0, 1, (50, 1)).astype(np.float32)
    state = NoveltyState(1, 1)
    state.update(np.zeros(50, np.int64), values, np.ones((50, 1), np.bool_))
    kept = {name: array.copy() for name, array in state.arrays.items()}
    bad = np.array([[1e20], [np.nan], [-7.0]], np.float32)
    assert (state.update(np.zeros(3, np.int64), bad, np.zeros((3, 1), np.bool_)) == 0).all()
    assert all((state.arrays[name] == array).all() for name, array in kept.items())


def test_surprise_ranks_below_a_clear_novelty_and_above_calm() -> None:
    surprise = np.array([0.1, 1.0, 0.1, 1.0])
    contribution = np.tile(np.array([[0.75, 0.25]], np.float32), (4, 1))
    novelty = np.array([[0, 0], [0, 0], [0, 3.5], [0, 3.5]])
    found, share = strangeness(surprise, contribution, novelty)
    assert found[0] < found[1] < found[2] < found[3]
    assert share.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert share[1].tolist() == [0.75, 0.25]
    assert share[2].argmax() == 1


def test_one_new_value_among_many_channels_counts_less() -> None:
    few, many = (
        strangeness(np.zeros(1), np.zeros((1, channels), np.float32), np.eye(1, channels) * 3.0)[0][0] for channels in (1, 10)
    )
    assert few > 5 * many > 0


def test_surprise_that_lasts_ranks_above_one_that_is_over_at_once_and_holds_through_usual_steps() -> None:
    score = np.full(95, 0.2, np.float32)
    score[20] = 6.0
    score[40:70] = 6.0
    score[55] = 0.2
    found = LastingSurprise(1).update(np.zeros(95, np.int64), score)
    assert found[40] == pytest.approx(found[20])
    assert (found[40 + LATELY : 55] > found[20]).all()
    assert found[55] > 3 * found[39]
    assert found[70 + LATELY] == pytest.approx(found[39])


def test_lasting_surprise_has_the_same_bits_whatever_the_calls_and_whoever_stands_beside() -> None:
    score = np.random.default_rng(5).gamma(1.0, 1.5, (3, 90)).astype(np.float32)
    alone = np.stack([LastingSurprise(1).update(np.zeros(90, np.int64), one) for one in score])
    together, found = LastingSurprise(0), []
    for start, end, capacity in ((0, 1, 3), (1, 40, 3), (40, 90, 8)):
        together.grow(capacity)
        rows = np.tile([2, 0, 1], end - start)
        found.append(together.update(rows, score[[2, 0, 1], start:end].T.ravel()).reshape(-1, 3))
    assert np.concatenate(found)[:, [1, 2, 0]].T.tobytes() == alone.tobytes()

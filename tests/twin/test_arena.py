"""The arenas against the naive twin: any records, cut into any batches, delivered any number of times."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.naive_twin import NaiveTwin, Values
from twin.arena import Arena, ClosedSteps, FoldCounts
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S, TwinType, compile_type

TYPE = compile_type(
    {
        "@id": "dtmi:test:Thing;1",
        "@type": "Interface",
        "samplingPeriod": "PT1S",
        "lateness": "PT2S",
        "maxAhead": None,
        "contents": [
            {"@type": "Telemetry", "name": "a", "schema": "double", "minimum": -5, "maximum": 5},
            {"@type": "Telemetry", "name": "b", "schema": "double", "stuckAfter": 3},
        ],
    }
)
WINDOW, GAP = 8, 3
# (twin, values of one record); times in tenths of a second so that several fall into one step
_value = st.tuples(st.integers(0, 1), st.integers(0, 4_000), st.sampled_from([-9.0, 0.0, 0.5, 1.0, 2.25]))
_near = st.tuples(st.integers(0, 1), st.integers(0, 120), st.sampled_from([-9.0, 0.0, 0.5, 1.0, 2.25]))
records = st.lists(st.tuples(st.integers(0, 2), st.lists(st.one_of(_near, _near, _value), min_size=1, max_size=6)), max_size=40)


def _values(found: list[tuple[int, int, float]]) -> Values:
    return [(channel, tenths * (NS_PER_S // 10), value) for channel, tenths, value in found]


def _fold(arena: Arena, numbered: list[tuple[int, int, Values]]) -> tuple[list[ClosedSteps], FoldCounts]:
    builder = ReadingBatchBuilder()
    for offset, twin, values in numbered:
        row = arena.row(f"t{twin}", 0)
        for channel, time, value in values:
            builder.add(row, [channel], time, [value], offset, 0)
    result = arena.fold(builder.build())
    return result.closed, result.counts


def _collected(arena: Arena, rounds: list[ClosedSteps]) -> dict[str, list[tuple[int, list[float], list[int], int]]]:
    found: dict[str, list[tuple[int, list[float], list[int], int]]] = defaultdict(list)
    for closed in rounds:
        for index in range(len(closed)):
            asset = arena.asset_of[int(closed.row[index])]
            assert asset is not None
            found[asset].append(
                (
                    int(closed.step[index]),
                    closed.values[index].tolist(),
                    closed.quality[index].tolist(),
                    int(closed.closed_by[index]),
                )
            )
    return found


def _same(ours: list[tuple[int, list[float], list[int], int]], twin: NaiveTwin) -> None:
    assert [(step, quality, offset) for step, _, quality, offset in ours] == [
        (s.step, s.quality, s.closed_by) for s in twin.emitted
    ]
    np.testing.assert_array_equal([values for _, values, _, _ in ours], [s.values for s in twin.emitted])


@settings(max_examples=300, deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_batches_of_any_size_close_the_steps_that_the_definition_closes(
    sent: list[tuple[int, list[tuple[int, int, float]]]], cut: random.Random
) -> None:
    numbered = [(offset, twin, _values(values)) for offset, (twin, values) in enumerate(sent)]
    naive = {twin: NaiveTwin(TYPE, GAP, window=WINDOW) for twin in range(3)}
    for offset, twin, values in numbered:
        naive[twin].record(offset, values)

    arena = Arena(TYPE, window=WINDOW, gap_steps=GAP, capacity=1)
    rounds: list[ClosedSteps] = []
    late = duplicate = 0
    rest = numbered
    while rest:
        size = cut.randint(1, len(rest))
        closed, counts = _fold(arena, rest[:size])
        rounds += closed
        late, duplicate, rest = late + counts.late, duplicate + counts.duplicate, rest[size:]
    found = _collected(arena, rounds)
    for twin, one in naive.items():
        _same(found[f"t{twin}"], one)
    # whether a value is late or a repetition depends on the log, not on what came with it in a batch
    assert late == sum(one.late for one in naive.values())
    assert duplicate == sum(one.duplicate for one in naive.values())


@settings(max_examples=150, deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_redelivered_records_change_nothing(sent: list[tuple[int, list[tuple[int, int, float]]]], pick: random.Random) -> None:
    numbered = [(offset, twin, _values(values)) for offset, (twin, values) in enumerate(sent)]
    once, twice = (Arena(TYPE, window=WINDOW, gap_steps=GAP, capacity=4) for _ in range(2))
    expected, _ = _fold(once, numbered)
    rounds: list[ClosedSteps] = []
    for end in range(0, len(numbered), 3):
        rounds += _fold(twice, numbered[: end + 3][-pick.randint(3, 9) :])[0]
    assert _collected(once, expected).keys() == _collected(twice, rounds).keys()
    for asset, steps in _collected(once, expected).items():
        np.testing.assert_equal(_collected(twice, rounds)[asset], steps)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 19), st.floats(-4, 4, width=32)), min_size=1, max_size=30), st.randoms()
)
def test_arrival_order_within_the_lateness_does_not_change_the_windows(
    values: list[tuple[int, int, float]], mix: random.Random
) -> None:
    """Everything within two seconds of event time, in any order of records, then time moves on."""
    unique = {(channel, tenths): value for channel, tenths, value in values}
    sent = [(0, [(channel, tenths, value)]) for (channel, tenths), value in unique.items()]
    shuffled = list(sent)
    mix.shuffle(shuffled)
    ends = []
    for order in (sent, shuffled):
        arena = Arena(TYPE, window=WINDOW, gap_steps=GAP)
        closed, counts = _fold(arena, [(i, twin, _values(v)) for i, (twin, v) in enumerate([*order, (0, [(0, 100, 1.0)])])])
        assert counts.late == 0
        ends.append([(c.step.tolist(), c.values.tolist(), c.quality.tolist()) for c in closed])
    np.testing.assert_equal(ends[0], ends[1])


def test_a_window_ends_in_its_step_and_holds_the_steps_before() -> None:
    arena = Arena(TYPE, window=4)
    closed, _ = _fold(arena, [(i, 0, [(0, i * NS_PER_S, float(i % 5))]) for i in range(200)])
    steps = np.concatenate([c.step for c in closed])
    windows = np.concatenate([c.windows for c in closed])[:, :, 0]
    assert steps.tolist() == list(range(197))
    for step, window in zip(steps[3:], windows[3:], strict=True):
        assert window.tolist() == [float(k % 5) for k in range(step - 3, step + 1)]
    assert all((c.windows[:, -1] == c.values).all() | np.isnan(c.values).any() for c in closed)


def test_an_hour_of_backlog_in_one_record_is_late_for_nobody() -> None:
    arena = Arena(TYPE, window=4)
    _, counts = _fold(arena, [(0, 0, [(0, i * NS_PER_S, 1.0) for i in reversed(range(3600))])])
    assert (counts.accepted, counts.late) == (3600, 0)


def test_a_reading_too_far_ahead_is_refused_and_closes_nothing() -> None:
    strict = compile_type({**_interface(), "maxAhead": "PT1M"})
    arena = Arena(strict, window=4)
    builder = ReadingBatchBuilder()
    row = arena.row("t0", 0)
    builder.add(row, [0], 10 * NS_PER_S, [1.0], 0, 10 * NS_PER_S)
    builder.add(row, [0], 9_000 * NS_PER_S, [1.0], 1, 11 * NS_PER_S)
    builder.add(row, [0], 11 * NS_PER_S, [1.0], 2, 11 * NS_PER_S)
    result = arena.fold(builder.build())
    assert (result.ahead.tolist(), result.counts.accepted, result.counts.ahead) == ([1], 2, 1)


def _interface() -> dict[str, object]:
    return {
        "@id": "dtmi:test:Strict;1",
        "@type": "Interface",
        "samplingPeriod": "PT1S",
        "lateness": "PT2S",
        "contents": [{"@type": "Telemetry", "name": "a", "schema": "double"}],
    }


def test_a_silent_year_closes_in_a_moment_and_starts_with_an_empty_window() -> None:
    arena = Arena(TYPE, window=4, gap_steps=GAP)
    year = 31_536_000
    closed, _ = _fold(
        arena, [(0, 0, [(0, 0, 1.0)]), (1, 0, [(0, year * NS_PER_S, 2.0)]), (2, 0, [(0, (year + 9) * NS_PER_S, 2.0)])]
    )
    steps = np.concatenate([c.step for c in closed]).tolist()
    assert steps[: GAP + 1] == [0, 1, 2, 3]
    assert steps[GAP + 1] == year
    after = next(c for c in closed if year in c.step.tolist())
    assert np.isnan(after.windows[after.step.tolist().index(year), :-1, 0]).all()


@pytest.mark.parametrize("type_", [TYPE])
def test_rows_are_used_again_without_a_trace_of_the_twin_before(type_: TwinType) -> None:
    arena = Arena(type_, window=4, capacity=1)
    _fold(arena, [(i, 0, [(0, i * NS_PER_S, 3.0)]) for i in range(20)])
    arena.remove("t0")
    closed, _ = _fold(arena, [(i, 1, [(0, i * NS_PER_S, 1.0)]) for i in range(4)])
    assert closed[0].windows[0, -1, 0] == 1.0
    assert np.isnan(closed[0].windows[0, :-1]).all()

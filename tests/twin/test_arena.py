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
from twin.row_state import export_row, restore_row
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
            {"@type": "Telemetry", "name": "b", "schema": "double", "stuckAfter": 3, "gapLimit": 3},
            {"@type": "Telemetry", "name": "c", "schema": "double", "gapRule": "linear", "gapLimit": 4, "spikeLimit": 0.5},
            {"@type": "Telemetry", "name": "d", "schema": "double", "gapRule": "none", "unit": "bar", "maximum": 40},
        ],
    }
)
CHANNELS = len(TYPE.channels)
WINDOW, GAP = 8, 3
# (twin, values of one record); times in tenths of a second so that several fall into one step
_channel = st.integers(0, CHANNELS - 1)
_number = st.sampled_from([-9.0, 0.0, 0.5, 1.0, 2.25, 2.5, 36.26, 2.5 * 14.5038, 250.0])
_value = st.tuples(_channel, st.integers(0, 4_000), _number)
_near = st.tuples(_channel, st.integers(0, 120), _number)
_any = st.lists(st.tuples(st.integers(0, 2), st.lists(st.one_of(_near, _near, _value), min_size=1, max_size=6)), max_size=40)


def _reading(tenths: int, cells: list[float | None]) -> list[tuple[int, int, float]]:
    return [(channel, tenths, cell) for channel, cell in enumerate(cells) if cell is not None]


# records of many readings of many channels
_cells = st.lists(st.one_of(_number, _number, st.none()), min_size=CHANNELS, max_size=CHANNELS)
_whole = st.builds(_reading, st.integers(0, 120), _cells)
_table = st.lists(_whole, min_size=1, max_size=8).map(lambda readings: [value for one in readings for value in one])
_tables = st.lists(st.tuples(st.integers(0, 2), _table), max_size=15)
# a stream as plants send them: nearly every step, nearly every channel, now and then a spike, a gap, another unit, a delay
_factor = st.sampled_from([1.0] * 12 + [14.5038, 100.0, 4.0])
_late = st.sampled_from([0, 0, 0, 0, 1, 2, 5])


@st.composite
def _streams(draw: st.DrawFn) -> list[tuple[int, list[tuple[int, int, float]]]]:
    sent, steps, factor = [], draw(st.integers(1, 45)), 1.0
    for step in range(steps):
        factor = draw(_factor) if draw(st.booleans()) else factor
        for channel in range(CHANNELS):
            if draw(st.integers(0, 5)):
                value = (2.5 + 0.01 * draw(st.integers(-2, 2))) * factor
                sent.append((step + draw(_late), (0, [(channel, 10 * step + 3, value)])))
    return [record for _, record in sorted(sent, key=lambda one: one[0])]


records = st.one_of(_any, _tables, _streams())


Found = tuple[int, list[float], list[int], int, list[list[float]]]


def _values(found: list[tuple[int, int, float]]) -> Values:
    return [(channel, tenths * (NS_PER_S // 10), value) for channel, tenths, value in found]


def _readings(values: Values) -> list[tuple[int, dict[int, float]]]:
    """Values that follow each other at one time, each of another channel, are one reading."""
    found: list[tuple[int, dict[int, float]]] = []
    for channel, time, value in values:
        if not found or found[-1][0] != time or channel in found[-1][1]:
            found.append((time, {}))
        found[-1][1][channel] = value
    return found


def _fold(arena: Arena, numbered: list[tuple[int, int, Values]]) -> tuple[list[ClosedSteps], FoldCounts]:
    builder = ReadingBatchBuilder(CHANNELS)
    for offset, twin, values in numbered:
        row = arena.row(f"t{twin}", 0)
        readings = _readings(values)
        if offset % 2:  # one by one, or as a table; nobody may tell which
            for time, cells in readings:
                builder.add(row, list(cells), time, list(cells.values()), offset, 0)
        else:
            columns = {channel: np.array([cells.get(channel, np.nan) for _, cells in readings]) for channel in range(CHANNELS)}
            builder.add_table(row, np.array([time for time, _ in readings], np.int64), columns, offset, 0)
    result = arena.fold(builder.build())
    return result.closed, result.counts


def _collected(arena: Arena, rounds: list[ClosedSteps]) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = defaultdict(list)
    for closed in rounds:
        windows = closed.windows.values
        for index in range(len(closed)):
            asset = arena.asset_of[int(closed.row[index])]
            assert asset is not None
            found[asset].append(
                (
                    int(closed.step[index]),
                    closed.values[index].tolist(),
                    closed.quality[index].tolist(),
                    int(closed.closed_by[index]),
                    windows[index].tolist(),
                )
            )
    return found


def _same(ours: list[Found], twin: NaiveTwin) -> None:
    assert [(step, quality, offset) for step, _, quality, offset, _ in ours] == [
        (s.step, s.quality, s.closed_by) for s in twin.emitted
    ]
    np.testing.assert_array_equal([one[1] for one in ours], [s.values for s in twin.emitted])
    np.testing.assert_array_equal([one[4] for one in ours], [s.window for s in twin.emitted])


@settings(max_examples=300, deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_batches_of_any_size_close_the_steps_that_the_definition_closes(
    sent: list[tuple[int, list[tuple[int, int, float]]]], cut: random.Random
) -> None:
    numbered = [(offset, twin, _values(values)) for offset, (twin, values) in enumerate(sent)]
    naive = {twin: NaiveTwin(TYPE, GAP, WINDOW) for twin in range(3)}
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


@settings(max_examples=200, deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_twins_that_move_to_another_arena_at_any_point_go_on_to_the_bit(
    sent: list[tuple[int, list[tuple[int, int, float]]]], pick: random.Random
) -> None:
    """Each batch may end with a move: all twins through their saved state, to other rows of an arena that has to grow."""
    numbered = [(offset, twin, _values(values)) for offset, (twin, values) in enumerate(sent)]
    naive = {twin: NaiveTwin(TYPE, GAP, WINDOW) for twin in range(3)}
    for offset, twin, values in numbered:
        naive[twin].record(offset, values)

    arena = Arena(TYPE, window=WINDOW, gap_steps=GAP, capacity=1)
    found: dict[str, list[Found]] = defaultdict(list)
    done = 0
    while done < len(numbered):
        end = done + pick.randint(1, len(numbered) - done)
        again = pick.randint(0, done)  # a new owner begins before what the twins have folded
        for asset, steps in _collected(arena, _fold(arena, numbered[again:end])[0]).items():
            found[asset] += steps
        done = end
        if pick.random() < 0.5:
            arena = _moved(arena, pick)
    for twin, one in naive.items():
        _same(found[f"t{twin}"], one)


def _moved(arena: Arena, pick: random.Random) -> Arena:
    """The same twins elsewhere; each of its rows has held another twin before."""
    saved = {asset: export_row(arena, WINDOW, row) for asset, row in arena.row_of.items()}
    new = Arena(TYPE, window=WINDOW, gap_steps=GAP, capacity=1)
    guests = [f"guest{index}" for index in range(pick.randint(0, 3))]
    for guest in guests:
        row, builder = new.row(guest, 0), ReadingBatchBuilder(CHANNELS)
        for step in range(30):
            builder.add(row, list(range(CHANNELS)), step * NS_PER_S, [2.5] * CHANNELS, step, 0)
        new.fold(builder.build())
    for guest in guests:
        new.remove(guest)
    for asset in pick.sample(sorted(saved), len(saved)):
        restore_row(new, WINDOW, new.row(asset, 0), saved[asset])
    return new


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
    windows = np.concatenate([c.windows.values for c in closed])[:, :, 0]
    assert steps.tolist() == list(range(197))
    for step, window in zip(steps[3:], windows[3:], strict=True):
        assert window.tolist() == [float(k % 5) for k in range(step - 3, step + 1)]
    assert all((c.windows.values[:, -1] == c.values).all() | np.isnan(c.values).any() for c in closed)


def test_an_hour_of_backlog_in_one_record_is_late_for_nobody() -> None:
    arena = Arena(TYPE, window=4)
    _, counts = _fold(arena, [(0, 0, [(0, i * NS_PER_S, 1.0) for i in reversed(range(3600))])])
    assert (counts.accepted, counts.late) == (3600, 0)


def test_a_reading_too_far_ahead_is_refused_and_closes_nothing() -> None:
    strict = compile_type({**_interface(), "maxAhead": "PT1M"})
    arena = Arena(strict, window=4)
    builder = ReadingBatchBuilder(CHANNELS)
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
    assert np.isnan(after.windows.values[after.step.tolist().index(year), :-1, 0]).all()


@pytest.mark.parametrize("type_", [TYPE])
def test_rows_are_used_again_without_a_trace_of_the_twin_before(type_: TwinType) -> None:
    arena = Arena(type_, window=4, capacity=1)
    _fold(arena, [(i, 0, [(0, i * NS_PER_S, 3.0)]) for i in range(20)])
    arena.remove("t0")
    closed, _ = _fold(arena, [(i, 1, [(0, i * NS_PER_S, 1.0)]) for i in range(4)])
    assert closed[0].windows.values[0, -1, 0] == 1.0
    assert np.isnan(closed[0].windows.values[0, :-1]).all()

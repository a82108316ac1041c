"""What each quality bit says of a plant's readings, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.folded import joined
from tests.twin.naive_twin import NaiveTwin
from twin.arena import Arena, ClosedSteps
from twin.quality import Quality, word
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S, TwinType, compile_type


def kind(**channel: Any) -> TwinType:
    return compile_type(
        {
            "@id": "dtmi:test:Pump;1",
            "@type": "Interface",
            "samplingPeriod": "PT1S",
            "lateness": "PT1S",
            "maxAhead": None,
            "contents": [{"@type": "Telemetry", "name": "a", "schema": "double", **channel}],
        }
    )


def closed(type_: TwinType, values: list[float], window: int = 8) -> ClosedSteps:
    """One value a step, NaN for none; all steps closed, in one batch. The naive twin agrees."""
    arena, naive, builder = (
        Arena(type_, window=window, gap_steps=9),
        NaiveTwin(type_, 9, window),
        ReadingBatchBuilder(len(type_.channels)),
    )
    row = arena.row("p1", 0)
    for step, value in enumerate([*values, 0.0, 0.0]):
        if not np.isnan(value):
            naive.record(step, [(0, step * NS_PER_S, value)])
            builder.add(row, [0], step * NS_PER_S, [value], step, 0)
    rounds = arena.fold(builder.build()).closed
    (found,) = joined(rounds)
    assert found.quality[:, 0].tolist() == [step.quality[0] for step in naive.emitted]
    np.testing.assert_array_equal(found.windows.values, [step.window for step in naive.emitted])
    return found


def marked(found: ClosedSteps, bit: Quality) -> list[int]:
    return found.step[(found.quality[:, 0] & int(bit)) != 0].tolist()


def wave(steps: int) -> NDArray[np.float64]:
    return 3 + np.sin(np.arange(steps) / 10)


def test_a_spike_is_marked_and_neither_fills_a_gap_nor_marks_its_neighbours() -> None:
    values = wave(60)
    values[30], values[31] = 9.0, np.nan
    found = closed(kind(spikeLimit=0.2), values.tolist())
    assert marked(found, Quality.SPIKE) == [30]
    assert found.quality[31, 0] == Quality.GAP
    assert found.values[31, 0] == np.float32(values[29])


def test_a_process_as_fast_as_its_limit_has_no_spikes() -> None:
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.uniform(-0.2, 0.2, 400))
    walk[rng.random(400) < 0.2] = np.nan
    assert marked(closed(kind(spikeLimit=0.2), walk.tolist()), Quality.SPIKE) == []


def test_a_change_of_regime_is_a_spike_for_three_steps_at_most() -> None:
    values = np.concatenate([wave(40), wave(40) + 50])
    assert marked(closed(kind(spikeLimit=0.2), values.tolist()), Quality.SPIKE) == [40, 41, 42]


@pytest.mark.parametrize(
    ("unit", "ceiling", "factor", "zero"),
    [("bar", 10, 14.5038, 0), ("degreeCelsius", 40, 1.8, 32), ("litrePerSecond", 20, 3.6, 0), ("metre", 20, 3.28084, 0)],
)
def test_readings_in_another_unit_are_marked_as_long_as_they_come_and_are_not_rescaled(
    unit: str, ceiling: float, factor: float, zero: float
) -> None:
    values = 15 + 3 * np.sin(np.arange(300) / 30) if ceiling != 10 else wave(300)
    sent = values.copy()
    sent[100:240] = values[100:240] * factor + zero
    found = closed(kind(unit=unit, maximum=ceiling), sent.tolist())
    assert marked(found, Quality.WRONG_UNIT) == list(range(100, 240))
    np.testing.assert_array_equal(found.values[:, 0], sent.astype(np.float32))
    assert word(int(found.quality[150, 0])) == "wrong-unit"


def test_a_level_within_the_range_that_only_looks_like_another_unit_is_the_process() -> None:
    sent = np.concatenate([np.full(20, 2.0), np.full(50, 2.0 * 3.6)])
    for limits in ({"maximum": 100}, {}):
        assert marked(closed(kind(unit="litrePerSecond", **limits), sent.tolist()), Quality.WRONG_UNIT) == []


def test_a_pump_that_starts_and_stops_is_in_no_wrong_unit() -> None:
    flow = np.where(np.arange(300) // 25 % 2, 41.0, 0.0) + np.random.default_rng(3).normal(0, 0.1, 300)
    assert marked(closed(kind(unit="litrePerSecond"), flow.tolist()), Quality.WRONG_UNIT) == []


def test_an_open_gap_holds_and_a_closed_one_is_a_line_in_the_window() -> None:
    values = [1.0, 2.0, np.nan, np.nan, np.nan, 6.0, 7.0]
    found = closed(kind(gapRule="linear", gapLimit=5), values)
    assert found.values[:, 0].tolist() == [1, 2, 2, 2, 2, 6, 7]
    assert [word(int(bits)) for bits in found.quality[:, 0]] == ["good", "good", "gap", "gap", "gap", "good", "good"]
    assert found.windows.values[4, -5:, 0].tolist() == [1, 2, 2, 2, 2]
    assert found.windows.values[5, -6:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.windows.values[6, -7:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_a_gap_is_filled_up_to_its_limit_or_not_at_all() -> None:
    values = [1.0, np.nan, np.nan, np.nan, 5.0]
    assert [word(int(b)) for b in closed(kind(gapLimit=2), values).quality[:, 0]] == ["good", "gap", "gap", "missing", "good"]
    assert [word(int(b)) for b in closed(kind(gapRule="none"), values).quality[:, 0]] == ["good", *["missing"] * 3, "good"]

"""The job that rivals are measured by: the windows and alarms it gives are the processor's, so the comparison is of one job."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bench.rivals.job import WINDOW, Closed, Kind, Twin
from deploy.bench.rivals.measure import differences
from models.online_threshold import OnlineThresholds, Promises
from models.risk import RiskState
from twin.arena import Arena
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S, TwinType, compile_type

ALARM_P = 0.01
PUMP = {
    "@id": "dtmi:livetwin:bench:Pump;1",
    "@type": "Interface",
    "samplingPeriod": "PT10S",
    "lateness": "PT20S",
    "maxAhead": None,
    "contents": [
        {"@type": "Telemetry", "name": "flow", "schema": "double", "minimum": 0, "maximum": 10, "stuckAfter": 4},
        {"@type": "Telemetry", "name": "head", "schema": "double"},
    ],
}


class KnowsAll:
    """What `Kind` and `Twin` ask of a version when they are made."""

    name, version, sha256 = "bench.pump", "0001", ""
    alarm_p, alarms_per_twin_day, peak_size = ALARM_P, 20.0, 0.25

    def rows(self, assets: list[str]) -> NDArray[np.int64]:
        return np.zeros(len(assets), np.int64)


@pytest.fixture
def kind() -> Kind:
    return Kind(compile_type(PUMP), KnowsAll())  # type: ignore[arg-type]


def readings() -> list[dict[str, Any]]:
    """Three readings a step, with gaps short and long, stuck stretches, values out of range, and some order lost."""
    random = np.random.default_rng(7)
    found = []
    for step in range(3 * WINDOW):
        for part in range(3):
            reading: dict[str, Any] = {"asset": "p1", "time": 10 * step + 3 * part}
            if step % 50 < 40 and random.random() < 0.8:
                reading["flow"] = 5.0 if step % 30 < 8 else round(float(random.normal(5, 3)), 3)
            if step % 70 < 66:
                reading["head"] = round(float(random.normal(50, 1)), 3)
            found.append(reading)
    for place in range(0, len(found) - 4, 11):  # within the lateness
        found[place], found[place + 3] = found[place + 3], found[place]
    return found


def arena_windows(type: TwinType, given: list[dict[str, Any]]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    arena, batch = Arena(type, window=WINDOW), ReadingBatchBuilder(len(type.channels))
    row = arena.row("p1", 0)
    for offset, reading in enumerate(given):
        time_ns = reading["time"] * NS_PER_S
        came = [place for place, name in enumerate(type.channel_names) if name in reading]
        batch.add(row, came, time_ns, [reading[type.channel_names[place]] for place in came], offset, time_ns)
    found = {}
    for closed in arena.fold(batch.build()).closed:
        found |= zip(closed.step.tolist(), zip(closed.windows.values, closed.windows.quality, strict=True), strict=True)
    return found


def assert_same(closed: list[Closed], expected: dict[int, tuple[NDArray[np.float32], NDArray[np.uint8]]]) -> None:
    assert [one.step for one in closed] == sorted(expected)
    for one in closed:
        np.testing.assert_array_equal(one.window, expected[one.step][0])
        np.testing.assert_array_equal(one.quality, expected[one.step][1])


def test_a_rivals_windows_are_the_arenas(kind: Kind) -> None:
    given, twin = readings(), Twin("p1", kind)
    assert_same([closed for reading in given for closed in twin.take(reading)], arena_windows(kind.type, given))


def test_a_rivals_twin_goes_on_after_it_was_saved_and_restored(kind: Kind) -> None:
    given, twin, closed = readings(), Twin("p1", kind), []
    for place, reading in enumerate(given):
        if place % 97 == 0:
            twin = pickle.loads(pickle.dumps(twin))
            twin.kind = kind
        closed += twin.take(reading)
    assert_same(closed, arena_windows(kind.type, given))


def test_a_rivals_alarms_are_those_of_the_risk_state_at_the_twins_own_threshold(kind: Kind) -> None:
    random = np.random.default_rng(3)
    surprise = random.exponential(np.repeat(random.uniform(0.2, 3, 60), 10)).astype(np.float32)
    risk, twin, rows, step = RiskState(1), Twin("p1", kind), np.zeros(600, np.int64), np.arange(70, 670)
    heights = risk.heights(rows, surprise)
    promised = Promises.of([kind.model], kind.type.period_ns).at(rows, np.zeros(600, np.bool_))
    thresholds = OnlineThresholds(1).follow(rows, step, heights.height, promised)
    expected = risk.follow(rows, heights, thresholds).alarm.tolist()
    assert [twin.judge(*one) for one in zip(step.tolist(), surprise.tolist(), strict=True)] == expected
    assert 0 < sum(expected) < len(expected)
    assert len(set(thresholds.tolist())) > 2


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([(("p", 1), (0.5, False)), (("p", 1), (0.5, False))], "1 steps came twice"),
        ([(("p", 1), (0.5, False)), (("q", 1), (0.5, False))], "1 steps that livetwin has not"),
        ([], "1 steps are missing"),
        ([(("p", 1), (0.5, True))], "0 scores and 1 alarms of 1 steps differ"),
    ],
)
def test_a_rival_that_does_another_job_is_told(found: list[tuple[tuple[str, int], tuple[float, bool]]], words: str) -> None:
    expected = {("p", 1): (0.5, False), ("unjudged", 1): None}
    assert differences(expected, [(("unjudged", 1), (9.0, True)), *found], whole=True) == words

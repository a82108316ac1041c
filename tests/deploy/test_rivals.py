"""The job that rivals are measured by: the windows and alarms it gives are the processor's, so the comparison is of one job."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pytest
from numpy.typing import NDArray

from deploy.bench.processes import cpu_s
from deploy.bench.rivals.job import WINDOW, Closed, Fleet, Kind, Setting, Twin, score
from deploy.bench.rivals.measure import differences
from models import version as version_file
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.scoring import Switches, TypeScorer
from tests.streams import plant
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
            twin.resume(kind)
        closed += twin.take(reading)
    assert_same(closed, arena_windows(kind.type, given))


STEPS = 700  # of six twins: two that are faulty for a while, two that are away, one of them for longer than a window is


def plant_readings() -> list[dict[str, Any]]:
    """In the order of time. Two twins fall silent while they are faulty, and come back well or faulty."""
    values = plant.readings(STEPS)
    values[2, 250:330, 0] += 6
    values[4, 400:600, 1] -= 9
    away = {("p2", step) for step in range(262, 280)} | {("p4", step) for step in (*range(440, 455), *range(470, 560))}
    return [
        {"asset": asset, "time": plant.START + step, "flow": float(flow), "heat": float(heat)}
        for step in range(STEPS)
        for asset, (flow, heat) in zip(plant.ASSETS, values[:, step], strict=True)
        if (asset, step) not in away
    ]


def livetwins_steps(given: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[float, bool]]:
    """Score and alarm of each closed step, by the parts that the processor is made of."""
    definitions = Definitions()
    definitions.apply(f"type/{plant.TYPE.id}".encode(), orjson.dumps(plant.INTERFACE))
    for asset in plant.ASSETS:
        definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": plant.TYPE.id}))
    folder, found = Folder(definitions), {}
    scorer = TypeScorer(folder.arena(plant.TYPE))
    scorer.switches[0] = Switches()
    scorer.switches[0].add(0, plant.trained())
    records = [
        PlainRecord("t", 0, offset, plant.START * 1000, None, orjson.dumps(reading)) for offset, reading in enumerate(given)
    ]
    for begin in range(0, len(records), 1500):
        for closed in folder.fold(records[begin : begin + 1500]).closed:
            scored = scorer.score(closed)
            for index, row in enumerate(closed.row.tolist()):
                key = str(scorer.arena.asset_of[row]), int(closed.time_ns[index])
                found[key] = float(scored.score[index]), bool(scored.alarm[index])
    return found


@pytest.mark.parametrize("at_once", [97, 800])
def test_the_rivals_job_gives_livetwins_scores_and_alarms(tmp_path: Path, at_once: int) -> None:
    given, file = plant_readings(), tmp_path / "version.safetensors"
    version_file.save(plant.trained(), file)
    setting = Setting(
        "", "", "", "", str(tmp_path), [plant.INTERFACE], dict.fromkeys(plant.ASSETS, plant.TYPE.id), {plant.TYPE.id: str(file)}
    )
    fleet, found = Fleet(setting), []
    for begin in range(0, len(given), at_once):
        steps = [closed for reading in given[begin : begin + at_once] for closed in fleet.take(reading)]
        found += [((one["asset"], one["time"]), (one["score"], one["alarm"])) for one in map(orjson.loads, score(steps))]
    expected = livetwins_steps(given)
    assert differences({**expected}, found, whole=True) == ""
    assert len(expected) > 3500
    assert 100 < sum(alarm for _, alarm in expected.values()) < 1000


def test_a_rivals_twin_takes_its_alarm_along_when_it_is_saved_and_restored(tmp_path: Path) -> None:
    given = [reading for reading in plant_readings() if reading["asset"] == "p2"]
    kind, found = Kind(plant.TYPE, plant.trained()), []
    for restarts in (False, True):
        twin, alarms = Twin("p2", kind), []
        for begin in range(0, len(given), 20):
            steps = [closed for reading in given[begin : begin + 20] for closed in twin.take(reading)]
            alarms += [orjson.loads(record)["alarm"] for record in score(steps)]
            if restarts:
                saved = pickle.dumps(twin)
                kind = Kind(plant.TYPE, kind.model)  # that of another process
                twin = pickle.loads(saved)
                twin.resume(kind)
        found.append(alarms)
    assert found[0] == found[1]
    assert 20 < sum(found[0]) < 300


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


def test_the_cpu_time_of_a_process_that_ended_is_none_and_of_its_children_counts() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert cpu_s([ended.pid]) == 0.0
    burning = "import os, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); time.sleep(60)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burning!r}])"
    with subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            assert cpu_s([ended.pid, running.pid]) >= 0.3
        finally:
            for one in (*psutil.Process(running.pid).children(recursive=True), running):
                one.kill()

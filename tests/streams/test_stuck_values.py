"""A sensor whose type does not say when it is stuck: its version knows how long it repeats itself when all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from models.stuck_runs import NOTHING, StuckRuns
from streams.checkpoint import export_twin, read_twin, restore_twin
from streams.definitions import Definitions
from streams.log_record import PlainRecord
from streams.records import Signal
from streams.scoring import TypeScorer
from tests.streams.plant import INTERFACE, START, TYPE, readings, trained
from tests.streams.test_conditions import Run
from twin.arena import Arena

STEPS, STUCK, FREE = 200, 100, 180
AFTER = 8
LEARNT = StuckRuns((AFTER, AFTER), ((), (5.0,)))  # heat rests at 5


class Learnt(Run):
    """With a version that has learnt of runs."""

    runs = LEARNT

    def scorer(self, arena: Arena) -> TypeScorer:
        new = arena.type.id not in self.scorers
        found = super().scorer(arena)
        if new:
            model = trained()
            model.info = replace(model.info, stuck_runs=self.runs)
            found.switches[0].add(0, model)
        return found

    def restarted(self) -> Run:
        other = Learnt(self.view)
        place = self.folder.on_terms("p1")
        assert place is not None
        saved = read_twin(export_twin(place.arena, self.scorer(place.arena), place.row))
        row, scorer = other.folder.place("p1", place.arena.type, 0), other.scorer(other.folder.arena(place.arena.type))
        restore_twin(saved, scorer.arena, scorer, row)
        other.folder.resume("p1", int(scorer.arena.next_offset[row]), saved.units)
        other.signals = self.signals
        return other


def run_of(runs: StuckRuns = LEARNT, **flow: Any) -> Run:
    interface = {**INTERFACE, "contents": [{**INTERFACE["contents"][0], **flow}, INTERFACE["contents"][1]]}
    view = Definitions()
    assert view.apply(f"type/{TYPE.id}".encode(), orjson.dumps(interface))
    view.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": TYPE.id}))
    run = Learnt(view)
    run.runs = runs
    return run


def telemetry(values: NDArray[np.float64]) -> list[PlainRecord]:
    return [
        PlainRecord(
            "t", 0, step, START * 1000, None,
            orjson.dumps({"asset": "p1", "time": START + step, "flow": float(values[step, 0]), "heat": float(values[step, 1])}),
        )
        for step in range(len(values))
    ]  # fmt: skip


def usual() -> NDArray[np.float64]:
    return readings(STEPS, faults=False)[1].copy()


def stuck() -> NDArray[np.float64]:
    values = usual()
    values[STUCK:FREE, 0] = values[STUCK, 0]
    return values


def raised(signals: list[Signal]) -> list[tuple[str, str, int]]:
    return [(one.condition, one.kind, one.time_ns // 10**9 - START) for one in signals if one.condition.startswith("stuck:")]


def test_a_stuck_sensor_is_told_as_soon_as_its_run_is_longer_than_was_normal_and_as_long_as_it_lasts() -> None:
    run = run_of()
    run.fold(telemetry(stuck()))
    found = raised(run.signals)
    assert found[0] == ("stuck:flow", "raise", STUCK + AFTER)
    assert [one[2] for one in found if one[1] != "clear"] == list(range(STUCK + AFTER, FREE + 1))
    assert [one[1] for one in found[-5:]] == ["clear"] * 5
    first = next(one for one in run.signals if one.condition == "stuck:flow")
    assert "moves no more" in first.evidence.summary


@pytest.mark.parametrize("size", [1, 9])
@pytest.mark.parametrize("stopped_at", [None, STUCK + AFTER - 1, STUCK + AFTER + 1, FREE - 5])
def test_neither_batches_nor_a_restart_change_what_is_told(size: int, stopped_at: int | None) -> None:
    records, whole, run = telemetry(stuck()), run_of(), run_of()
    whole.fold(records)
    for start in range(0, STEPS, size):
        stop = min(start + size, STEPS)
        cut = stop if stopped_at is None else min(max(start, stopped_at), stop)
        run.fold(records[start:cut])
        if cut == stopped_at and cut < stop:
            run = run.restarted()
        run.fold(records[cut:stop])
    assert [one.to_bytes() for one in run.signals] == [one.to_bytes() for one in whole.signals]


def test_what_rests_or_stood_still_before_or_belongs_to_a_type_that_says_so_is_not_called_stuck() -> None:
    values = usual()
    values[STUCK:FREE, 1] = 5.0  # where heat rests
    values[20:90, 0] = 0.25  # told once; and then set to another value
    values[90:FREE, 0] = 0.75
    run = run_of()
    run.fold(telemetry(values))
    assert {one[:2] for one in raised(run.signals)} == {("stuck:flow", "raise"), ("stuck:flow", "keep"), ("stuck:flow", "clear")}
    assert [one[2] for one in raised(run.signals) if one[1] == "raise"] == [20 + AFTER]
    for quiet in (run_of(stuckAfter=None), run_of(role="actuator"), run_of(NOTHING)):
        quiet.fold(telemetry(stuck()))
        assert raised(quiet.signals) == []
    declared = run_of(stuckAfter=30)
    declared.fold(telemetry(stuck()))
    assert raised(declared.signals)[0] == ("stuck:flow", "raise", STUCK + 30)

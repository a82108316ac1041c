"""A sensor that is out of its range, or sends another unit, raises an alert of its own, unless its type says not to."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from streams.alert_records import condition_signal
from streams.definitions import Definitions
from streams.log_record import PlainRecord
from streams.records import Signal
from streams.scoring import Switches, TypeScorer
from tests.streams.plant import INTERFACE, START, readings
from tests.streams.test_conditions import Run, version
from twin.alert_state import AlertState, AssetAlerts, fold_signal
from twin.arena import Arena
from twin.errors import TypeInvalid
from twin.types import compile_type

STEPS, BAD, GOOD = 120, 60, 90  # in all; the flow sensor is bad from one step to the other
FEET = 3.28084
OFF_DELAY_S = 5


def gauge(**settings: Any) -> dict[str, Any]:
    flow = {"@type": ["Telemetry", "Length"], "name": "flow", "schema": "double", "unit": "metre", "minimum": 0, "maximum": 20}
    return {**INTERFACE, "@id": "dtmi:livetwin:test:Gauge;1", "contents": [{**flow, **settings}, INTERFACE["contents"][1]]}


class GaugeRun(Run):
    def __init__(self, view: Definitions) -> None:
        super().__init__(view)

    def scorer(self, arena: Arena) -> TypeScorer:
        found = super().scorer(arena)
        if found.switches[0].current is None:
            found.switches[0] = Switches()
            found.switches[0].add(0, version())
        return found

    def restarted(self) -> Run:
        other = super().restarted()
        again = GaugeRun(self.view)
        again.folder, again.scorers, again.signals = other.folder, other.scorers, other.signals
        for scorer in again.scorers.values():
            again.scorer(scorer.arena)
        return again


def run_of(interface: dict[str, Any]) -> Run:
    view = Definitions()
    assert view.apply(f"type/{interface['@id']}".encode(), orjson.dumps(interface))
    view.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": interface["@id"]}))
    return GaugeRun(view)


def telemetry(flow: NDArray[np.float64]) -> list[PlainRecord]:
    heat = readings(STEPS, faults=False)[1, :, 1]
    return [
        PlainRecord(
            "telemetry", 0, step, START * 1000, None,
            orjson.dumps({"asset": "p1", "time": START + step, "flow": float(flow[step]), "heat": float(heat[step])}),
        )
        for step in range(STEPS)
    ]  # fmt: skip


def usual() -> NDArray[np.float64]:
    return np.asarray(10 + readings(STEPS, faults=False)[1, :, 0])


def bad(kind: str) -> NDArray[np.float64]:
    flow = usual()
    flow[BAD:GOOD] = flow[BAD:GOOD] * FEET if kind == "wrong-unit" else 700.0
    flow[[20, 21, 30, 40]] = 700.0  # odd values, two beside each other, are none of it
    return flow


def alerts(signals: list[Signal], condition: str) -> list[AlertState]:
    asset, shown = AssetAlerts(), list[AlertState]()
    for one in signals:
        folded = fold_signal(asset, condition_signal(one))
        asset, shown = folded.asset, shown + list(folded.changed)
    return [one for one in shown if one.condition == condition]


@pytest.mark.parametrize("kind", ["out-of-range", "wrong-unit"])
def test_a_bad_sensor_raises_one_alert_at_its_third_step_that_clears_after_the_off_delay(kind: str) -> None:
    run = run_of(gauge())
    run.fold(telemetry(bad(kind)))
    assert {one.condition for one in run.signals} - {"anomaly"} == {f"{kind}:flow"}
    opened, *_, cleared = alerts(run.signals, f"{kind}:flow")
    assert opened.onset_ns == (START + BAD + 3) * 10**9
    assert (cleared.id, cleared.cleared_ns) == (opened.id, (START + GOOD + OFF_DELAY_S) * 10**9)
    (channel,) = opened.evidence["channels"]
    assert (channel["name"], channel["detector"], channel["unit"], opened.severity) == ("flow", kind, "metre", "minor")
    assert opened.evidence["detectors"] == {kind: 1.0}
    if kind == "out-of-range":
        assert (channel["seen"], channel["expected"], channel["off"]) == (700.0, 20.0, 680.0)
        assert opened.evidence["summary"] == "flow is 680 m above what its sensor can say, 20 m"
    else:
        assert channel["seen"] == pytest.approx(usual()[BAD + 2] * FEET, rel=1e-4)
        assert "out of range in m" in opened.evidence["summary"]


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("stopped_at", [None, BAD + 2, BAD + 5, GOOD + 3])
def test_neither_batches_nor_a_restart_change_what_is_told_of_a_bad_sensor(size: int, stopped_at: int | None) -> None:
    records = telemetry(bad("wrong-unit"))
    whole, run = run_of(gauge()), run_of(gauge())
    whole.fold(records)
    for start in range(0, STEPS, size):
        end = min(start + size, STEPS)
        stop = end if stopped_at is None else min(max(start, stopped_at), end)
        run.fold(records[start:stop])
        if stop == stopped_at and start <= stop < end:
            run = run.restarted()
        run.fold(records[stop:end])
    assert [one.to_bytes() for one in run.signals] == [one.to_bytes() for one in whole.signals]


def test_a_type_says_after_how_many_steps_and_null_turns_it_off() -> None:
    found = {}
    for after in (1, 5, None):
        run = run_of(gauge(outOfRangeAfter=after, wrongUnitAfter=after))
        run.fold(telemetry(bad("out-of-range")))
        found[after] = [(one.onset_ns // 10**9 - START) for one in alerts(run.signals, "out-of-range:flow") if one.revision == 1]
    assert found == {1: [21, 31, 41, BAD + 1], 5: [BAD + 5], None: []}


def test_steps_beyond_what_a_window_holds_are_refused_where_the_type_is_declared() -> None:
    with pytest.raises(TypeInvalid, match="32 steps at most, or null"):
        compile_type(gauge(outOfRangeAfter=33))
    with pytest.raises(TypeInvalid, match="1 or more"):
        compile_type(gauge(wrongUnitAfter=0))

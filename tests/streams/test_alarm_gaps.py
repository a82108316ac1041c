"""An alarm of the model lasts through a gap: nothing that is missing says that it is over, and none rises anew behind it."""

from __future__ import annotations

import orjson
import pytest

from models.coverage import PART, STEPS
from models.risk import QUIET, K
from streams.alert_records import condition_signal
from streams.definitions import Definitions
from streams.log_record import PlainRecord
from streams.records import Signal
from tests.streams.plant import INTERFACE, START, TYPE, readings
from tests.streams.test_conditions import Run
from twin.alert_state import AlertState, AssetAlerts, fold_signal

SENT, BROKEN, OFF_DELAY = 220, 60, 5
NEEDED = int(STEPS * PART)  # good steps until a window counts
WINDOW = 64


def run() -> Run:
    view = Definitions()
    assert view.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    view.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": TYPE.id}))
    return Run(view)


def telemetry(gap: range, mended: int = SENT) -> list[PlainRecord]:
    """Of a twin that is broken from BROKEN to `mended` and sends nothing in the gap."""
    values = readings(SENT, faults=False)[1]
    values[BROKEN:mended, 0] += 6
    sent = [
        orjson.dumps({"asset": "p1", "time": START + step, "flow": flow, "heat": heat})
        for step, (flow, heat) in enumerate(values.tolist())
        if step not in gap
    ]
    return [PlainRecord("t", 0, offset, START * 1000, None, value) for offset, value in enumerate(sent)]


def told(records: list[PlainRecord], *, at_once: int = 1000, restarts: tuple[int, ...] = ()) -> list[Signal]:
    found = run()
    for start in range(0, len(records), at_once):
        if start in restarts:
            found = found.restarted()
        found.fold(records[start : start + at_once])
    return [one for one in found.signals if one.condition == "anomaly"]


def alerts(signals: list[Signal]) -> list[AlertState]:
    asset, shown = AssetAlerts(), list[AlertState]()
    for one in signals:
        folded = fold_signal(asset, condition_signal(one))
        asset, shown = folded.asset, shown + list(folded.changed)
    return shown


@pytest.mark.parametrize("steps", [20, WINDOW - 10])
def test_an_alarm_goes_on_behind_a_gap_as_the_same_alert(steps: int) -> None:
    signals = told(telemetry(range(80, 80 + steps)))
    assert {one.kind for one in signals} == {"raise", "keep"}
    assert len({one.id for one in alerts(signals)}) == 1
    times = {one.time_ns // 10**9 - START for one in signals}
    assert not times & set(range(80 + 8, 80 + steps + NEEDED)), "steps that say nothing signal nothing"
    assert max(times) > 80 + steps + NEEDED


def test_an_alarm_that_is_over_behind_a_gap_ends_by_the_steps_that_say_so() -> None:
    back = 110
    *opened, cleared = alerts(told(telemetry(range(80, back), mended=80)))
    assert all(one.active and one.id == cleared.id for one in opened)
    assert cleared.cleared_ns is not None
    seconds = cleared.cleared_ns // 10**9 - START
    assert back + NEEDED + K - 1 + QUIET - 1 <= seconds <= back + NEEDED + K + 5 + QUIET + OFF_DELAY


def test_a_twin_that_was_away_for_longer_than_its_window_begins_anew() -> None:
    back = 80 + WINDOW + 10
    shown = alerts(told(telemetry(range(80, back))))
    cleared = [one for one in shown if not one.active]
    assert [one.cleared_ns for one in cleared] == [(START + back + 1) * 10**9]
    assert len({one.id for one in shown}) == 2
    assert shown[-1].active
    assert shown[-1].onset_ns >= (START + back + NEEDED) * 10**9


@pytest.mark.parametrize("gap", [range(80, 110), range(80, 160)])
@pytest.mark.parametrize("at_once", [1, 7])
def test_batches_and_restarts_change_nothing(gap: range, at_once: int) -> None:
    records = telemetry(gap)
    whole = [one.to_bytes() for one in told(records)]
    assert len(whole) > 50
    restarts = tuple(range(0, len(records), 7 * 3))[1:]
    assert [one.to_bytes() for one in told(records, at_once=at_once, restarts=restarts)] == whole

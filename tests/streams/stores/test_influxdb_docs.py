"""The questions of docs/influxdb.md, asked of a real server with steps, hours, alerts and swaps in it."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import numpy as np
import pytest

from deploy.influxd import InfluxDbAddress
from streams.alarm_rates import AlarmCount, AlarmRate
from streams.history import HistoryBlock
from streams.lag import RoleLag
from streams.records import ChannelEvidence
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb

from .backend import InfluxDbBackend
from .blocks import alert, block, plain_block, serving

pytestmark = pytest.mark.influxdb
TANK = "dtmi:livetwin:water:Tank;1"
MINUTE_NS = 60_000_000_000
PAGE = (Path(__file__).parents[3] / "docs" / "influxdb.md").read_text()


def questions(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def bucket(influxdb: InfluxDbAddress) -> str:
    """Three hours of two tanks until now, an alert that goes on, a swap."""
    backend = InfluxDbBackend(influxdb)
    name = backend.address()
    store = backend.open(name)
    now_ns = time.time_ns()
    plain = block(TANK, ["tank-1", "tank-2"], range(180), seed=1, channels=("level",))
    times = now_ns - (180 * MINUTE_NS) + plain.time_ns // 10**9 * MINUTE_NS
    store.write_history([dataclasses.replace(plain, time_ns=times)])
    raised = alert("a", 1, asset="tank-1", onset_s=now_ns // 10**9 - 600).model_copy(update={"type": TANK})
    evidence = raised.evidence.model_copy(update={"channels": [ChannelEvidence(name="level", seen=9.0, expected=3.0)]})
    raised = raised.model_copy(update={"evidence": evidence})
    store.write_alerts([raised, raised.model_copy(update={"revision": 2, "acknowledged": True})])
    swapped = serving("water.tank", 0, 1, now_ns - MINUTE_NS, ["1", "2"])
    newest = swapped.switches[-1].model_copy(update={"event_ns": int(times[0])})
    store.write_swaps([swapped.model_copy(update={"switches": [swapped.switches[0], newest]})])
    week = AlarmCount(twin_days=21.0, alarms=1, expected=0.42)
    told = {"epoch": 1, "time_ns": int(times[-1]), "version": "2", "target": 0.02, "twins": 2}
    told |= {"week": week, "since_version": week}
    store.write_alarm_rates([AlarmRate.model_validate({"model": "water.tank", "type": TANK, "partition": 0, **told})])
    store.write_lag([RoleLag("processor", 1, {"telemetry": 5}), RoleLag("trainer", None, {"telemetry": 7})], wall_ns=now_ns)
    store.enforce_limits(max_age_ns=2**62, max_bytes=2**62)
    store.close()
    return name


def test_the_page_asks_something() -> None:
    assert len(questions("sql")) >= 8
    assert len(questions("flux")) == 1


@pytest.mark.parametrize("question", questions("sql"))
def test_a_question_in_influxql_has_an_answer(influxdb: InfluxDbAddress, bucket: str, question: str) -> None:
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    found = server.query(bucket, question.replace('"livetwin"', f'"{bucket}"'))[0]
    server.close()
    assert found
    assert all(rows.values for rows in found)


@pytest.mark.parametrize("question", questions("flux"))
def test_a_question_in_flux_has_an_answer(influxdb: InfluxDbAddress, bucket: str, question: str) -> None:
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    found = server.flux(question.replace('"livetwin"', f'"{bucket}"'))
    server.close()
    assert {"tank-1", "tank-2"} <= set(re.findall(r"tank-\d", found))


def test_hours_are_the_means_and_extremes_of_their_steps_and_take_in_late_ones(influxdb: InfluxDbAddress) -> None:
    backend = InfluxDbBackend(influxdb)
    name = backend.address()
    store = backend.open(name)
    store.write_history([_minutes(0, 30), _minutes(60, 90)])  # half of the first hour, the second, half of the third
    _sum_up(store)
    first = _hours(influxdb, name)
    store.write_history([_minutes(30, 30)])
    _sum_up(store)
    second = _hours(influxdb, name)
    store.close()
    assert first == [[0, 14.5, 0, 29, 15.5, 29], [1, 89.5, 60, 119, 90.5, 119]]
    assert second == [[0, 29.5, 0, 59, 30.5, 59], [1, 89.5, 60, 119, 90.5, 119]]


def _minutes(first: int, count: int) -> HistoryBlock:
    """Steps a minute whose value is their number."""
    numbers = np.arange(first, first + count)
    values = numbers.astype(np.float32)[:, None]
    plain = plain_block(TANK, ["t1"], numbers.tolist(), channels=("level",), values=values, expected=values + 1)
    return dataclasses.replace(plain, time_ns=numbers * MINUTE_NS, score=values[:, 0])


def _sum_up(store: InfluxDbStore) -> None:
    store.enforce_limits(max_age_ns=2**62, max_bytes=2**62)


def _hours(influxdb: InfluxDbAddress, name: str) -> list[list[float]]:
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    wanted = '"level", "level__low", "level__high", "level__expected", "score"'
    rows = server.query(name, f'SELECT {wanted} FROM "{name}"."hourly"."water.tank"')[0][0]
    server.close()
    return [[row[0] // (60 * MINUTE_NS), *row[1:]] for row in rows.values]

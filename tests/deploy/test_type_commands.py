"""`livetwin type infer | check | export`, as a person types them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.feeds.interfaces import interface
from deploy.feeds.producer import FeedProducer
from deploy.topics import ensure_topics
from streams.clients import producer
from streams.topics import Topics
from twin.fleet import TwinDeclaration
from twin.types import compile_type


def _type(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVETWIN_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "type", *words],
        env={**environment, **{f"LIVETWIN_{name.upper()}": value for name, value in settings.items()}, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def _plant() -> list[dict[str, object]]:
    """Two pumps, a reading every ten seconds each."""
    return [
        {
            "time": 1767225600 + 5 * i,
            "asset": f"p{i % 2}",
            "temp_c": 20 + 3 * math.sin(i / 17),
            "Flow (l/s)": 5 + math.sin(i / 5),
            "total_m3": 0.3 * i,
            "pump_on": int(i % 60 < 40),
            "speed_setpoint": 1450.5 if i % 100 < 50 else 1200.5,
        }
        for i in range(400)
    ]


def _expect_pump(answer: subprocess.CompletedProcess[str]) -> None:
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    kind = compile_type(found)
    assert kind.period_ns == 10_000_000_000
    by_name = {channel.name: channel for channel in kind.channels}
    assert {name: (one.unit, one.role) for name, one in by_name.items()} == {
        "temp_c": ("degreeCelsius", "sensor"),
        "Flow_l_s": ("litrePerSecond", "sensor"),
        "total_m3": ("cubicMetre", "counter"),
        "pump_on": (None, "state"),
        "speed_setpoint": (None, "actuator"),
    }
    assert by_name["temp_c"].semantic == "Temperature"
    assert (by_name["temp_c"].minimum, by_name["temp_c"].maximum) == (-50, 50)
    assert "400 readings of 2 assets" in answer.stderr
    assert "90% sure: the name ends in 'c' and speaks of Temperature" in answer.stderr
    assert "95% sure: the name says 'l/s'" in answer.stderr


def test_a_file_becomes_a_type_and_it_says_how_sure_it_is(tmp_path: Path) -> None:
    file = tmp_path / "pump.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in _plant()))
    _expect_pump(_type("infer", str(file), "--name", "Pump"))


def test_columns_of_a_file_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "pump.csv"
    names = {"time": "Zeitstempel", "asset": "Pumpe"}
    rows = _plant()
    head = ",".join(names.get(name, name) for name in rows[0])
    file.write_text("\n".join([head, *(",".join(map(str, row.values())) for row in rows)]))
    assert "expected one of time, timestamp" in _type("infer", str(file)).stderr
    _expect_pump(_type("infer", str(file), "--name", "Pump", "--time-column", "Zeitstempel", "--asset-column", "Pumpe"))
    assert "expected with files" in _type("infer", "livetwin.telemetry", "--time-column", "Zeitstempel").stderr


@pytest.mark.kafka
async def test_a_topic_becomes_a_type(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    sender = producer(kafka, client_id="test")
    await sender.start()
    try:
        for row in _plant():
            await sender.send(topics.telemetry, json.dumps(row).encode(), key=str(row["asset"]).encode())
        await sender.send_and_wait(topics.telemetry, b"no telemetry", key=b"p0")
    finally:
        await sender.stop()
    answer = _type("infer", topics.telemetry, "--name", "Pump", kafka=kafka)
    _expect_pump(answer)
    assert "1 records could not be read" in answer.stderr


def test_a_source_that_is_nowhere_is_named() -> None:
    answer = _type("infer", "no-such-topic", kafka="127.0.0.1:9")
    assert answer.returncode == 1
    assert "no-such-topic: no such file, and no topic that can be read at 127.0.0.1:9" in answer.stderr
    assert "both.csv: no such file" in _type("infer", "both.csv", "other.csv").stderr


def test_check_lists_every_fault_of_every_file_and_exits_with_1(tmp_path: Path) -> None:
    good, bad, worse = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "worse.json"
    good.write_text(json.dumps([interface("water.tank"), interface("water.pump")]))
    broken = {**interface("water.pipe"), "@id": "dtmi:plant:Pipe;1", "lateness": "late", "extends": "dtmi:plant:Nowhere;1"}
    bad.write_text(json.dumps(broken))
    worse.write_text("{")
    answer = _type("check", str(tmp_path))
    assert answer.returncode == 1
    assert f"error  {worse}: ? at /: found no JSON (" in answer.stdout
    assert f"error  {bad}: dtmi:plant:Pipe;1 at /lateness: found 'late', expected an ISO 8601 duration" in answer.stdout
    assert f"error  {bad}: dtmi:plant:Pipe;1 at /extends: found 'dtmi:plant:Nowhere;1', which is not here" in answer.stdout
    assert "ok     dtmi:livetwin:water:Tank;1: 2 channels (inflow, level), every 300 s, contract " in answer.stdout
    fine = _type("check", str(good))
    assert (fine.returncode, fine.stdout.count("ok  ")) == (0, 2)


def test_a_path_that_is_not_there_is_an_error() -> None:
    answer = _type("check", "no/such.json")
    assert (answer.returncode, answer.stderr) == (
        1,
        "livetwin: no/such.json: no such file or folder, expected DTDL interfaces as JSON; nothing was checked\n",
    )


@pytest.mark.kafka
async def test_export_writes_what_was_declared(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 1)
    tank = interface("water.tank")
    async with FeedProducer(kafka, topics, client_id="test") as feed:
        await feed.define(
            [tank], [TwinDeclaration(asset="tank 1", type=tank["@id"], name="North", properties={"elevation": 40.5})]
        )
    settings = {"kafka": kafka, "topic_prefix": topic_prefix}
    assert json.loads(_type("export", "water.tank", **settings).stdout) == tank
    of_type = json.loads(_type("export", tank["@id"], "--format", "wot", **settings).stdout)
    assert (of_type["id"], of_type["uriVariables"]["id"]["type"]) == (tank["@id"], "string")
    of_twin = json.loads(_type("export", "tank 1", "--format", "wot", "--base", "http://plant/", **settings).stdout)
    assert (of_twin["title"], of_twin["base"], of_twin["properties"]["elevation"]["const"]) == ("North", "http://plant/", 40.5)
    missing = _type("export", "dtmi:plant:Nothing;1", **settings)
    assert missing.returncode == 1
    assert "no such type, expected one of: dtmi:livetwin:water:Tank;1; nothing was written" in missing.stderr

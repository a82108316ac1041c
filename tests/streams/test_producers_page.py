"""The examples of docs/producers.md, run on a real broker with the clients that they are written for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.kafka_jars import cache_folder
from deploy.topics import ensure_topics
from streams import clients
from streams.alert_records import alert_record
from streams.decoding import decode
from streams.formats.events import decode_event
from streams.formats.readings import latest_times
from streams.topics import Topics
from tests.streams.alerting_run import make_signal
from tests.streams.plant import Plant
from twin.alert_state import AlertState

pytestmark = pytest.mark.kafka
PAGE = (Path(__file__).parents[2] / "docs/producers.md").read_text()
PARTITIONS = 5


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def here(example: str, kafka: str, prefix: str) -> str:
    """An example with the addresses of this test."""
    return example.replace("127.0.0.1:9092", kafka).replace("livetwin.", prefix)


def run(command: list[str], *, within_s: float = 100, **more: object) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=within_s, **more)  # type: ignore[call-overload]
    assert ended.returncode == 0, ended.stderr[-3000:]
    return str(ended.stdout)


async def assets(kafka: str, topics: Topics) -> dict[str, set[int]]:
    """Partitions by asset; every record can be decoded."""
    found: dict[str, set[int]] = {}
    for record in await clients.read_to_end(kafka, topics.telemetry):
        for asset, _ in latest_times(decode(record.value, record.headers, record.key)):
            found.setdefault(asset, set()).add(record.partition)
    return found


async def home_of(kafka: str, topics: Topics, asset: str) -> set[int]:
    """Where our own clients put an asset."""
    async with clients.producer(kafka, client_id="test") as producer:
        return {
            (
                await producer.send_and_wait(
                    topics.telemetry, b'{"asset":"%s","time":1,"flow":1}' % asset.encode(), key=asset.encode()
                )
            ).partition
        }


async def built(kafka: str, prefix: str) -> Topics:
    topics = Topics(prefix)
    await ensure_topics(kafka, topics, PARTITIONS)
    return topics


async def raised(kafka: str, topics: Topics) -> str:
    """Put an alert on its topic; its id."""
    signal = make_signal("raise", 1, 1)
    state = AlertState(
        id=signal.alert_id, revision=1, type=signal.type, condition=signal.condition, severity=signal.severity, active=True,
        onset_ns=signal.onset_ns, updated_ns=signal.time_ns, risk=signal.risk, evidence=signal.evidence.model_dump(mode="json"),
    )  # fmt: skip
    await Plant(kafka, topics).send(topics.alerts, [(state.id.encode(), alert_record("p1", state).to_bytes())])
    return state.id


@pytest.mark.parametrize("library", ["aiokafka", "confluent_kafka"])
async def test_python_producers(kafka: str, topic_prefix: str, library: str) -> None:
    topics = await built(kafka, topic_prefix)
    (example,) = [one for one in examples("python") if library in one and "Producer(" in one]
    await asyncio.to_thread(run, [sys.executable, "-W", "error", "-c", here(example, kafka, topic_prefix)])
    found = await assets(kafka, topics)
    assert len(found) == (100 if library == "aiokafka" else 1)
    events = [decode_event(one.value, one.headers, one.key) for one in await clients.read_to_end(kafka, topics.events)]
    assert [(one.asset, one.kind, one.text) for one in events] == (
        [] if library == "aiokafka" else [("confluent-1", "maintenance", "bearing changed")]
    )
    assert all(len(partitions) == 1 for partitions in found.values())
    for asset in list(found)[:3]:
        assert found[asset] == await home_of(kafka, topics, asset)


async def test_python_consumer(kafka: str, topic_prefix: str) -> None:
    topics = await built(kafka, topic_prefix)
    (example,) = [one for one in examples("python") if "AIOKafkaConsumer" in one]
    await raised(kafka, topics)
    said = await asyncio.to_thread(run, [sys.executable, "-W", "error", "-c", here(example, kafka, topic_prefix)])
    assert said.split() == ["minor", "p1", "active", "['flow']"]


async def test_kcat(kafka: str, topic_prefix: str) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("no kcat found (Debian: apt install kcat): its examples are not tried")
    topics = await built(kafka, topic_prefix)
    alert = await raised(kafka, topics)
    (example, _) = examples("console")
    said = [await asyncio.to_thread(run, ["bash", "-c", line]) for line in here(example, kafka, topic_prefix).splitlines()]
    assert sorted(line.split()[0] for line in said[2].splitlines()) == ["kcat-1", "kcat-1"]
    assert said[4].startswith(f"{alert} {{")
    found = await assets(kafka, topics)
    assert found == {"kcat-1": await home_of(kafka, topics, "kcat-1")}


async def test_java(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    if shutil.which("javac") is None or not cache_folder().is_dir():
        pytest.skip("no javac, or no jars of Kafka in the cache: the example in Java is not tried")
    topics = await built(kafka, topic_prefix)
    jars = os.pathsep.join([*map(str, cache_folder().glob("*.jar")), str(tmp_path)])
    sources = []
    for name, example in zip(("Single", "Alerts"), examples("java"), strict=True):
        sources.append(tmp_path / f"{name}.java")
        sources[-1].write_text(here(example, kafka, topic_prefix))
    await asyncio.to_thread(run, ["javac", "-Werror", "-Xlint", "-cp", jars, "-d", str(tmp_path), *map(str, sources)])
    await asyncio.to_thread(run, ["java", "-Xmx128m", "-cp", jars, "Single"])
    assert await assets(kafka, topics) == {"java-1": await home_of(kafka, topics, "java-1")}
    alert = await raised(kafka, topics)
    said = await asyncio.to_thread(run, ["java", "-Xmx128m", "-cp", jars, "Alerts"])
    assert [said.split()[0], json.loads(said.partition(" ")[2])["state"]] == [alert, "active"]

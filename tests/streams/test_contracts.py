"""The AsyncAPI document is valid, whole, kept in docs, and what a real run puts on the topics is what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from streams import clients
from streams.asyncapi import document, published
from streams.contracts import CONTRACTS
from streams.processor import ProcessorStats, run_processor
from streams.records import AlertCommand, EventRecord
from streams.topics import Topics
from tests.streams.alerting_run import PARTITIONS, alerting_run
from tests.streams.contract_check import check_topics
from tests.streams.formats.wire import ARROW_HEADERS, Headers, event_headers, rows, structured, table
from tests.streams.plant import ASSETS, START, Plant, readings, trained

ROOT = Path(__file__).parents[2]
MADE = document(bootstrap="127.0.0.1:9092", topics=Topics(), partitions=8, version="1.2.3")


def test_the_document_is_valid_asyncapi_3() -> None:
    schema = orjson.loads((ROOT / "tests/vendored/asyncapi-3.0.0.schema.json").read_bytes())
    errors = [
        f"{'/'.join(map(str, one.instance_path))}: {one.message}"
        for one in jsonschema_rs.Draft7Validator(schema).iter_errors(MADE)
    ]
    assert errors == []
    broken = {**MADE, "channels": {**MADE["channels"], "x": {"address": 7}}}
    assert not jsonschema_rs.Draft7Validator(schema).is_valid(broken)


def test_every_topic_has_its_contract_and_every_reference_leads_somewhere() -> None:
    assert set(CONTRACTS) == {spec.name for spec in Topics("").specs(1)} == set(MADE["channels"])
    references: list[str] = []

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            references.extend(value for name, value in node.items() if name == "$ref")
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(MADE)
    assert len(references) > 50
    for reference in references:
        found: Any = MADE
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_the_document_in_docs_is_what_the_code_makes() -> None:
    assert (ROOT / "docs/asyncapi.json").read_bytes() == published(), "run `make asyncapi`"


@pytest.mark.kafka
async def test_every_record_of_a_real_run_is_what_the_document_says(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Telemetry in every format, compressed in every way that Kafka knows."""
    plant = await Plant.built(kafka, topic_prefix, PARTITIONS)
    topics, steps = plant.topics, 240
    await plant.promote(trained(), tmp_path)
    values = readings(steps)
    sent = await plant.feed(values[:, :200])
    odd = [
        (b"p0", b"no json", ()),
        (b"p1", orjson.dumps({"asset": "p1", "time": [START + 200, START + 201], "flow": [1, 2], "heat": [1, 2]}), ()),
        (b"p2", b'{"flow":1,"heat":2}', event_headers("application/json", subject="p2", time="2023-11-14T22:16:40Z")),
        (
            b"p3",
            structured(data={"asset": "p3", "time": START + 200, "flow": 1, "heat": 1}),
            (("content-type", b"application/cloudevents+json"),),
        ),
        (b"p4", table(rows(["p4"] * 40, range(200, 240), flow=values[4, 200:, 0], heat=values[4, 200:, 1])), ARROW_HEADERS),
    ]
    for compression in ("gzip", "lz4", "zstd", "snappy"):
        async with AIOKafkaProducer(bootstrap_servers=kafka, compression_type=compression) as producer:
            for key, value, headers in odd:
                await producer.send_and_wait(topics.telemetry, value, key=key, headers=list(headers))
                sent += 1
    event = EventRecord(asset="p1", time_ns=START * 10**9, kind="maintenance", text="bearing changed")
    about = {"subject": "p1", "time": "2023-11-14T22:16:40Z", "type": "maintenance"}
    coded: list[tuple[bytes, Headers]] = [
        (event.to_bytes(), ()),
        (b"bearing changed", event_headers("text/plain", **about)),
        (structured(data={"text": "bearing changed"}, **about), (("content-type", b"application/cloudevents+json"),)),
    ]
    async with clients.producer(kafka, client_id="test") as producer:
        for value, headers in coded:
            await producer.send_and_wait(topics.events, value, key=b"p1", headers=list(headers))
    stop, stats = asyncio.Event(), ProcessorStats()
    running = asyncio.create_task(run_processor(bootstrap=kafka, topics=topics, group=f"{topic_prefix}g", stop=stop, stats=stats))
    async with asyncio.timeout(120):
        while stats.counts["records"] < sent:
            await asyncio.wait([running], timeout=0.1)
            assert not running.done()
    stop.set()
    await running
    refused = [dict(one.headers) for one in await clients.read_to_end(kafka, topics.dead_letter)]
    assert [one["reason"] for one in refused if one["reason"] == b"json"] == [b"json"] * 4
    async with alerting_run(kafka, topic_prefix, tmp_path / "alerting") as alerting:
        alerting.start()
        alert = (await alerting.until(bool))[0]
        command = AlertCommand(command_id="c", action="false-alarm", alert_id=alert.id, asset=alert.asset, time_ns=1)
        await alerting.command(command)
        await alerting.until(lambda alerts: any(one.false_alarm for one in alerts))
    found = await check_topics(kafka, topics, PARTITIONS)
    kinds = {name.partition(":")[2] for name in found}
    assert kinds >= {
        "Reading", "ReadingColumns", "ReadingEvent", "ReadingStructuredEvent", "ReadingTable", "Event", "EventInBinaryMode",
        "EventInStructuredMode", "Interface",
        "TwinDeclaration", "AssetHome", "TwinState", "HistoryBlock", "Checkpoint", "CheckpointMark", "Signal", "Alert",
        "AlertCommand", "Feedback", "ModelAlias", "Serving", "DeadLetter", "InboxSignal", "InboxCommand", "EpochsTable",
        "ConditionsTable",
    }  # fmt: skip
    assert found["definitions:AssetHome"] == len(ASSETS)

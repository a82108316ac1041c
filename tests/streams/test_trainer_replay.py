"""Replay on a real broker: the same block wherever it begins and however often it catches up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from deploy.topics import ensure_topics
from streams import clients
from streams.records import EventRecord, Feedback
from streams.remembering import Remembering
from streams.replaying import Replay
from streams.reservoir import LENGTH
from streams.topics import Topics
from tests.streams.test_trainer_blocks import alert
from twin.fleet import TwinDeclaration

pytestmark = pytest.mark.kafka

PUMP = {
    "@id": "dtmi:test:Pump;1",
    "@type": "Interface",
    "samplingPeriod": "PT1M",
    "maxAhead": None,
    "contents": [{"@type": "Telemetry", "name": "flow", "schema": "double"}],
}
FIRST_S = 1_700_000_040  # a whole minute


@pytest.fixture
async def topics(kafka: str, topic_prefix: str) -> Topics:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, partitions=2)
    return topics


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    async with clients.producer(kafka, client_id="test") as producer:
        yield producer


async def declare(producer: AIOKafkaProducer, topics: Topics, *assets: str, **more: object) -> None:
    interface = {**PUMP, **more}
    await producer.send_and_wait(topics.definitions, key=f"type/{PUMP['@id']}".encode(), value=orjson.dumps(interface))
    for asset in assets:
        declaration = TwinDeclaration(asset=asset, type=str(PUMP["@id"])).model_dump_json().encode()
        await producer.send_and_wait(topics.definitions, key=f"twin/{asset}".encode(), value=declaration)


async def feed(
    producer: AIOKafkaProducer, topics: Topics, asset: str, steps: range, value: Callable[[int], float] = float
) -> None:
    """A reading a minute of event time, a second of the records' time: a clock that runs sixty times faster."""
    for step in steps:
        reading = orjson.dumps({"asset": asset, "time": FIRST_S + 60 * step, "flow": value(step)})
        await producer.send(
            topics.telemetry, key=asset.encode(), value=reading, partition=len(asset) % 2, timestamp_ms=(FIRST_S + step) * 1000
        )
    await producer.flush()


async def test_replay_begins_far_enough_back_for_the_newest_steps_and_not_at_the_beginning(
    kafka: str, topics: Topics, producer: AIOKafkaProducer, caplog: pytest.LogCaptureFixture
) -> None:
    await declare(producer, topics, "p1", "p22")
    for asset in ("p1", "p22"):
        await feed(producer, topics, asset, range(2_000))
    caplog.set_level(logging.INFO, "streams.replaying")
    async with Replay(kafka, topics, max_steps=50) as replay:
        read = await replay.catch_up()
        block = replay.builders["dtmi:test:Pump;1"].block()
        assert await replay.catch_up() == 0
    assert 2 * (50 + 64) < read < 1_200, "far enough back for the steps and their warm-up, but not all 4,000"
    assert block.assets == ("p1", "p22")
    newest = 1_999 - 3  # the last two minutes are within the type's lateness, the third is the watermark's own step
    np.testing.assert_array_equal(block.values[:, :, 0], np.tile(np.arange(newest - 49, newest + 1, dtype=np.float32), (2, 1)))
    assert not block.quality.any()
    assert "replay-begins" in caplog.text


async def test_catching_up_in_pieces_gives_the_block_that_reading_at_once_gives(
    kafka: str, topics: Topics, producer: AIOKafkaProducer
) -> None:
    await declare(producer, topics, "p1", "p22")
    async with Replay(kafka, topics, max_steps=80) as pieces:
        for start in range(0, 200, 40):
            await feed(producer, topics, "p1", range(start, start + 40), lambda step: float(np.sin(step)))
            await feed(producer, topics, "p22", range(start, start + 40, 3), lambda step: 2.0)
            await pieces.catch_up()
        in_pieces = pieces.builders["dtmi:test:Pump;1"].block()
    async with Replay(kafka, topics, max_steps=80) as whole:
        await whole.catch_up()
        at_once = whole.builders["dtmi:test:Pump;1"].block()
    assert (in_pieces.assets, in_pieces.first_step) == (at_once.assets, at_once.first_step)
    np.testing.assert_array_equal(in_pieces.values, at_once.values)
    np.testing.assert_array_equal(in_pieces.quality, at_once.quality)


async def test_what_the_block_has_left_behind_is_remembered_also_after_a_restart(
    kafka: str, topics: Topics, producer: AIOKafkaProducer, tmp_path: Path
) -> None:
    await declare(producer, topics, "p1")
    await feed(producer, topics, "p1", range(400))
    kind, found = "dtmi:test:Pump;1", []
    for max_steps in (800, 40):  # the second begins near the end of the log
        remembering = Remembering(tmp_path, capacity=64, seed=1)
        async with Replay(kafka, topics, max_steps=max_steps, remembering=remembering) as replay:
            await replay.catch_up()
            builder = replay.builders[kind]
            remembered = remembering.before(builder.type, builder.newest, replay.periods)
            assert remembered is not None
            found.append(remembered[0])
            remembering.keep(replay.periods, builder.newest, builder.type)
    assert len(found[0]) >= 3
    np.testing.assert_array_equal(found[0].first_step, found[1].first_step)
    np.testing.assert_array_equal(found[0].values, found[1].values)
    known = np.isfinite(found[0].values[:, :, 0])
    step = found[0].first_step[:, None] + np.arange(LENGTH) - FIRST_S // 60
    np.testing.assert_array_equal(found[0].values[:, :, 0][known], step[known])


async def test_what_was_declared_before_a_reading_is_known_to_it(kafka: str, topics: Topics, producer: AIOKafkaProducer) -> None:
    async with Replay(kafka, topics, max_steps=80) as replay:
        await replay.catch_up()

        async def declare_then_feed() -> None:
            for number in range(8):
                await declare(producer, topics, f"p{number}")
                await feed(producer, topics, f"p{number}", range(20))

        feeding = asyncio.create_task(declare_then_feed())
        while not feeding.done():
            await replay.catch_up()
        await replay.catch_up()
        assert list(replay.builders) == ["dtmi:test:Pump;1"], "no type was inferred in between"
        assert len(replay.builders["dtmi:test:Pump;1"].block().assets) == 8


async def test_a_type_declared_differently_is_replayed_again(kafka: str, topics: Topics, producer: AIOKafkaProducer) -> None:
    await declare(producer, topics, "p1")
    await feed(producer, topics, "p1", range(60))
    async with Replay(kafka, topics, max_steps=80) as replay:
        await replay.catch_up()
        assert replay.builders["dtmi:test:Pump;1"].block().period_ns == 60_000_000_000
        await declare(producer, topics, "p1", samplingPeriod="PT2M")
        assert await replay.catch_up() == 60
        assert replay.builders["dtmi:test:Pump;1"].block().period_ns == 120_000_000_000


async def test_feedback_leaves_a_period_out(kafka: str, topics: Topics, producer: AIOKafkaProducer) -> None:
    await declare(producer, topics, "p1")
    await feed(producer, topics, "p1", range(60))
    begin, end = (FIRST_S + 600) * 10**9, (FIRST_S + 900) * 10**9
    async with Replay(kafka, topics, max_steps=80) as replay:
        await replay.catch_up()
        label = Feedback(asset="p1", from_ns=begin, to_ns=end, label="fault")
        await producer.send_and_wait(topics.feedback, key=b"p1", value=label.to_bytes())
        await replay.catch_up()
        block = replay.builders["dtmi:test:Pump;1"].block()
        assert np.flatnonzero(replay.periods.exclude(block)[0]).tolist() == list(range(10, 15))


async def test_a_change_that_is_announced_lets_an_alert_train_and_what_is_no_event_is_skipped(
    kafka: str, topics: Topics, producer: AIOKafkaProducer
) -> None:
    await declare(producer, topics, "p1")
    await feed(producer, topics, "p1", range(60))
    onset_ns, change_ns = (FIRST_S + 1800) * 10**9, (FIRST_S + 2400) * 10**9
    told = alert(asset="p1", type=PUMP["@id"], onset_ns=onset_ns, updated_ns=onset_ns)
    await producer.send_and_wait(topics.alerts, key=b"a", value=told.to_bytes())
    async with Replay(kafka, topics, max_steps=80) as replay:
        await replay.catch_up()
        block = replay.builders["dtmi:test:Pump;1"].block()
        assert np.flatnonzero(replay.periods.exclude(block)[0]).tolist() == list(range(25, block.steps))
        event = EventRecord(asset="p1", time_ns=change_ns, kind="recalibration")
        for value in (b"{", event.to_bytes()):
            await producer.send_and_wait(topics.events, key=b"p1", value=value)
        await replay.catch_up()
        assert np.flatnonzero(replay.periods.exclude(block)[0]).tolist() == list(range(25, 40))

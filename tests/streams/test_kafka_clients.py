"""The shared Kafka clients and dead letters, on a real broker."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError

from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import KafkaUnavailable
from streams import clients, dead_letter
from streams.topics import Topics

pytestmark = pytest.mark.kafka


async def create(bootstrap: str, name: str, partitions: int, config: Mapping[str, str] | None = None) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(config or {}))])
    finally:
        await admin.close()
    return name


async def test_reading_to_the_end_gives_every_record_of_every_partition_in_order(kafka: str, topic_prefix: str) -> None:
    topic = await create(kafka, topic_prefix + "many", 3)
    assert await clients.read_to_end(kafka, topic) == []
    async with clients.producer(kafka, client_id="test") as producer:
        await asyncio.gather(*[await producer.send(topic, b"%d" % n, partition=2 * (n % 2)) for n in range(500)])
    found = [(record.partition, int(record.value)) for record in await clients.read_to_end(kafka, topic)]
    assert found == [(0, n) for n in range(0, 500, 2)] + [(2, n) for n in range(1, 500, 2)]


async def test_waiting_for_records_ends_at_once_when_told_to_stop_and_takes_nothing(kafka: str, topic_prefix: str) -> None:
    topic = await create(kafka, topic_prefix + "stop", 1)
    consumer, stop = clients.consumer(kafka, topic, client_id="test"), asyncio.Event()
    async with consumer, clients.producer(kafka, client_id="test") as producer:
        waiting = asyncio.create_task(clients.next_records(consumer, stop, timeout_ms=600_000))
        await asyncio.sleep(0.1)
        stop.set()
        assert await asyncio.wait_for(waiting, 60) == {}
        await producer.send_and_wait(topic, b"1")
        (records,) = (await clients.next_records(consumer, asyncio.Event(), timeout_ms=60_000)).values()
        assert [record.value for record in records] == [b"1"]


async def test_reading_to_the_end_passes_over_aborted_records_and_markers_at_the_tail(kafka: str, topic_prefix: str) -> None:
    topic = await create(kafka, topic_prefix + "gaps", 1)
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic_prefix + "t") as producer:
        async with producer.transaction():
            await producer.send(topic, b"kept")
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
    assert [record.value for record in await asyncio.wait_for(clients.read_to_end(kafka, topic), 120)] == [b"kept"]


@pytest.mark.slow
async def test_a_producer_ends_where_the_broker_is_away_and_tells_who_waits(
    topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clients, "FLUSH_S", 2.0)
    broker = EmbeddedKafka(tmp_path, port=0)  # its own: the broker of the other tests stays
    try:
        await asyncio.to_thread(broker.start)
    except KafkaUnavailable as error:
        pytest.skip(f"no broker: {error}")
    try:
        topic = await create(broker.bootstrap, topic_prefix + "away", 1)
        producer = clients.producer(broker.bootstrap, client_id="test")
        await producer.start()
        await producer.send_and_wait(topic, b"acknowledged")
        broker.kill()
        await asyncio.to_thread(broker.wait, 60)
        waiting = await producer.send(topic, b"on its way")
        await asyncio.wait_for(producer.stop(), 120)
        with pytest.raises(KafkaTimeoutError, match="given up"):
            await asyncio.wait_for(waiting, 120)
        gc.collect()  # whose exception nobody took would say so now
        assert not [record for record in caplog.records if record.name == "asyncio"]
    finally:
        await asyncio.to_thread(broker.stop)


@pytest.mark.parametrize("size", [0, 10, 7 * clients.MIB, clients.MAX_MESSAGE_BYTES + 5])
async def test_a_dead_letter_keeps_key_and_bytes_and_says_why_and_where_from(kafka: str, topic_prefix: str, size: int) -> None:
    topics = Topics(topic_prefix)
    spec = next(spec for spec in topics.specs(1) if spec.name == topics.dead_letter)
    await create(kafka, topics.dead_letter, 1, spec.config)
    value = os.urandom(size)
    refused = ConsumerRecord("some.topic", 3, 42, 1700000000000, 0, b"p1", value, None, 2, size, ())
    async with clients.producer(kafka, client_id="test") as producer:
        await dead_letter.send(producer, topics, record=refused, reason="malformed", message="found ×, expected JSON")
    (letter,) = await clients.read_to_end(kafka, topics.dead_letter)
    headers = {name: text.decode() for name, text in letter.headers}
    cut = headers.pop("truncated", None)
    assert headers == {
        "reason": "malformed",
        "message": "found ×, expected JSON",
        "topic": "some.topic",
        "partition": "3",
        "offset": "42",
        "timestamp": "1700000000000",
    }
    assert letter.key == b"p1"
    assert cut == (str(size) if size > clients.MAX_MESSAGE_BYTES else None)
    assert letter.value == value[: len(letter.value)]
    assert len(letter.value) == size or size > clients.MAX_MESSAGE_BYTES > len(letter.value) > 8_000_000


async def test_stopping_a_consumer_in_the_middle_of_a_fetch_cancels_nobody_else(kafka: str, topic_prefix: str) -> None:
    topic = await create(kafka, topic_prefix + "fetched", 1)
    consumer = clients.consumer(kafka, topic, client_id="test")
    await consumer.start()
    consumer._fetcher._pending_tasks.add(asyncio.create_task(asyncio.sleep(60)))  # as a fetch whose broker is away
    await consumer.stop()
    assert not [connection for connection in consumer._client._conns.values() if connection.connected()]


async def test_who_is_cancelled_while_a_consumer_stops_stays_cancelled(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = clients.consumer(kafka, client_id="test")
    with monkeypatch.context() as patched:
        patched.setattr("aiokafka.AIOKafkaConsumer.stop", lambda _: asyncio.sleep(60))
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0.01)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
    await consumer.stop()

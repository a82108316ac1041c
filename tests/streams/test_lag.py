"""How far each role is behind, as a real broker tells it; and that it gets to whom it concerns."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from deploy.influxd import InfluxDbAddress
from deploy.topics import ensure_topics
from streams import clients
from streams.historian import run_historian
from streams.lag import TRAINER, LagProbe, LagWatch, NotedPosition, RoleLag, group_of
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb
from streams.topics import Topics
from tests.streams.historian_rig import LIMITS

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topics(kafka: str, topic_prefix: str) -> Topics:
    found = Topics(topic_prefix)
    await ensure_topics(kafka, found, 2)
    return found


async def send(kafka: str, topic: str, count: int, *, partition: int = 0) -> None:
    async with clients.producer(kafka, client_id="test") as producer:
        for _ in range(count):
            await producer.send(topic, b"{}", key=b"x", partition=partition)


async def ask(kafka: str, topics: Topics) -> dict[str, RoleLag]:
    async with LagProbe(kafka, topics) as probe:
        return {found.role: found for found in await probe.ask()}


@contextlib.asynccontextmanager
async def member(kafka: str, topics: Topics, role: str, topic: str) -> AsyncIterator[clients.Consumer]:
    consumer = clients.consumer(kafka, topic, group=group_of(topics, role), client_id="test")
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s:g} s"
        await asyncio.sleep(0.05)


async def test_a_role_is_behind_by_what_its_group_has_not_committed(kafka: str, topics: Topics) -> None:
    await send(kafka, topics.telemetry, 5)
    await send(kafka, topics.telemetry, 7, partition=1)
    await send(kafka, topics.signals, 3)
    found = await ask(kafka, topics)
    assert (found["processor"].records, found["processor"].members) == ({topics.telemetry: 12}, 0), "nobody has begun"
    assert found["alerting"].records == {topics.signals: 3, topics.alert_commands: 0, topics.alerting_inbox: 0}
    async with member(kafka, topics, "processor", topics.telemetry) as one:
        await one.getone()
        await one.commit({TopicPartition(topics.telemetry, 0): 5, TopicPartition(topics.telemetry, 1): 4})
        found = await ask(kafka, topics)
        assert (found["processor"].records, found["processor"].members) == ({topics.telemetry: 3}, 1)
    assert found["alerting"].records[topics.signals] == 3
    assert (await ask(kafka, topics))["processor"].members == 0


async def test_the_trainer_notes_where_it_is_and_fetches_nothing_by_that(kafka: str, topics: Topics) -> None:
    await send(kafka, topics.telemetry, 5)
    noted = NotedPosition(kafka, topics.telemetry, group_of(topics, TRAINER), client_id="test")
    await noted.start()
    try:
        await until(lambda: len(noted._consumer.assignment()) == 2)
        await noted.note({TopicPartition(topics.telemetry, 0): 4, TopicPartition(topics.telemetry, 1): 0})
        found = (await ask(kafka, topics))[TRAINER]
        assert (found.records, found.members) == ({topics.telemetry: 1}, 1)
        assert await noted._consumer.getmany(timeout_ms=300) == {}
    finally:
        await noted.stop()
    found = (await ask(kafka, topics))[TRAINER]
    assert (found.records, found.members) == ({topics.telemetry: 1}, 0), "what it noted stays"


async def test_a_watch_knows_nothing_without_a_broker_and_ends_when_told() -> None:
    watch, stop = LagWatch("127.0.0.1:9", Topics("nowhere.")), asyncio.Event()
    running = asyncio.create_task(watch.run(stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 60)
    assert watch.newest is None


@pytest.mark.influxdb
async def test_of_several_historians_on_influxdb_one_keeps_the_lag_of_all_roles(
    kafka: str, topics: Topics, influxdb: InfluxDbAddress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("streams.lag_keeping.EVERY_S", 0.2)
    await send(kafka, topics.telemetry, 5)
    database = f"l{topics.prefix[1:9]}"
    kept: list[str] = []

    class Store(InfluxDbStore):
        def write_lag(self, *told: object, **more: object) -> None:
            super().write_lag(*told, **more)  # type: ignore[arg-type]
            kept.append(self.name)

        name = ""

    stores = [Store(influxdb.url, token=influxdb.token, org=influxdb.org, bucket=database) for _ in range(2)]
    stops = [asyncio.Event(), asyncio.Event()]
    tasks = []
    for number, (store, stop) in enumerate(zip(stores, stops, strict=True)):
        store.name = str(number)
        group = group_of(topics, "historian")
        tasks.append(
            asyncio.create_task(run_historian(bootstrap=kafka, topics=topics, store=store, group=group, stop=stop, **LIMITS))
        )
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)

    def lag(role: str) -> tuple[int, int] | None:
        asked = (
            f'SELECT "records", "members" FROM "{database}"."records"."lag" WHERE "role" = \'{role}\' ORDER BY time DESC LIMIT 1'
        )
        rows = server.query(database, asked)[0] if kept else []
        return (rows[0].column("records")[0], rows[0].column("members")[0]) if rows else None

    try:
        await until(lambda: lag("historian") == (0, 2))
        assert lag("processor") == (5, 0)
        keeper = kept[-1]
        stops[int(keeper)].set()
        await asyncio.wait_for(tasks[int(keeper)], 60)
        await until(lambda: kept[-1] != keeper)
        await until(lambda: lag("historian") == (0, 1))
    finally:
        for stop in stops:
            stop.set()
        await asyncio.wait(tasks, timeout=120)
        server.close()
        for store in stores:
            store.close()
    for task in tasks:
        task.result()

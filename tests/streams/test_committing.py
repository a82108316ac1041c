"""Commits beside scoring, on a real broker: never more than is acknowledged, and all of it in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka import TopicPartition

from deploy.topics import ensure_topics
from streams import clients, committing
from streams.committing import Committing
from streams.outbox import Outbox
from streams.shipping import ProcessorStats, Shipping
from streams.topics import Topics
from tests.streams.test_partitions_overlap import Owner, batches

pytestmark = pytest.mark.kafka


async def test_what_is_on_its_way_is_committed_once_it_is_acknowledged(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "EVERY_S", 0.0)
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    places = [TopicPartition(topics.telemetry, partition) for partition in (0, 1)]
    partitions = Owner(tmp_path, topics).partitions
    async with (
        clients.producer(kafka, client_id="test") as producer,
        clients.consumer(kafka, group=f"{topic_prefix}g", client_id="test") as consumer,
    ):
        consumer.assign(places)

        async def committed() -> dict[int, int]:
            return {place.partition: await consumer.committed(place) for place in places}

        outbox = Outbox(producer)
        shipping = Shipping(producer, outbox, topics, partitions, ProcessorStats())
        commits = Committing(consumer, topics.telemetry, partitions, outbox)
        before = partitions.commit_offsets()
        for batch in batches()[:4]:
            commits.shipped(await shipping.ship(partitions.score(partitions.fold(batch))))
            await commits.settled()
            assert await committed() == before
            assert partitions.commit_offsets() != before, "nothing came on: the test proves nothing"
            before = partitions.commit_offsets()
        await commits.idle()
        assert await committed() == before

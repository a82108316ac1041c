"""Topics on a real broker: created as the map says, never changed."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.topics import ensure_topics, missing_topics
from streams.topics import Topics

pytestmark = pytest.mark.kafka


async def _config(bootstrap: str, topic: str, *names: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    entries = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    return [entries[name] for name in names]


async def _create(bootstrap: str, topic: str, partitions: int, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs={k.replace("_", "."): v for k, v in config.items()})])
    while topic not in await admin.list_topics():  # noqa: ASYNC110  the broker tells no event
        await asyncio.sleep(0.02)
    await admin.close()


async def _partitions(bootstrap: str, *topics: str) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return [len(topic["partitions"]) for topic in await admin.describe_topics(list(topics))]
    finally:
        await admin.close()


async def test_missing_topics_get_their_partitions_cleanup_and_retention(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    assert await ensure_topics(kafka, topics, 3) == []
    assert await missing_topics(kafka, topics) == []
    assert sorted(await _partitions(kafka, topics.telemetry, topics.checkpoint, topics.models)) == [1, 3, 3]
    assert await _config(kafka, topics.telemetry, "cleanup.policy", "retention.ms") == ["delete", str(7 * 86_400_000)]
    assert await _config(kafka, topics.checkpoint, "cleanup.policy", "max.message.bytes") == ["compact", "8388608"]
    assert set((await _config(kafka, topics.alerts, "cleanup.policy"))[0].split(",")) == {"compact", "delete"}


async def test_a_second_run_changes_nothing_and_reports_nothing(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    assert await ensure_topics(kafka, topics, 7) == []  # telemetry exists: its own number of partitions counts
    assert await _partitions(kafka, topics.telemetry) == [2]


async def test_dependent_topics_follow_a_telemetry_that_was_there_first(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await _create(kafka, topics.telemetry, 5, retention_ms=str(7 * 86_400_000))
    assert await ensure_topics(kafka, topics, 2) == []
    assert await _partitions(kafka, topics.signals) == [5]


async def test_a_topic_with_other_settings_is_reported_and_left(
    kafka: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    topics = Topics(topic_prefix)
    await _create(kafka, topics.state, 1, cleanup_policy="delete")
    with caplog.at_level(logging.WARNING, "deploy.topics"):
        found = await ensure_topics(kafka, topics, 2)
    assert [(item.topic, item.setting, item.found, item.expected) for item in found] == [
        (topics.state, "partitions", "1", "2"),
        (topics.state, "cleanup.policy", "delete", "compact"),
    ]
    assert "left as it is" in str(found[0])
    assert [record.message for record in caplog.records] == ["topic-differs", "topic-differs"]
    assert await _partitions(kafka, topics.state) == [1]
    assert await _config(kafka, topics.state, "cleanup.policy") == ["delete"]

"""Fixtures of several of this room's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.topics import Topics

from .historian_rig import Rig


@pytest.fixture
async def rig(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Rig]:
    topics = Topics(topic_prefix)
    needed = {topics.history, topics.alerts, topics.models, topics.monitoring, topics.events, topics.dead_letter}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        specs = [spec for spec in topics.specs(2) if spec.name in needed]
        await admin.create_topics(
            [NewTopic(spec.name, spec.partitions or 2, 1, topic_configs=dict(spec.config)) for spec in specs]
        )
    finally:
        await admin.close()
    rig = Rig(kafka, topics, tmp_path)
    yield rig
    rig.store.close()

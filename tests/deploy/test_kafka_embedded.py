"""The embedded broker on the real thing: Java, the jars, the disk, the processes."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


@pytest.mark.kafka
async def test_a_record_sent_is_the_record_read(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}one"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topic, b"value", key=b"key")
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest", group_id=topic) as consumer:
        record = await consumer.getone()
    assert (record.key, record.value, record.offset) == (b"key", b"value", 0)

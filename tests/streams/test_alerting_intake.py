"""The claims of `streams.alert_intake`: what was not delivered is read from the topic, first and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from streams import clients
from streams.alert_intake import COMMIT_AUDITS, Intake, PartitionLog

pytestmark = pytest.mark.kafka


@dataclass
class Bench:
    """One topic with one partition, of which a step notes the offsets that reach it."""

    bootstrap: str
    topic: str
    producer: AIOKafkaProducer
    partition_log: PartitionLog
    intake: Intake = field(init=False)
    done: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.intake = Intake(self.topic, self._note, self.partition_log, lambda record: self.acknowledged.append(record.offset))

    async def _note(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        self.done += [record.offset for record in records]

    async def produce(self, count: int) -> None:
        for at in range(count):
            await self.producer.send_and_wait(self.topic, str(at).encode(), partition=0)

    def delivered(self, *offsets: int) -> list[ConsumerRecord[bytes, bytes]]:
        return [ConsumerRecord(self.topic, 0, offset, 0, 0, b"", b"", None, 0, 0, ()) for offset in offsets]


@pytest.fixture
async def bench(kafka: str, topic_prefix: str) -> AsyncIterator[Bench]:
    topic = f"{topic_prefix}inbox"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = clients.producer(kafka, client_id="test")
    await producer.start()
    partition_log = PartitionLog(kafka, group=f"{topic_prefix}group")
    await partition_log.start()
    yield Bench(kafka, topic, producer, partition_log)
    await partition_log.stop()
    await producer.stop()


async def test_a_gap_is_read_from_the_topic_before_what_comes_after_it(bench: Bench) -> None:
    await bench.produce(10)
    await bench.intake.take(bench.delivered(3, 4, 8), generation=1)
    assert bench.acknowledged == [0, 1, 2, 5, 6, 7], "what was read here; the rest is acknowledged by who delivered it"
    assert bench.done == list(range(9)), "the first gap begins where the group has committed: nowhere yet, so at the beginning"
    await bench.intake.take(bench.delivered(8, 4, 9), generation=1)
    assert bench.done == list(range(10)), "what was done in this generation is passed over"


async def test_another_generation_begins_where_the_group_has_committed(bench: Bench) -> None:
    await bench.produce(10)
    await bench.intake.take(bench.delivered(0, 1), generation=1)
    partition = TopicPartition(bench.topic, 0)
    group: AIOKafkaConsumer = clients.consumer(
        bench.bootstrap, group=f"{bench.topic.removesuffix('inbox')}group", client_id="test"
    )
    await group.start()
    group.assign([partition])
    await group.commit({partition: OffsetAndMetadata(5, "")})
    await group.stop()
    bench.done.clear()
    await bench.intake.take(bench.delivered(7), generation=2)
    assert bench.done == [5, 6, 7]


async def test_what_is_never_delivered_is_done_by_the_second_audit(bench: Bench) -> None:
    await bench.produce(5)
    await bench.intake.take(bench.delivered(0), generation=1)
    await bench.intake.audit([0], generation=1)
    assert bench.done == [0], "it may still be on its way"
    await bench.intake.audit([0], generation=1)
    assert bench.done == [0, 1, 2, 3, 4]
    await bench.intake.audit([0], generation=1)
    await bench.intake.take(bench.delivered(3, 4), generation=1)
    assert bench.done == [0, 1, 2, 3, 4]


async def test_what_was_done_and_stays_uncommitted_is_acknowledged_again(bench: Bench) -> None:
    await bench.produce(5)
    await bench.intake.take(bench.delivered(0, 1, 2), generation=1)
    for _ in range(COMMIT_AUDITS):
        await bench.intake.audit([0], generation=1)
    assert bench.acknowledged == [3, 4], "a commit may still be on its way; these two were read here"
    for _ in range(COMMIT_AUDITS):
        await bench.intake.audit([0], generation=1)
    assert bench.acknowledged == [3, 4, 0, 1, 2, 3, 4]
    assert bench.done == [0, 1, 2, 3, 4], "acknowledged again, not done again"

    group: AIOKafkaConsumer = clients.consumer(
        bench.bootstrap, group=f"{bench.topic.removesuffix('inbox')}group", client_id="test"
    )
    await group.start()
    partition = TopicPartition(bench.topic, 0)
    group.assign([partition])
    await group.commit({partition: OffsetAndMetadata(5, "")})
    await group.stop()
    for _ in range(2 * COMMIT_AUDITS):
        await bench.intake.audit([0], generation=1)
    assert len(bench.acknowledged) == 7, "all is committed"


async def test_offsets_that_hold_no_record_are_passed_over(bench: Bench, kafka: str) -> None:
    await bench.produce(3)
    in_transaction = clients.producer(kafka, client_id="test", transactional_id=f"{bench.topic}-t")
    await in_transaction.start()
    async with in_transaction.transaction():
        await in_transaction.send_and_wait(bench.topic, b"x", partition=0)  # offset 3, and a marker at 4
    await in_transaction.stop()
    partition = TopicPartition(bench.topic, 0)
    while (await bench.partition_log.ends([partition]))[partition] < 5:  # noqa: ASYNC110 - the marker comes a little later
        await asyncio.sleep(0.05)
    await bench.produce(1)  # offset 5
    await bench.intake.take(bench.delivered(0, 1, 2, 3, 5), generation=1)
    assert bench.done == [0, 1, 2, 3, 5]
    await bench.intake.audit([0], generation=1)
    await bench.intake.audit([0], generation=1)
    assert bench.done == [0, 1, 2, 3, 5]

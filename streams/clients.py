"""Kafka clients with the project's settings: one place, so that every role promises the same of its records.

Producers are idempotent, wait for all in-sync replicas and compress with lz4; consumers commit by hand, read only
committed records and start at the earliest when their group has no offset yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

MIB = 1 << 20
MAX_MESSAGE_BYTES = 8 * MIB
# A record that the producer lets through must fit the topic's max.message.bytes with its batch header and lz4's framing:
# a broker's refusal would use up a sequence number, and the idempotent producer could write nothing more to that partition.
MAX_RECORD_BYTES = MAX_MESSAGE_BYTES - 16 * 1024
FLUSH_S = 10.0  # for which the end of a producer waits for acknowledgements
LEAVE_S = 5.0  # for which the end of a consumer waits until its group has let it go


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer, whose `stop` ends also where the broker does not answer."""

    async def stop(self) -> None:
        """Leave the group, for at most LEAVE_S, and close everything."""
        closing = asyncio.ensure_future(super().stop())
        try:
            await asyncio.wait({closing}, timeout=LEAVE_S)
        finally:
            if not closing.done():
                closing.cancel()
                await asyncio.wait({closing})
            # cancelled: by us, or aiokafka 0.14 let out the cancellation of its own fetches, as it does where the broker is away
            if closing.cancelled():
                await self._client.close()
        if not closing.cancelled():
            closing.result()


class Producer(AIOKafkaProducer):  # type: ignore[misc]
    """aiokafka's producer, whose `stop` ends also where the broker is away: an idempotent one would flush for ever."""

    async def stop(self) -> None:
        """Flush for at most FLUSH_S, then close. What is not acknowledged is given up; who waits for it gets KafkaError."""
        flushing = asyncio.ensure_future(super().stop())
        try:
            await asyncio.wait({flushing}, timeout=FLUSH_S)
        finally:
            sender = self._sender.sender_task
            # its end ends the flush; told once it waits for its requests, told again it gives up one of them
            while not flushing.done() and sender is not None and not sender.done():
                sender.cancel()
                await asyncio.wait({sender}, timeout=0.1)
            await flushing
            self._give_up()

    def _give_up(self) -> None:
        accumulator = self._message_accumulator
        for batch in {*accumulator._pending_batches, *chain.from_iterable(accumulator._batches.values())}:
            accumulator._pending_batches.add(batch)  # from which a batch takes itself when it is done, also one to be sent again
            batch.failure(KafkaTimeoutError("given up: the producer was closed while the broker was away"))
            batch._drain_waiter.exception()  # nobody waits for it


def producer(bootstrap: str, *, client_id: str, **more: Any) -> Producer:
    """A producer, not yet started: idempotent, acks=all, lz4, records up to MAX_RECORD_BYTES."""
    settings: dict[str, Any] = {
        "enable_idempotence": True,
        "acks": "all",
        "compression_type": "lz4",
        "max_request_size": MAX_RECORD_BYTES,
        "max_batch_size": 256 * 1024,
        "linger_ms": 2,
    }
    return Producer(bootstrap_servers=bootstrap, client_id=client_id, **{**settings, **more})


def consumer(bootstrap: str, *topics: str, group: str | None = None, client_id: str, **more: Any) -> Consumer:
    """A consumer, not yet started: no automatic commit, read_committed, from the earliest where nothing is committed."""
    settings: dict[str, Any] = {
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
        "fetch_max_bytes": 64 * MIB,
        "fetch_max_wait_ms": 250,
    }
    return Consumer(*topics, bootstrap_servers=bootstrap, group_id=group, client_id=client_id, **{**settings, **more})


async def next_records(
    consumer: AIOKafkaConsumer, stop: asyncio.Event, *, timeout_ms: int, max_records: int | None = None
) -> dict[TopicPartition, list[Any]]:
    """What `getmany` gives within the time; nothing, and at once, where `stop` is set meanwhile."""
    polling = asyncio.ensure_future(consumer.getmany(timeout_ms=timeout_ms, max_records=max_records))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return dict(polling.result()) if polling.done() else {}
    finally:
        for one in (polling, stopping):
            one.cancel()
        await asyncio.gather(polling, stopping, return_exceptions=True)


async def offsets_at(bootstrap: str, topic: str, moments: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """(partition, epoch ms) → the first offset with such a timestamp or a later one; none where the log has none yet."""
    reader = consumer(bootstrap, client_id="livetwin-reader")
    found: dict[tuple[int, int], int] = {}
    try:
        await reader.start()
        for partition, at_ms in sorted(moments):
            place = TopicPartition(topic, partition)
            offset = (await reader.offsets_for_times({place: at_ms}))[place]
            if offset is not None:
                found[partition, at_ms] = int(offset.offset)
    finally:
        await reader.stop()
    return found


async def read_to_end(bootstrap: str, topic: str, *, client_id: str = "livetwin-reader") -> list[ConsumerRecord]:
    """All records of a topic up to where it ends now, by partition, then offset. No group, nothing committed.

    The end is a position, not a record: compacted tails, transaction markers and empty partitions are passed over.
    A compacted topic may still hold several records of a key: the last one counts.
    """
    reader = consumer(bootstrap, topic, client_id=client_id)  # without a group: every partition is its own
    try:
        await reader.start()  # raises UnknownTopicOrPartitionError after the request timeout
        partitions: list[TopicPartition] = sorted(reader.assignment())
        end: dict[TopicPartition, int] = await reader.end_offsets(partitions)
        found: dict[TopicPartition, list[ConsumerRecord]] = {partition: [] for partition in partitions}
        waiting = set(partitions)
        while waiting:
            for partition in sorted(waiting):
                if await reader.position(partition) >= end[partition]:
                    waiting.discard(partition)
                    reader.pause(partition)
            if waiting:
                for partition, records in (await reader.getmany(*waiting, timeout_ms=200)).items():
                    found[partition].extend(record for record in records if record.offset < end[partition])
        return [record for partition in partitions for record in found[partition]]
    finally:
        await reader.stop()

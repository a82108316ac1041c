"""Every record of a partition, in order, at least once: also those that Faust loses when partitions move.

In:   batches that Faust delivers, the offsets committed for the group, the topic itself.
Out:  calls of one step of alerting with records in order.

Why: Faust 0.15 fetches again before it has sought back to the committed offsets, clears its queues after that, and does not
seek at all where nothing is committed yet. Records that are between fetch and agent just then are delivered no more, and the
next commit passes over them. So offsets are checked for gaps here, and what is missing is read from the topic first.
An acknowledgement that comes while the partitions are given out anew is lost in the same way, and Faust then commits nothing of
that partition any more: what was done long ago and is not committed is acknowledged again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError, KafkaError

from streams import clients

log = logging.getLogger(__name__)

_BROKER_WAIT_S = 60.0
COMMIT_AUDITS = 10  # audits between two looks at what is committed

Step = Callable[[Sequence[ConsumerRecord[bytes, bytes]]], Awaitable[None]]


class PartitionLog:
    """Reads stretches of partitions on its own, without a group; and what another group has committed."""

    def __init__(self, bootstrap: str, *, group: str) -> None:
        self._group = group
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id=f"{group}-audit")
        self._reader: AIOKafkaConsumer = clients.consumer(
            bootstrap, client_id=f"{group}-audit", isolation_level="read_uncommitted"
        )
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        await self._admin.start()
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()
        await self._admin.close()

    async def committed(self, partition: TopicPartition) -> int:
        """Where the group goes on; the beginning of the partition when it never committed. Waits for a broker that is away."""
        deadline = asyncio.get_running_loop().time() + _BROKER_WAIT_S
        while True:
            try:
                found = await self._admin.list_consumer_group_offsets(self._group, partitions=[partition])
                if partition not in found:  # how aiokafka 0.14 passes on that the group's coordinator is not ready
                    raise GroupLoadInProgressError(f"no answer for {partition}")
                offset = int(found[partition].offset)
                return offset if offset >= 0 else int((await self._reader.beginning_offsets([partition]))[partition])
            except KafkaError as error:
                if not error.retriable or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.3)

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next record of each will have."""
        ends: dict[TopicPartition, int] = await self._reader.end_offsets(list(partitions))
        return ends

    async def between(
        self, partition: TopicPartition, start: int, stop: int
    ) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
        """What the partition still has of [start, stop), in batches. Offsets without a record are passed over."""
        async with self._one_at_a_time:
            self._reader.assign([partition])
            self._reader.seek(partition, start)
            while await self._reader.position(partition) < stop:
                for records in (await self._reader.getmany(partition, timeout_ms=500)).values():
                    yield [record for record in records if record.offset < stop]


class Intake:
    """Feeds one step from one topic. Records that were done in this generation of the group are passed over.

    `acknowledge` is called for each record that was read here, once the step is done with it, and again for those that stay
    uncommitted: Faust commits nothing after a record that it fetched and nobody acknowledged.
    """

    def __init__(
        self, topic: str, step: Step, partition_log: PartitionLog, acknowledge: Callable[[ConsumerRecord[bytes, bytes]], None]
    ) -> None:
        self.topic = topic
        self._step = step
        self._log = partition_log
        self._acknowledge = acknowledge
        self._one_at_a_time = asyncio.Lock()
        self._generation = -1
        self._next: dict[TopicPartition, int] = {}
        self._next_at_last_audit: dict[TopicPartition, int] = {}
        self._audits: Counter[TopicPartition] = Counter()
        self._at_last_look: dict[TopicPartition, tuple[int, int]] = {}  # what was committed, what was done

    async def take(self, records: Sequence[ConsumerRecord[bytes, bytes]], *, generation: int) -> None:
        """What Faust delivered; what is missing before it comes first. Returns when the step is done with all."""
        async with self._one_at_a_time:
            self._enter(generation)
            fresh: list[ConsumerRecord[bytes, bytes]] = []
            ahead: dict[TopicPartition, int] = {}
            for record in records:
                partition = TopicPartition(record.topic, record.partition)
                expected = ahead[partition] if partition in ahead else await self._expected(partition)
                if record.offset > expected:
                    await self._do(fresh)
                    fresh = []
                    await self._catch_up(partition, record.offset)
                elif record.offset < expected:
                    continue
                fresh.append(record)
                ahead[partition] = record.offset + 1
            await self._do(fresh)

    async def audit(self, partitions: Sequence[int], *, generation: int) -> None:
        """For each partition that has more and has not moved since the last audit: go on to its end."""
        async with self._one_at_a_time:
            self._enter(generation)
            owned = [TopicPartition(self.topic, number) for number in partitions]
            ends = await self._log.ends(owned)
            for partition in owned:
                expected = await self._expected(partition)
                if expected < ends[partition] and self._next_at_last_audit.get(partition) == expected:
                    await self._catch_up(partition, ends[partition])
                self._next_at_last_audit[partition] = self._next[partition]
                self._audits[partition] += 1
                if self._audits[partition] % COMMIT_AUDITS == 0:
                    await self._see_to_commits(partition)

    async def _see_to_commits(self, partition: TopicPartition) -> None:
        """Acknowledge again what was done by the last look and is not committed yet, while commits stand still."""
        committed = await self._log.committed(partition)
        before, done = self._at_last_look.get(partition, (-1, -1))
        self._at_last_look[partition] = committed, self._next[partition]
        if committed != before or committed >= done:
            return
        async for records in self._log.between(partition, committed, done):
            for record in records:
                self._acknowledge(record)
        log.warning(
            "acknowledged-again",
            extra={"topic": self.topic, "partition": partition.partition, "from": committed, "to": done},
        )

    def _enter(self, generation: int) -> None:
        """Another generation begins where the group has committed."""
        if generation != self._generation:
            self._generation = generation
            self._next.clear()
            self._next_at_last_audit.clear()
            self._at_last_look.clear()

    async def _expected(self, partition: TopicPartition) -> int:
        if partition not in self._next:
            self._next[partition] = await self._log.committed(partition)
        return self._next[partition]

    async def _catch_up(self, partition: TopicPartition, stop: int) -> None:
        start, missing = self._next[partition], 0
        async for records in self._log.between(partition, start, stop):
            await self._do(records)
            for record in records:
                self._acknowledge(record)
            missing += len(records)
        self._next[partition] = max(stop, self._next[partition])
        if missing:
            log.warning(
                "records-read-again",
                extra={"topic": self.topic, "partition": partition.partition, "from": start, "to": stop, "records": missing},
            )

    async def _do(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        if records:
            await self._step(records)
            for record in records:
                self._next[TopicPartition(record.topic, record.partition)] = record.offset + 1

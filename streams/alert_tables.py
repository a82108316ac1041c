"""Faust's tables, made safe for effects outside of them: writes that can be awaited, and values that never go back.

Faust sends a table's changelog record soon and does not tell when it is there; alerting must know, because it
acknowledges an input only when its outputs and then its state are on the broker. And what a process that lost its
partitions still writes must not undo what the new owner wrote: each value says how far it is, and a recovery keeps
the one of a key that is farthest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import faust
from aiokafka import ConsumerRecord
from faust.types import TP, EventT
from faust.types.tuples import Message

from streams.alert_records import sequence_of


class CountedTable(faust.Table[bytes, bytes]):
    """Key bytes, value bytes from `streams.alert_records`, changelog in a topic that exists already."""

    def value_of(self, key: bytes) -> bytes | None:
        found: bytes | None = self.data.get(key)
        return found

    def count_of(self, key: bytes) -> int:
        """How far this key's value is, over all owners (`sequence_of`)."""
        return sequence_of(self.value_of(key))

    async def write(self, partition: int, key: bytes, value: bytes) -> None:
        """Returns when the broker has the value. Raises KafkaError: it may or may not have it; nothing was changed here."""
        # shielded: Faust's own callback fails on a future that a stopping agent has cancelled
        await asyncio.shield(self.send_changelog(partition, key, value))
        self.data[key] = value

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """A recovery's batch: values that are less far than what is known of their key are passed over.

        So are values of another table, which Faust 0.15 may hand over while partitions move.
        """
        newest: dict[bytes, EventT[Any]] = {}
        counts: dict[bytes, int] = {}
        for event in batch:
            if event.message.topic != self.changelog_topic_name:
                continue
            key, count = event.message.key or b"", sequence_of(event.message.value)
            if count >= counts.get(key, self.count_of(key)):
                newest[key], counts[key] = event, count
        super().apply_changelog_batch(list(newest.values()))


async def batches(stream: Any, *, most: int, generation: Callable[[], int]) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
    """What waits in a Faust stream, at most `most` records a time; acknowledged when the next batch is asked for.

    `Stream.take` acknowledges what it gave away also when the agent is cancelled or fails in between: those records would
    be lost. Records of an earlier generation of the group are dropped, not acknowledged: who owns their partition reads them.
    """
    unacknowledged = stream.noack()
    pending: list[EventT[Any]] = []
    async for event in unacknowledged.events():
        pending.append(event)
        if len(pending) < most and not unacknowledged.channel.empty():
            continue
        current = [event for event in pending if event.message.generation_id == generation()]
        pending = []
        if current:
            yield [_record(event) for event in current]
            for event in current:
                await unacknowledged.ack(event)


def _record(event: EventT[Any]) -> ConsumerRecord[bytes, bytes]:
    found = event.message
    headers = found.headers or ()
    return ConsumerRecord(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        timestamp=round(found.timestamp * 1000),  # Faust has seconds
        timestamp_type=found.timestamp_type,
        key=found.key,
        value=found.value,
        checksum=None,
        serialized_key_size=len(found.key or b""),
        serialized_value_size=len(found.value or b""),
        headers=tuple(headers.items() if isinstance(headers, Mapping) else headers),
    )


def message_of(record: ConsumerRecord[bytes, bytes]) -> Message:
    """Faust's message for a record that was read without Faust."""
    return Message(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp / 1000,
        record.timestamp_type,
        list(record.headers),
        record.key,
        record.value,
        None,
        tp=TP(record.topic, record.partition),
    )

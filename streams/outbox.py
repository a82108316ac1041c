"""Outbox: the outputs of one micro-batch, built into Kafka batches by hand and acknowledged together.

In:   records for topics and partitions.
Out:  `ship()` gives them to the producer; `acknowledged()` returns when the broker has them all.

Building a batch a partition costs a tenth of `producer.send` a record, which would be most of a processor's work.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer

Header = tuple[str, bytes]
_Row = tuple[bytes | None, bytes | None, Sequence[Header]]


class Outbox:
    """Collects records; keeps their order within a partition. Not started, not stopped: the producer is the caller's."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._waiting: dict[tuple[str, int], list[_Row]] = defaultdict(list)
        self._sent: list[asyncio.Future[object]] = []
        self.rounds = 0  # of acknowledgement so far: moves while the broker answers

    def put(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()) -> None:
        self._waiting[topic, partition].append((key, value, headers))

    def put_all(self, records: Iterable[tuple[str, int, bytes, bytes]]) -> None:
        for topic, partition, key, value in records:
            self.put(topic, partition, key, value)

    async def ship(self) -> None:
        """Hand all that waits to the producer. Raises KafkaError when it takes no more."""
        waiting, self._waiting = self._waiting, defaultdict(list)
        await asyncio.gather(*(self._ship_partition(topic, partition, rows) for (topic, partition), rows in waiting.items()))

    async def acknowledged(self) -> None:
        """Wait until the broker has acknowledged everything shipped. Raises KafkaError when it did not.

        Who is cancelled while waiting has changed nothing: the next call waits for the same.
        """
        sent = list(self._sent)
        if sent:
            await asyncio.wait(sent)
            del self._sent[: len(sent)]
            failed = [error for error in (one.exception() for one in sent) if error is not None]
            if failed:
                raise failed[0]
        self.rounds += 1

    def abandon(self) -> None:
        """Nobody will wait for what is on its way."""
        for one in self._sent:
            one.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _ship_partition(self, topic: str, partition: int, rows: list[_Row]) -> None:
        batch = self._producer.create_batch()
        for key, value, headers in rows:
            if batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                await self._send(batch, topic, partition)
                batch = self._producer.create_batch()
                if batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                    # larger than a batch may be: the producer's own path takes records up to its request size
                    self._sent.append(
                        await self._producer.send(topic, value, key=key, partition=partition, headers=list(headers))
                    )
        if batch.record_count():
            await self._send(batch, topic, partition)

    async def _send(self, batch: object, topic: str, partition: int) -> None:
        self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))

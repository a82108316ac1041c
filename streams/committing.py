"""Commits of a processor: offsets of what is acknowledged, sent beside the scoring of the next batch.

In:   how far each partition is scored and acknowledged.
Out:  committed offsets of the group, one request at a time. A crash repeats what is not committed, never skips.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from streams.outbox import Outbox
from streams.partitions import Partitions

log = logging.getLogger(__name__)

EVERY_S = 0.5


class Committing:
    """Not started, not stopped: the consumer is the caller's, who awaits or cancels `under_way` at the end."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, partitions: Partitions, outbox: Outbox) -> None:
        self._consumer, self._topic = consumer, topic
        self._partitions, self._outbox = partitions, outbox
        self.under_way: asyncio.Task[None] | None = None
        self._begun = 0.0
        self._behind = False  # something is scored that is not committed

    def shipped(self, acknowledged: Mapping[int, int]) -> None:
        """A batch is on its way. Every so often what is acknowledged by then is committed; nobody waits for it."""
        self._behind = True
        if self._due and (self.under_way is None or self.under_way.done()):
            self._begun = time.monotonic()
            self.under_way = asyncio.create_task(self._commit(acknowledged))

    async def idle(self) -> None:
        """Nothing is on its way: commit the rest, every so often."""
        if self._behind and self._due:
            await self.all()

    async def all(self) -> None:
        """Commit all that is shipped, when it is acknowledged; no batch may be scored meanwhile. Raises KafkaError."""
        await self.settled()
        await self._outbox.acknowledged()
        self._begun = time.monotonic()
        self._behind = False
        await self._commit(self._partitions.commit_offsets())

    async def settled(self) -> None:
        """Wait for the commit that is under way: a later one must not overtake it."""
        if self.under_way is not None:
            await asyncio.wait({self.under_way})
            self.under_way.result()

    @property
    def _due(self) -> bool:
        return time.monotonic() - self._begun >= EVERY_S

    async def _commit(self, offsets: Mapping[int, int]) -> None:
        """A commit that the group refuses (a rebalance is under way) is tried after it."""
        if offsets:
            try:
                await self._consumer.commit({TopicPartition(self._topic, p): at for p, at in offsets.items()})
            except (KafkaError, IllegalStateError) as error:
                log.info("commit-refused", extra={"found": repr(error)})
                self._behind = True

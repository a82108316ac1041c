"""What leaves a processor: the outputs of a scored batch, and after them the versions that serve from its end on.

In:   `Outputs` of one batch at a time, in their order.
Out:  records on their way to `twin.history`, `twin.state`, `alert.signals`, `dead-letter`, `definitions`, `models`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from streams import dead_letter
from streams.micro_batch import Outputs
from streams.model_records import Refusal
from streams.outbox import Outbox
from streams.partitions import Partitions
from streams.switching import Switched
from streams.topics import Topics

log = logging.getLogger(__name__)

SWITCHES_S = 0.0002  # of switching between two batches; other models are switched after the next one


@dataclass(slots=True)
class ProcessorStats:
    """Counts since the start, for logs and tests."""

    counts: Counter[str] = field(default_factory=Counter)
    swaps: int = 0
    swap_pause_s: list[float] = field(default_factory=list)  # newest last, at most 1,000


class Shipping:
    """Ships one batch after the other; at most one is not acknowledged."""

    def __init__(
        self, producer: AIOKafkaProducer, outbox: Outbox, topics: Topics, partitions: Partitions, stats: ProcessorStats
    ) -> None:
        self._producer = producer
        self._outbox = outbox
        self._topics = topics
        self._partitions = partitions
        self._stats = stats
        self.announcing: asyncio.Task[None] | None = None
        self._switched: list[Switched | Refusal] = []  # to be announced

    async def ship(self, outputs: Outputs) -> dict[int, int]:
        """Ship what one batch gave; acknowledged before the next one is shipped.

        Returns, by partition, the offset up to which all is acknowledged: that of the batch before.
        """
        self._stats.counts.update(outputs.counts)
        await self.announced()
        if outputs.definitions or outputs.announced:
            for name, definition in outputs.definitions:
                self._outbox.put(self._topics.definitions, 0, name, definition)
            self._outbox.put_all(outputs.announced)
            await self._outbox.ship()
            await self._outbox.acknowledged()
        # the batch before must be safe before its successor is shipped: at most one batch is under way
        await self._outbox.acknowledged()
        acknowledged = self._partitions.commit_offsets()
        for topic, partition, key, value, headers in outputs.records:
            self._outbox.put(topic, partition, key, value, headers)
        self._partitions.passed(outputs)
        switched = self._switch(within_s=SWITCHES_S)
        await self._outbox.ship()
        if outputs.refused:
            await asyncio.gather(
                *(
                    dead_letter.send(self._producer, self._topics, record=one.record, reason=one.reason, message=one.message)
                    for one in outputs.refused
                )
            )
            log.info("refused", extra={"records": len(outputs.refused), "first": outputs.refused[0].message})
        if switched:
            self.announcing = asyncio.create_task(self._announce())
        return acknowledged

    async def switch(self) -> None:
        """Nothing came: a version that is ready is switched to all the same."""
        await self.announced()
        if self._switch(within_s=math.inf):
            await self._announce()
            await self._outbox.acknowledged()

    async def announced(self) -> None:
        """Wait until all that was switched is on its way to `models`: no output of it may go before. Raises KafkaError."""
        if self.announcing is not None:
            await asyncio.wait({self.announcing})
            self.announcing.result()

    def _switch(self, *, within_s: float) -> bool:
        """Switch to versions that became ready, from the next record on; whether there is anything to announce."""
        switching = self._partitions.switching
        began = time.perf_counter()
        self._switched += switching.switch_ready(time.time_ns(), within_s=within_s)
        if switching.switched:
            self._stats.swaps += 1
            self._stats.swap_pause_s = [*self._stats.swap_pause_s[-999:], time.perf_counter() - began]
        return bool(self._switched or switching.switched)

    async def _announce(self) -> None:
        """Tell `models` and the log. Records are made in a thread of their own, as the next batch is scored meanwhile."""
        switching = self._partitions.switching
        switched, self._switched = self._switched, []
        self._outbox.put_all(await asyncio.to_thread(switching.announcements, switched))
        await self._outbox.ship()
        for model, version in switching.switched.items():
            log.info("swap", extra={"model": model, "version": version, "took_s": round(self._stats.swap_pause_s[-1], 6)})
        switching.switched.clear()

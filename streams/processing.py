"""One processor's life: telemetry in; history, state, signals out; then the offsets. One loop, nothing handed on inside it.

In:   the partitions of `telemetry` that the consumer group gives this process.
Out:  `twin.history`, `twin.state`, `alert.signals`, `dead-letter`, `twin.checkpoint`, `models` (which version served where).

Exactly once by determinism: every output is a function of the log and of the versions recorded in `models`, so what is
written again after a crash is the same record. The order within a batch is what makes it so:
  1. fold and score;
  2. ship the outputs, among them the announcement of a version that serves from the end of this batch on;
  3. wait until the broker has acknowledged them;
  4. commit the offsets. A crash repeats, never skips.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from streams import clients, dead_letter, models_topic
from streams.definitions import Definitions, follow_definitions, read_definitions
from streams.outbox import Outbox
from streams.partitions import Outputs, Partitions
from streams.serving import Champions, VersionShelf
from streams.topics import Topics

log = logging.getLogger(__name__)

MOST_BYTES = 512 * 1024  # of telemetry folded at once, so that heartbeats and stops are never far
COMMIT_EVERY_S = 0.5


@dataclass(slots=True)
class ProcessorStats:
    """Counts since the start, for logs and tests."""

    counts: Counter[str] = field(default_factory=Counter)
    swaps: int = 0
    swap_pause_s: list[float] = field(default_factory=list)  # newest last, at most 1,000


class Processor(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer of the group with the twins of its partitions."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        batch_max_records: int,
        batch_wait_ms: int,
        checkpoint_every_s: float,
        group: str,
        session_timeout_ms: int,
        stats: ProcessorStats,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._batch_max_records = batch_max_records
        self._batch_wait_ms = batch_wait_ms
        self._checkpoint_every_s = checkpoint_every_s
        self.stats = stats
        self._consumer: AIOKafkaConsumer = clients.consumer(
            bootstrap,
            group=group,
            client_id="livetwin-processor",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // 4,
            max_poll_records=batch_max_records,
        )
        self._producer: AIOKafkaProducer = clients.producer(bootstrap, client_id="livetwin-processor", linger_ms=0)
        self._lock = asyncio.Lock()
        self._assigned: set[int] = set()
        self._partitions: Partitions
        self._definitions: Definitions
        self._outbox = Outbox(self._producer)
        self._uncommitted = False
        self._committed_at = 0.0
        self._checkpointed_at = time.monotonic()

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, stop: asyncio.Event) -> None:
        """Open in order, loop, close in reverse. Raises KafkaError when the broker is away for longer than a request may take."""
        halt = asyncio.Event()
        followers: list[asyncio.Task[None]] = []
        try:
            await self._producer.start()
            definitions = await read_definitions(self._bootstrap, self._topics)
            view = models_topic.ModelsView()
            champions = Champions(view, VersionShelf())
            caught_up = asyncio.Event()
            followers.append(
                asyncio.create_task(
                    models_topic.follow(
                        self._bootstrap, self._topics, view, caught_up=caught_up, stop=halt, on_change=champions.on_change
                    )
                )
            )
            await _first(caught_up.wait(), followers[0])
            await champions.load_now(definitions.types)
            followers.append(asyncio.create_task(follow_definitions(self._bootstrap, self._topics, definitions, stop=halt)))
            followers.append(asyncio.create_task(champions.run(definitions.types, halt)))
            self._definitions = definitions
            self._partitions = Partitions(self._bootstrap, self._topics, definitions, view, champions)
            await self._consumer.start()
            self._consumer.subscribe([self._topics.telemetry], listener=self)
            await self._loop(stop, followers)
            async with self._lock:
                await self._settle()
        finally:
            halt.set()
            await asyncio.shield(self._close(followers))

    async def _close(self, followers: list[asyncio.Task[None]]) -> None:
        for closing in (self._consumer.stop(), self._producer.stop()):
            try:
                await closing
            except (KafkaError, IllegalStateError) as error:
                log.warning("close-failed", extra={"found": repr(error)})
        await asyncio.gather(*followers, return_exceptions=True)

    async def _loop(self, stop: asyncio.Event, followers: list[asyncio.Task[None]]) -> None:
        while not stop.is_set():
            for follower in followers:
                if follower.done() and not follower.cancelled():
                    follower.result()  # a follower that failed ends the loop with its error
            async with self._lock:
                await self._take_over()
            found = await self._consumer.getmany(timeout_ms=self._batch_wait_ms, max_records=self._batch_max_records)
            async with self._lock:
                await self._micro_batch([record for records in found.values() for record in records])
                await self._maybe_commit()

    # ── one micro-batch ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _micro_batch(self, records: list[ConsumerRecord]) -> None:
        records = self._partitions.wanted(records)
        if not records:
            await self._switch()
        for part in _slices(records) or [[]]:
            if part:
                await self._give_out(await asyncio.to_thread(self._partitions.fold_and_score, part))
            if self._partitions.undeclared and await self._definitions_complete():
                await self._give_out(await asyncio.to_thread(self._partitions.fold_and_score, [], infer=True))

    async def _definitions_complete(self) -> bool:
        """Whether every definition that was there a moment ago is in the view: a feeder declares before it feeds."""
        place = TopicPartition(self._topics.definitions, 0)
        end = (await self._consumer.end_offsets([place]))[place]
        for _ in range(50):
            if self._definitions.position >= end:
                return True
            await asyncio.sleep(0.02)
        return False

    async def _give_out(self, outputs: Outputs) -> None:
        """Ship what one fold gave."""
        self.stats.counts.update(outputs.counts)
        if outputs.definitions:
            for name, definition in outputs.definitions:
                self._outbox.put(self._topics.definitions, 0, name, definition)
            await self._outbox.ship()
            await self._outbox.acknowledged()
        # the batch before must be safe before its successor is shipped: at most one batch is under way
        await self._outbox.acknowledged()
        for topic, partition, key, value, headers in outputs.records:
            self._outbox.put(topic, partition, key, value, headers)
        self._announce()
        await self._outbox.ship()
        if outputs.refused:
            await asyncio.gather(
                *(
                    dead_letter.send(self._producer, self._topics, record=one.record, reason=one.reason, message=one.message)
                    for one in outputs.refused
                )
            )
            log.info("refused", extra={"records": len(outputs.refused), "first": outputs.refused[0].message})
        self._uncommitted = True

    async def _switch(self) -> None:
        """Nothing came: a version that is ready is switched to all the same."""
        if self._announce():
            await self._outbox.ship()
            await self._outbox.acknowledged()

    def _announce(self) -> bool:
        """Switch to versions that became ready, from the next record on; whether there was any."""
        began = time.perf_counter()
        announced = self._partitions.switch_ready(time.time_ns())
        self._outbox.put_all(announced)
        if announced:
            self.stats.swaps += 1
            self.stats.swap_pause_s = [*self.stats.swap_pause_s[-999:], time.perf_counter() - began]
        return bool(announced)

    async def _maybe_commit(self) -> None:
        now = time.monotonic()
        if self._uncommitted and now - self._committed_at >= COMMIT_EVERY_S:
            await self._commit()
        if now - self._checkpointed_at >= self._checkpoint_every_s:
            await self._checkpoint()

    async def _commit(self) -> None:
        """Offsets of what is acknowledged. A commit that the group refuses (a rebalance is under way) is tried after it."""
        await self._outbox.acknowledged()
        offsets = {TopicPartition(self._topics.telemetry, p): at for p, at in self._partitions.commit_offsets().items()}
        self._committed_at = time.monotonic()
        self._uncommitted = False
        if offsets:
            try:
                await self._consumer.commit(offsets)
            except (KafkaError, IllegalStateError) as error:
                log.info("commit-refused", extra={"found": repr(error)})
                self._uncommitted = True

    async def _checkpoint(self) -> None:
        await self._outbox.acknowledged()
        twins, marks = await asyncio.to_thread(self._partitions.checkpoint)
        for group in (twins, marks):  # a mark may only stand behind the twins it speaks of
            for partition, key, value in group:
                self._outbox.put(self._topics.checkpoint, partition, key, value)
            await self._outbox.ship()
            await self._outbox.acknowledged()
        self._checkpointed_at = time.monotonic()

    async def _settle(self) -> None:
        """Leave nothing behind: outputs acknowledged, offsets committed, checkpoints written."""
        if self._partitions.live:
            await self._commit()
            await self._checkpoint()

    # ── partitions come and go ──────────────────────────────────────────────────────────────────────────────────────

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        async with self._lock:
            self._assigned.clear()
            try:
                await self._settle()
            except (KafkaError, IllegalStateError) as error:
                log.warning("settle-failed", extra={"found": repr(error)})

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._assigned = {partition.partition for partition in assigned}

    async def _take_over(self) -> None:
        """Make the partitions we were given ours, and forget those we were not."""
        assigned = set(self._assigned)
        if assigned == self._partitions.live:
            return
        epoch = int(self._consumer._coordinator.generation)  # the group's generation: nothing public tells it
        committed: dict[int, int] = {}
        ends: dict[int, int] = {}
        for partition in assigned:
            place = TopicPartition(self._topics.telemetry, partition)
            begin = (await self._consumer.beginning_offsets([place]))[place]
            committed[partition] = max(await self._consumer.committed(place) or 0, begin)
            ends[partition] = (await self._consumer.end_offsets([place]))[place]
        seeks = await self._partitions.take_over(assigned, committed, ends, epoch)
        if set(self._assigned) != assigned:
            return  # another rebalance came meanwhile; the next round looks again
        for partition, offset in seeks.items():
            self._consumer.seek(TopicPartition(self._topics.telemetry, partition), offset)
        self._outbox.put_all(self._partitions.announce_start(time.time_ns()))
        await self._outbox.ship()
        await self._outbox.acknowledged()
        log.info("partitions", extra={"assigned": sorted(assigned), "epoch": epoch})


def _slices(records: list[ConsumerRecord]) -> list[list[ConsumerRecord]]:
    """Records in groups of about MOST_BYTES."""
    groups: list[list[ConsumerRecord]] = []
    size = MOST_BYTES
    for record in records:
        if size >= MOST_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(record)
        size += len(record.value or b"")
    return groups


async def _first(wanted: Coroutine[Any, Any, object], task: asyncio.Task[None]) -> None:
    """Wait for `wanted`, or raise what ended `task` before."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()

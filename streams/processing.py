"""One processor's life: telemetry in; history, state, signals out; then the offsets.

In:   the partitions of `telemetry` that the consumer group gives this process.
Out:  `twin.history`, `twin.state`, `alert.signals`, `dead-letter`, `twin.checkpoint`, `models` (which version served where).

Exactly once by determinism: every output is a function of the log and of the versions recorded in `models`, so what is
written again after a crash is the same record. The order within a batch is what makes it so:
  1. fold; 2. score;
  3. ship the outputs, among them the announcement of a version that serves from the end of this batch on;
  4. wait until the broker has acknowledged them;
  5. commit the offsets. A crash repeats, never skips.
One batch is fetched and folded while the one before it goes through 2 and 3; none is scored before 3 is done for the one before.
4 and 5 go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from models.weight_sources import WeightSources
from streams import clients, models_topic
from streams.committing import Committing
from streams.definitions import Definitions, follow_definitions, read_definitions
from streams.ending import ended
from streams.micro_batch import Announcement, FoldedBatch, slices
from streams.outbox import Outbox
from streams.partitions import Partitions
from streams.past_versions import PastOf
from streams.saving import Saving
from streams.serving import Champions, VersionShelf
from streams.shipping import ProcessorStats, Shipping
from streams.topics import Topics
from streams.usage_report import UsageReport

log = logging.getLogger(__name__)

STILL_S = 10.0  # for which a processor that is told to stop waits for a broker that acknowledges nothing


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
        weights: WeightSources,
        skip_missing: bool,
        stats: ProcessorStats,
        usage: UsageReport,
        rates_every_s: float,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._batch_max_records = batch_max_records
        self._batch_wait_ms = batch_wait_ms
        self._checkpoint_every_s = checkpoint_every_s
        self._weights, self._skip_missing = weights, skip_missing
        self.stats, self._usage, self._rates_every_s = stats, usage, rates_every_s
        self._consumer: AIOKafkaConsumer = clients.consumer(
            bootstrap,
            group=group,
            client_id="livetwin-processor",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // 4,
            max_poll_records=batch_max_records,
        )
        self._producer: AIOKafkaProducer = clients.producer(
            bootstrap,
            client_id="livetwin-processor",
            linger_ms=0,
            compression_type="zstd",  # smaller than lz4 as Kafka asks for it (level 9), in a quarter of its time
        )
        self._lock = asyncio.Lock()
        self._scoring: asyncio.Task[None] | None = None  # steps 2 to 5 of the newest folded batch; one that failed stays
        self._assigned: set[int] = set()
        self._generation = -1  # in which `_assigned` was taken over
        self._partitions: Partitions
        self._shipping: Shipping
        self._definitions: Definitions
        self._outbox = Outbox(self._producer)
        self._committing: Committing
        self._saving: Saving

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, and leave nothing behind. Raises KafkaError when the broker is away longer than a request may take.

        A broker that is away at the end is waited for STILL_S, and while closing as long as `streams.clients` says. What is not
        committed then is done again by the next owner, with the same outputs.
        """
        working = asyncio.create_task(self._work(stop))
        if not await ended(working, stop, lambda: self._outbox.rounds, still_s=STILL_S):
            log.warning("stopped-unsettled", extra={"found": f"the broker acknowledged nothing for {STILL_S:g} s"})

    async def _work(self, stop: asyncio.Event) -> None:
        """Open in order, loop, close in reverse."""
        halt = asyncio.Event()
        followers: list[asyncio.Task[None]] = []
        try:
            await self._producer.start()
            definitions = await read_definitions(self._bootstrap, self._topics)
            view = models_topic.ModelsView()
            champions = Champions(view, VersionShelf(self._weights))
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
            followers.append(asyncio.create_task(self._usage.run(self._producer, halt)))
            self._definitions = definitions
            past = PastOf(view, definitions, champions.shelf, skip_missing=self._skip_missing)
            await past.require()
            self._partitions = Partitions(
                self._bootstrap, self._topics, definitions, view, champions, past, rates_every_s=self._rates_every_s
            )
            self._saving = Saving(self._partitions, self._outbox, self._topics.checkpoint, every_s=self._checkpoint_every_s)
            self._shipping = Shipping(self._producer, self._outbox, self._topics, self._partitions, self.stats)
            self._committing = Committing(self._consumer, self._topics.telemetry, self._partitions, self._outbox)
            await self._consumer.start()
            self._consumer.subscribe([self._topics.telemetry], listener=self)
            await self._loop(stop, followers)
            async with self._lock:
                await self._settle()
        finally:
            halt.set()
            if self._scoring is not None:
                for left in filter(None, (self._scoring, self._committing.under_way, self._shipping.announcing)):
                    left.cancel()  # none is under way but after an error
                    followers.append(left)
            await asyncio.shield(self._close(followers))

    async def _close(self, followers: list[asyncio.Task[None]]) -> None:
        self._outbox.abandon()
        for found in await asyncio.gather(self._consumer.stop(), self._producer.stop(), *followers, return_exceptions=True):
            if isinstance(found, KafkaError | IllegalStateError):
                log.warning("close-failed", extra={"found": repr(found)})

    async def _loop(self, stop: asyncio.Event, followers: list[asyncio.Task[None]]) -> None:
        while not stop.is_set():
            for follower in followers:
                if follower.done() and not follower.cancelled():
                    follower.result()  # a follower that failed ends the loop with its error
            if not self._under_way:
                await self._scored()
            async with self._lock:
                await self._take_over()
            found = await clients.next_records(
                self._consumer, stop, timeout_ms=self._batch_wait_ms, max_records=self._batch_max_records
            )
            async with self._lock:
                await self._micro_batch(found)
                if self._saving.due:
                    await self._scored()
                    await self._saving.part()

    # ── one micro-batch ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _micro_batch(self, found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        records = self._partitions.wanted(found)
        if not records and not self._under_way:
            await self._shipping.switch()
            await self._committing.idle()
        for part in slices(records) or [[]]:
            if part:
                await self._pass_on(await asyncio.to_thread(self._partitions.fold, part))
            if self._partitions.undeclared:
                await self._scored()  # what it publishes must be out before the view can be known to be complete
                if await self._definitions_complete():
                    await self._pass_on(await asyncio.to_thread(self._partitions.fold, [], infer=True))

    async def _pass_on(self, batch: FoldedBatch) -> None:
        """Have a folded batch scored and written, after the one before it."""
        await self._scored()
        self._scoring = asyncio.create_task(self._score(batch))
        await asyncio.sleep(0)  # its thread begins before the next records are taken out of what was fetched

    async def _score(self, batch: FoldedBatch) -> None:
        self._committing.shipped(await self._shipping.ship(await asyncio.to_thread(self._partitions.score, batch)))

    @property
    def _under_way(self) -> bool:
        return self._scoring is not None and not self._scoring.done()

    async def _scored(self) -> None:
        """Wait until what is folded is scored and shipped. Raises what ended it, each time: nothing may be folded after it."""
        if self._scoring is not None:
            await asyncio.wait({self._scoring})
            self._scoring.result()

    async def _definitions_complete(self) -> bool:
        """Whether every definition that was there a moment ago is in the view: a feeder declares before it feeds."""
        place = TopicPartition(self._topics.definitions, 0)
        end = (await self._consumer.end_offsets([place]))[place]
        for _ in range(50):
            if self._definitions.position >= end:
                return True
            await asyncio.sleep(0.02)
        return False

    async def _settle(self) -> None:
        """Leave nothing behind: outputs acknowledged, offsets committed, checkpoints written."""
        await self._scored()
        await self._shipping.announced()
        if self._partitions.live:
            await self._committing.all()
            await self._saving.all()

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
        epoch = int(self._consumer._coordinator.generation)  # the group's generation: nothing public tells it
        # the same partitions in another generation may have been another's in between; -1: a rebalance is still to come
        if assigned == self._partitions.live and epoch in (self._generation, -1):
            return
        await self._scored()
        await self._shipping.announced()
        await self._committing.settled()
        committed: dict[int, int] = {}
        places = [TopicPartition(self._topics.telemetry, partition) for partition in assigned]
        begins, ends = await self._consumer.beginning_offsets(places), await self._consumer.end_offsets(places)
        for place in places:
            done = await self._consumer.committed(place)
            committed[place.partition] = min(max(done or 0, begins[place]), ends[place])
            if done is not None and done < begins[place]:
                lost = {"partition": place.partition, "from": done, "to": begins[place]}
                log.error("telemetry-dropped-unread", extra={**lost, "found": "retention was shorter than nobody read"})
        history = await self._consumer.end_offsets([TopicPartition(self._topics.history, partition) for partition in assigned])
        written = {place.partition for place, end in history.items() if end}
        ending = {place.partition: end for place, end in ends.items()}
        seeks = await self._partitions.take_over(committed, ending, written, epoch, self._announced)
        if set(self._assigned) != assigned:
            return  # another rebalance came meanwhile; the next round looks again
        for partition, offset in seeks.items():
            self._consumer.seek(TopicPartition(self._topics.telemetry, partition), offset)
        await self._announced(self._partitions.switching.announce_start(time.time_ns()))
        self._generation = epoch
        log.info("partitions", extra={"assigned": sorted(assigned), "epoch": epoch})

    async def _announced(self, records: list[Announcement]) -> None:
        self._outbox.put_all(records)
        await self._outbox.ship()
        await self._outbox.acknowledged()


async def _first(wanted: Coroutine[Any, Any, object], task: asyncio.Task[None]) -> None:
    """Wait for `wanted`, or raise what ended `task` before."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()

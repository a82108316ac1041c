"""The historian: `twin.history`, `alerts`, switches on `models`, alarm rates on `monitoring` into a store, at its own pace.

In:   records of those topics, as a consumer group; many historians share the partitions where the store allows many writers.
Out:  rows in a `TwinStore`; what can't be decoded in `dead-letter`, also of what feeders write to `events`.
Offsets are committed after the store has taken a batch: a crash repeats, never skips. A store that is away makes it wait with its
partitions paused: Kafka keeps, the group keeps its member, memory holds one batch. No alert waits for any of this.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError

from streams import clients, dead_letter
from streams.historian_records import Batch, Item, RecordRefused, write_items
from streams.lag import sources
from streams.lag_keeping import LagKeeping
from streams.stores.port import KeepsLag, StoreError, StoreUnavailable, TwinStore
from streams.topics import Topics
from streams.waiting import pause

log = logging.getLogger(__name__)
_CLIENT = "livetwin-historian"
_BATCH_S = 0.5
_BATCH_BYTES = 2 * clients.MIB  # some 20,000 steps of five channels
_POLL_RECORDS = 64
_FETCH = {"max_partition_fetch_bytes": 2 * clients.MIB, "fetch_max_bytes": 8 * clients.MIB}  # held while the store is away
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
_MEASURE_EVERY_S = 2.0


@dataclass(slots=True)
class HistorianStats:
    """What the historian is doing, for the gateway to show. Read it from any thread; only the historian writes."""

    rows_written: int = 0  # closed steps handed to the store; what was delivered again counts again
    records_read: int = 0
    records_refused: int = 0
    writes_failed: int = 0
    rows_dropped: int = 0
    last_write_ns: int | None = None  # wall clock
    lag: dict[str, int] = field(default_factory=dict)  # topic → records not yet in the store
    waiting_for: str | None = None  # why nothing is written now


class Historian:
    """Runs until told to stop. `max_age_ns` and `max_bytes` are the store's limits, enforced every `limits_every_s`."""

    def __init__(
        self,
        *,
        bootstrap: str,
        topics: Topics,
        store: TwinStore,
        group: str = "livetwin-historian",
        max_age_ns: int,
        max_bytes: int,
        limits_every_s: float = 60.0,
        stats: HistorianStats | None = None,
    ) -> None:
        self.stats = stats or HistorianStats()
        self.keeps_lag = False  # of several historians one: who has the first partition of the history
        self._bootstrap, self._topics = bootstrap, topics
        self._sources = sources(topics)["historian"]
        self._store = store
        self._group = group
        self._max_age_ns = max_age_ns
        self._max_bytes = max_bytes
        self._limits_every_s = limits_every_s
        self._limits_due = time.monotonic() + limits_every_s
        self._measure_due = 0.0
        self._letter_bytes = clients.MAX_RECORD_BYTES

    async def run(self, stop: asyncio.Event) -> None:
        """Sink until `stop` is set. A broker that is away is waited for; a bug is raised."""
        retry_s = _FIRST_RETRY_S
        while not stop.is_set():
            started = time.monotonic()
            try:
                await self._session(stop)
            except (KafkaError, OSError) as error:
                if time.monotonic() - started > 2 * _LONGEST_RETRY_S:
                    retry_s = _FIRST_RETRY_S
                self.stats.waiting_for = f"Kafka: {type(error).__name__}: {error}"
                log.warning("historian-waits-for-kafka error=%s retry_s=%.1f", self.stats.waiting_for, retry_s)
                await pause(stop, retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _session(self, stop: asyncio.Event) -> None:
        async with AsyncExitStack() as opened:
            log_id = await _cluster_id(self._bootstrap)
            producer = clients.producer(self._bootstrap, client_id=_CLIENT)
            opened.push_async_callback(producer.stop)
            await producer.start()
            consumer = clients.consumer(self._bootstrap, *self._sources, group=self._group, client_id=_CLIENT, **_FETCH)
            opened.push_async_callback(consumer.stop)
            await consumer.start()
            self.stats.waiting_for = None
            self.stats.lag = dict.fromkeys(self._sources, 0)
            while not stop.is_set():
                batch = await self._gather(consumer, stop)
                if batch.next:
                    await asyncio.to_thread(batch.decode, self._topics, log_id)
                    if not await self._put(batch, consumer, stop):
                        break  # told to stop while the store was away: the batch is read again at the next start
                    await self._send_refused(producer, batch)
                    await self._commit(consumer, batch)
                await self._enforce_limits_when_due()
                await self._measure_lag(consumer, held={})

    async def _gather(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> Batch:
        """What comes within _BATCH_S, up to about _BATCH_BYTES."""
        batch = Batch()
        until = time.monotonic() + _BATCH_S
        while batch.bytes < _BATCH_BYTES and not stop.is_set():
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            polled = await consumer.getmany(timeout_ms=int(1000 * left_s) + 1, max_records=_POLL_RECORDS)
            for records in polled.values():
                for record in records:
                    self.stats.records_read += 1
                    batch.add(record)
        return batch

    # ── the store ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _put(self, batch: Batch, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> bool:
        """Write a batch, however long the store is away. False: told to stop before it was written."""
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                await asyncio.to_thread(self._write, batch)
                break
            except StoreUnavailable as error:
                self.stats.writes_failed += 1
                self.stats.waiting_for = f"store: {error}"
                log.warning("historian-waits-for-store error=%s retry_s=%.1f", error, retry_s)
                wait_s = max(retry_s * random.uniform(0.5, 1.0), error.retry_after_s or 0.0)
                await self._wait_paused(consumer, batch, stop, wait_s)
                if stop.is_set():
                    return False
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        if self.stats.waiting_for is not None:
            log.info("historian-goes-on records=%d", len(batch.items))
            self.stats.waiting_for = None
            consumer.resume(*consumer.assignment())
        if batch.items:
            self.stats.last_write_ns = time.time_ns()
        return True

    def _write(self, batch: Batch) -> None:
        """One write for all; if that fails for a reason that is not the store's, record by record, refusing those that fail."""
        try:
            self._write_items([item for _, item in batch.items])
            return
        except StoreError:
            raise  # of the store, not of a record: a refused one (StoreRefused) ends the role, nothing is committed
        except Exception:
            log.exception("historian-writes-one-by-one records=%d", len(batch.items))
        good: list[tuple[ConsumerRecord, Item]] = []
        for record, item in batch.items:
            try:
                self._write_items([item])
                good.append((record, item))
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, the next record must not wait for it
                where = f"{record.topic} partition {record.partition} offset {record.offset}"
                what = f"{where}: the store raised {type(error).__name__}: {error}; not kept"
                batch.refused.append((record, RecordRefused("store", what)))
        batch.items = good

    def _write_items(self, items: Sequence[Item]) -> None:
        self.stats.rows_written += write_items(self._store, items)

    async def _wait_paused(self, consumer: AIOKafkaConsumer, batch: Batch, stop: asyncio.Event, wait_s: float) -> None:
        """Let time pass, polling, so that the group keeps this member; what a rebalance assigns meanwhile is paused too."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until and not stop.is_set():
            consumer.pause(*consumer.assignment())
            for partition, records in (await consumer.getmany(timeout_ms=100, max_records=1)).items():
                consumer.seek(partition, records[0].offset)  # came between an assignment and its pause
            await self._measure_lag(consumer, held=batch.first)
            await pause(stop, 0.1)

    async def _enforce_limits_when_due(self) -> None:
        if time.monotonic() < self._limits_due:
            return
        self._limits_due = time.monotonic() + self._limits_every_s
        try:
            dropped = await asyncio.to_thread(self._store.enforce_limits, max_age_ns=self._max_age_ns, max_bytes=self._max_bytes)
            self.stats.rows_dropped += sum(dropped.values())
        except StoreUnavailable as error:
            log.warning("limits-not-enforced error=%s retry_s=%.0f", error, self._limits_every_s)

    # ── Kafka ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send_refused(self, producer: AIOKafkaProducer, batch: Batch) -> None:
        for _, refusal in batch.refused:
            log.warning("record-refused reason=%s %s", refusal.reason, refusal)
        letters = [
            dead_letter.send(
                producer, self._topics, record=record, reason=refusal.reason, message=str(refusal), most_bytes=self._letter_bytes
            )
            for record, refusal in batch.refused
        ]
        try:
            await asyncio.gather(*letters)
        except MessageSizeTooLargeError:  # a new session reads them again and sends them cut
            self._letter_bytes = dead_letter.SMALL_RECORD_BYTES
            raise
        self.stats.records_refused += len(batch.refused)

    async def _commit(self, consumer: AIOKafkaConsumer, batch: Batch) -> None:
        own = consumer.assignment()
        offsets = {partition: offset for partition, offset in batch.next.items() if partition in own}
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (KafkaError, IllegalStateError) as error:
            # the partitions have moved on to another member, or will: who reads the records again writes the same rows
            log.info("offsets-not-committed error=%s", error)

    async def _measure_lag(self, consumer: AIOKafkaConsumer, *, held: dict[TopicPartition, int]) -> None:
        """Records not in the store yet, a topic; `held`: where those begin that were read but not written."""
        if time.monotonic() < self._measure_due:
            return
        self._measure_due = time.monotonic() + _MEASURE_EVERY_S
        self.keeps_lag = TopicPartition(self._topics.history, 0) in (own := consumer.assignment())
        if not own:
            return
        ends = await consumer.end_offsets(list(own))
        lag = dict.fromkeys(self._sources, 0)
        try:
            for partition, end in ends.items():
                position = held.get(partition)
                if position is None:
                    position = await asyncio.wait_for(consumer.position(partition), _MEASURE_EVERY_S)
                lag[partition.topic] += max(0, end - position)
        except (TimeoutError, IllegalStateError):
            return  # partitions are being handed over: measured again later
        self.stats.lag = lag


async def run_historian(
    *,
    bootstrap: str,
    topics: Topics,
    store: TwinStore,
    group: str = "livetwin-historian",
    max_age_ns: int,
    max_bytes: int,
    stop: asyncio.Event,
    stats: HistorianStats | None = None,
) -> None:
    """Sink into `store` until `stop` is set; `stats` tells how it is going. See `Historian`."""
    historian = Historian(
        bootstrap=bootstrap, topics=topics, store=store, group=group, max_age_ns=max_age_ns, max_bytes=max_bytes, stats=stats
    )
    keeping = LagKeeping(bootstrap, topics, store, lambda: historian.keeps_lag) if isinstance(store, KeepsLag) else None
    beside = None if keeping is None else asyncio.create_task(keeping.run(stop))
    try:
        await historian.run(stop)
    finally:
        if beside is not None:
            beside.cancel()
            await asyncio.wait({beside})


async def _cluster_id(bootstrap: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id=_CLIENT)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()

"""Replay: recent telemetry folded again, through the same code as serving, into dense blocks that models train on.

In:   `telemetry`, `definitions`, `alerts`, `feedback`, `events`, read without a group: the stream's own position does not move.
Out:  `StepBlock` of the newest closed steps of each twin type, and which of its cells must not train.

The first `catch_up` seeks back far enough to cover `max_steps` of event time; later ones go on from there, and since a
fold does not depend on batches that gives the same block as reading all again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams import clients
from streams.decoding import decode
from streams.definitions import Definitions
from streams.folding import Folder
from streams.formats.events import decode_event
from streams.formats.readings import latest_times
from streams.lag import NotedPosition
from streams.log_record import LogRecord
from streams.remembering import Remembering
from streams.step_blocks import StepBlockBuilder
from streams.topics import Topics
from streams.training_periods import TrainingPeriods
from twin.errors import ReadingRefused
from twin.types import TwinType

log = logging.getLogger(__name__)

_BATCH_RECORDS = 5_000
_PROBE_RECORDS = 500  # a partition, to see how old the events at an offset are
_WARM_UP_STEPS = 64  # folded before the block begins, so that gaps and stuck runs are judged as in serving


class Replay:
    """Blocks of all types, brought up to date on demand. Used from one event loop; folding runs in a thread."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        max_steps: int,
        remembering: Remembering | None = None,
        noted: NotedPosition | None = None,
    ) -> None:
        """`remembering`: what takes a sample of all closed steps; `noted`: where to tell how far telemetry is read."""
        self._bootstrap, self._topics, self._max_steps, self._noted = bootstrap, topics, max_steps, noted
        self._remembering = remembering
        self.definitions = Definitions()
        self.periods = TrainingPeriods()
        self.builders: dict[str, StepBlockBuilder] = {}  # by type id
        self._folder = Folder(self.definitions, window=1, of_now=True)
        self._open = AsyncExitStack()
        self._telemetry: AIOKafkaConsumer
        self._told: AIOKafkaConsumer
        self._begun = False
        self._revision = 0  # of the definitions, at the last look

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            told = (self._topics.definitions, self._topics.alerts, self._topics.feedback, self._topics.events)
            self._told = clients.consumer(self._bootstrap, *told, client_id="livetwin-trainer-told")
            await self._told.start()
            opening.push_async_callback(self._told.stop)
            self._telemetry = clients.consumer(self._bootstrap, self._topics.telemetry, client_id="livetwin-trainer")
            await self._telemetry.start()
            opening.push_async_callback(self._telemetry.stop)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._open.aclose()

    async def catch_up(self, stop: asyncio.Event | None = None) -> int:
        """Fold all that is in the log by now; how many records that were.

        Where telemetry ends is asked before definitions are read, so that what was declared before a reading is known to it.
        """
        end = await self._telemetry.end_offsets(self._telemetry.assignment())
        async for records in read_up_to(self._told, await self._told.end_offsets(self._told.assignment()), stop):
            for record in records:
                self._tell(record)
        if self._begun and self._outdated():
            log.info("replay-again", extra={"found": "a type or a twin was declared differently"})
            self._folder, self.builders, self._begun = Folder(self.definitions, window=1, of_now=True), {}, False
        if not self._begun:
            for partition, offset in (await self._start_offsets()).items():
                self._telemetry.seek(partition, offset)
            self._begun = True
        count = 0
        async for records in read_up_to(self._telemetry, end, stop, max_records=_BATCH_RECORDS):
            await asyncio.to_thread(self._fold, records)
            count += len(records)
            await self._note_position()
        await self._note_position()
        return count

    async def _note_position(self) -> None:
        if self._noted is not None:
            own = self._telemetry.assignment()
            await self._noted.note({partition: await self._telemetry.position(partition) for partition in own})

    def _tell(self, record: ConsumerRecord) -> None:
        if record.topic == self._topics.definitions:
            self.definitions.apply(record.key, record.value)
        elif record.topic == self._topics.alerts:
            self.periods.alert(record.key, record.value)
        elif record.topic == self._topics.feedback:
            self.periods.feedback(record.value)
        else:
            with suppress(ReadingRefused):  # the historian sends it to dead-letter
                self.periods.event(decode_event(record.value, record.headers, record.key))

    def _outdated(self) -> bool:
        """Whether a twin was folded as another type than it is declared to be by now, or in other units than were told since."""
        if self._revision == self.definitions.revision:
            return False
        self._revision = self.definitions.revision
        found = [asset for arena in self._folder.arenas.values() for asset in arena.row_of if self._other_terms(asset)]
        if self._remembering is not None:
            for asset in found:
                self._remembering.forget(asset)  # what is still in the log comes again
        return bool(found)

    def _other_terms(self, asset: str) -> bool:
        place = self._folder.on_terms(asset)
        if place is None:
            return False
        kind, units, _ = self.definitions.declared_at(asset, int(place.arena.next_offset[place.row]) - 1)
        self._folder.expect(asset)  # a change whose offset is still to come
        return kind != place.arena.type or units != place.units

    def _fold(self, records: Iterable[LogRecord]) -> None:
        for closed in self._folder.fold(records).closed:
            arena = self._folder.arenas[closed.type.id]
            builder = self.builders.get(closed.type.id)
            if builder is None:
                builder = self.builders[closed.type.id] = StepBlockBuilder(closed.type, max_steps=self._max_steps)
            assets = [str(arena.asset_of[row]) for row in closed.row.tolist()]
            builder.add(assets, closed.step, closed.values, closed.quality)
            if self._remembering is not None:
                self._remembering.add(closed.type, assets, closed.step, closed.values, closed.quality)

    # ── where to begin ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _start_offsets(self) -> dict[TopicPartition, int]:
        """Offsets from which on the log covers the newest `max_steps` of every type.

        Records are found by their timestamp, steps are counted in event time, and a simulated clock may run faster than
        the records': so go back by doubling until the events there are old enough. Where event time runs as fast as the
        records', going back by the span itself is enough, and that is where this stops.
        """
        async with AsyncExitStack() as opening:
            probe = clients.consumer(
                self._bootstrap, self._topics.telemetry, client_id="livetwin-trainer-probe", max_partition_fetch_bytes=1 << 17
            )
            await probe.start()
            opening.push_async_callback(probe.stop)
            partitions = sorted(probe.assignment())
            begin, end = await probe.beginning_offsets(partitions), await probe.end_offsets(partitions)
            tails = {partition: max(begin[partition], end[partition] - _PROBE_RECORDS) for partition in partitions}
            tail = await _sample(probe, tails, end)
            newest = self._newest_events(tail)
            spans = {kind: self._span_ns(self.definitions.types[kind]) for kind in newest}
            if not newest:
                return dict(begin)
            last_ms, back_ms = max(record.timestamp for record in tail), 60_000
            while True:
                found = await probe.offsets_for_times(dict.fromkeys(partitions, last_ms - back_ms))
                starts = {p: found[p].offset if found.get(p) is not None else tails[p] for p in partitions}
                if starts == begin or back_ms * 1_000_000 >= max(spans.values()):
                    break
                there = self._newest_events(await _sample(probe, starts, end), of_first=True)
                if all(kind in there and newest[kind] - there[kind] >= span for kind, span in spans.items()):
                    break
                back_ms *= 2
        log.info("replay-begins", extra={"records": sum(end.values()) - sum(starts.values()), "back_s": back_ms / 1000})
        return starts

    def _span_ns(self, type: TwinType) -> int:
        return (self._max_steps + _WARM_UP_STEPS) * type.period_ns + type.lateness_ns

    def _newest_events(self, records: Iterable[ConsumerRecord], *, of_first: bool = False) -> dict[str, int]:
        """Newest event time by type id, of records of declared twins.

        `of_first`: only the first record of a type in each partition counts, as the others may reach far beyond an offset.
        """
        newest: dict[str, int] = {}
        seen: set[tuple[int, str]] = set()
        for record in records:
            try:
                times = list(latest_times(decode(record.value, record.headers, record.key)))
            except ReadingRefused:
                continue
            known = set(seen) if of_first else set()
            for asset, time_ns in times:
                kind = self.definitions.type_of(asset)
                if kind is not None and (record.partition, kind.id) not in known:
                    seen.add((record.partition, kind.id))
                    newest[kind.id] = max(newest.get(kind.id, 0), time_ns)
        return newest


async def read_up_to(
    consumer: AIOKafkaConsumer,
    ends: Mapping[TopicPartition, int],
    stop: asyncio.Event | None = None,
    *,
    max_records: int | None = None,
) -> AsyncIterator[list[ConsumerRecord]]:
    """What is between a consumer's positions and these ends, in batches; less when `stop` is set. Later records stay unread."""
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        if stop is not None and stop.is_set():
            return
        records: list[ConsumerRecord] = []
        for partition, batch in (await consumer.getmany(timeout_ms=200, max_records=max_records)).items():
            records += [record for record in batch if record.offset < ends.get(partition, 0)]
            if batch[-1].offset >= ends.get(partition, 0):
                consumer.seek(partition, max(ends.get(partition, 0), batch[0].offset))
        if records:
            yield records


async def _sample(
    consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> list[ConsumerRecord]:
    """Some records of each partition from its start on; none where the partition ends there."""
    sampled: list[ConsumerRecord] = []
    for partition, start in starts.items():
        consumer.seek(partition, start)
    for partition, start in starts.items():
        if start < ends[partition]:
            found = await consumer.getmany(partition, timeout_ms=2_000, max_records=_PROBE_RECORDS)
            sampled += found.get(partition, [])
    return sampled

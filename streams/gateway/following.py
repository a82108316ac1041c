"""The gateway's reader: folds the topics into the live views, from their beginning to their end, then on.

In:   definitions, twin.state, alerts, models, demo.commands, the newest of events, dead-letter and monitoring; nothing committed.
Out:  `LiveViews`, and each change of a twin, alert or model to `on_change` in log order.
The broker may be away at the start or later: the views keep what they know, `reachable` says so, reading goes on when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from streams import clients
from streams.alarm_rates import AlarmRate
from streams.arrivals import Quiet
from streams.formats.events import decode_event
from streams.gateway.views import MOST_DEAD_LETTERS, DeadLetter, LiveViews, first_problem
from streams.records import EPOCH_HEADER, Alert, DemoCommand, TwinState
from streams.topics import Topics
from streams.usage import ProcessorUsage
from twin.errors import ReadingRefused

log = logging.getLogger(__name__)

Kind = Literal["twin", "alert", "model"]
OnChange = Callable[[Kind, str, Any], None]

_NEWEST_EVENTS = 20_000  # of each partition; older ones only matter to the store
_NEWEST_MONITORING = 20_000  # a record a minute of each processor, and of each type on each partition
_PROBE_EVERY_S = 3.0
_PROBE_TIMEOUT_S = 5.0
_LONGEST_BACKOFF_S = 10.0


@dataclass(slots=True)
class FollowStatus:
    """How far the views are. `missing` names topics whose beginning has not been read to the end yet."""

    missing: list[str] = field(default_factory=list)
    reachable: bool = False
    problem: str | None = "not connected yet"
    records: int = 0

    @property
    def caught_up(self) -> bool:
        return not self.missing


class TopicFollower:
    """One consumer for all views."""

    def __init__(self, bootstrap: str, topics: Topics, views: LiveViews, on_change: OnChange) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._views = views
        self._on_change = on_change
        self._folded = [
            topics.definitions,
            topics.state,
            topics.alerts,
            topics.models,
            topics.demo_commands,
            topics.events,
            topics.dead_letter,
            topics.monitoring,
        ]
        self._dead_letter_start: int | None = None
        self._partitions: Counter[str] = Counter()
        self.status = FollowStatus(missing=list(self._folded))

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 while not connected."""
        return self._partitions.get(topic, 0)

    async def run(self, stop: asyncio.Event) -> None:
        backoff_s = 0.5
        while not stop.is_set():
            try:
                await self._follow(stop)
            except (KafkaError, OSError) as error:
                self.status.reachable = False
                self.status.problem = f"{type(error).__name__}: {error}".rstrip(": ")
                log.warning(
                    "views-waiting", extra={"broker": self._bootstrap, "found": self.status.problem, "retry_in_s": backoff_s}
                )
                backoff_s = await _pause(stop, backoff_s)

    async def _follow(self, stop: asyncio.Event) -> None:
        consumer = clients.consumer(self._bootstrap, *self._folded, client_id="livetwin-gateway-views")
        probe: asyncio.Task[None] | None = None
        try:
            await consumer.start()
            ends = dict(await consumer.end_offsets(consumer.assignment()))
            absent = [topic for topic in self._folded if not any(partition.topic == topic for partition in ends)]
            if absent:
                raise KafkaError(
                    f"topics {', '.join(absent)} are not there yet, expected all of {self._topics.prefix}*; trying again"
                )
            self._partitions = Counter(partition.topic for partition in ends)
            await self._skip_old(consumer, ends)
            self.status.reachable, self.status.problem = True, None
            probe = asyncio.create_task(self._probe(consumer))
            while not stop.is_set():
                found = await consumer.getmany(timeout_ms=300, max_records=5000)
                for partition, records in found.items():
                    self._fold(partition, records)
                    await asyncio.sleep(0)  # requests and pages go on between batches
                if self.status.missing:
                    behind = {one.topic for one, end in ends.items() if await consumer.position(one) < end}
                    self.status.missing = [topic for topic in self._folded if topic in behind]
                    if not behind:
                        log.info("views-caught-up", extra={"twins": len(self._views.twins), "alerts": len(self._views.alerts)})
        finally:
            if probe is not None:
                probe.cancel()
            await consumer.stop()

    async def _skip_old(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        """Start at the newest part of topics whose old records no view shows; count what dead-letter holds."""
        newest = {self._topics.events: _NEWEST_EVENTS, self._topics.dead_letter: MOST_DEAD_LETTERS}
        newest[self._topics.monitoring] = _NEWEST_MONITORING
        begins = await consumer.beginning_offsets([one for one in ends if one.topic in newest])
        for partition, begin in begins.items():
            consumer.seek(partition, max(begin, ends[partition] - newest[partition.topic]))
            if partition.topic == self._topics.dead_letter:
                self._dead_letter_start = begin
                self._views.dead_letter_count = ends[partition] - begin

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        """A real request to the broker every few seconds: a quiet topic and a dead broker look the same to a consumer."""
        asked = [one for one in consumer.assignment() if one.topic == self._topics.definitions]
        while True:
            try:
                async with asyncio.timeout(_PROBE_TIMEOUT_S):
                    await consumer.end_offsets(asked)
                self.status.reachable, self.status.problem = True, None
            except (KafkaError, OSError, TimeoutError) as error:
                self.status.reachable = False
                self.status.problem = (
                    f"the broker at {self._bootstrap} did not answer within {_PROBE_TIMEOUT_S:.0f} s ({type(error).__name__})"
                )
            await asyncio.sleep(_PROBE_EVERY_S)

    # ── one batch of one partition ──────────────────────────────────────────────────────────────────────────────────

    def _fold(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        self.status.records += len(records)
        topic = partition.topic
        if topic == self._topics.state:
            self._fold_states(partition.partition, records)
            return
        fold = {
            self._topics.definitions: self._definition,
            self._topics.alerts: self._alert,
            self._topics.models: self._model,
            self._topics.demo_commands: self._demo_command,
            self._topics.events: self._event,
            self._topics.dead_letter: self._dead_letter,
            self._topics.monitoring: self._monitoring,
        }[topic]
        for record in records:
            try:
                fold(record)
            except ValidationError as error:
                self._views.skip(topic, "malformed", record.key, first_problem(error))

    def _fold_states(self, partition: int, records: list[ConsumerRecord]) -> None:
        """Only the last record of each key is parsed: a view does not show what was replaced within one batch."""
        twins = self._views.twins
        last: dict[bytes, ConsumerRecord] = {}
        for record in records:
            if record.key is not None and twins.of_current_owner(partition, _epoch(record)):
                last[record.key] = record
        for key, record in last.items():
            if record.value is None:
                twins.remove(key.decode(errors="replace"))
                continue
            try:
                state = TwinState.model_validate_json(record.value)
            except ValidationError as error:
                self._views.skip(self._topics.state, "malformed", key, first_problem(error))
                continue
            if twins.put(state):
                if state.health != "silent":  # of such a twin nothing came
                    live = self._topics.state not in self.status.missing
                    self._views.arrivals.put(state.type, partition, record.timestamp, live=live)
                self._on_change("twin", state.asset, state)

    def _definition(self, record: ConsumerRecord) -> None:
        self._views.definitions.apply(record.key, record.value)

    def _alert(self, record: ConsumerRecord) -> None:
        if record.value is None:
            self._views.alerts.remove((record.key or b"").decode(errors="replace"))
            return
        alert = Alert.model_validate_json(record.value)
        if self._views.alerts.put(alert):
            self._on_change("alert", alert.id, alert)

    def _model(self, record: ConsumerRecord) -> None:
        change = self._views.models.apply(record.key, record.value)
        if change is not None:
            self._views.models_revision += 1
            self._on_change("model", change.name, self._views.models.get(change.name))

    def _demo_command(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        command = None if record.value is None else DemoCommand.model_validate_json(record.value)
        self._views.faults.put_command(key, command)

    def _event(self, record: ConsumerRecord) -> None:
        try:
            event = decode_event(record.value, record.headers, record.key)
        except ReadingRefused as error:
            self._views.skip(self._topics.events, "malformed", record.key, str(error))
            return
        if event.kind == "fault":  # ground truth of the demo: for its own page alone
            self._views.faults.put_event(event)
        else:
            self._views.events.put(event)

    def _monitoring(self, record: ConsumerRecord) -> None:
        key, value = record.key or b"", record.value or b""
        if key.startswith(b"alarms/"):
            self._views.alarm_rates.put(AlarmRate.model_validate_json(value))
        elif key.startswith(b"usage/"):
            self._views.usage.put(ProcessorUsage.model_validate_json(value))
        elif key.startswith(b"quiet/"):
            self._views.arrivals.take(Quiet.model_validate_json(value))

    def _dead_letter(self, record: ConsumerRecord) -> None:
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        self._views.dead_letter_count = record.offset + 1 - (self._dead_letter_start or 0)
        self._views.dead_letters.append(
            DeadLetter(
                reason=headers.get("reason", "unknown"),
                message=headers.get("message", ""),
                topic=headers.get("topic", ""),
                partition=headers.get("partition", ""),
                offset=headers.get("offset", ""),
                key=(record.key or b"").decode(errors="replace"),
                time_ms=record.timestamp,
            )
        )


def _epoch(record: ConsumerRecord) -> int | None:
    for name, value in record.headers:
        if name == EPOCH_HEADER:
            try:
                return int(value)
            except ValueError:
                return None
    return None


async def _pause(stop: asyncio.Event, backoff_s: float) -> float:
    """Wait, or less when stopping; the next wait."""
    try:
        async with asyncio.timeout(backoff_s * (1 + time.monotonic() % 0.2)):
            await stop.wait()
    except TimeoutError:
        pass
    return min(backoff_s * 2, _LONGEST_BACKOFF_S)

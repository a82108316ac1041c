"""How far each role is behind the log, as the broker tells it: what a role's group has committed, against where its topics end.

In:   consumer groups and ends of topics, asked for every few seconds. A role says nothing itself, so it may run anywhere.
Out:  a `RoleLag` a role; None while nobody could be asked.

The trainer reads the log by times, not by what a group has committed. It is a member of one all the same, and notes there where
it is (`NotedPosition`), so that it is asked for like the others, by any Kafka tool too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError

from streams import clients
from streams.topics import Topics
from streams.waiting import pause

log = logging.getLogger(__name__)

TRAINER: Final = "trainer"
_ASK_WITHIN_S = 20.0
_NOTE_EVERY_S = 5.0
_LONGEST_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class RoleLag:
    """One role, all its processes together."""

    role: str
    members: int  # processes that share the partitions
    records: Mapping[str, int]  # topic → records that are in the log and not done yet

    @property
    def behind(self) -> int:
        """Records of all its topics."""
        return sum(self.records.values())


def sources(topics: Topics) -> dict[str, tuple[str, ...]]:
    """What each role has to work off; its group is the prefix and the role."""
    return {
        "processor": (topics.telemetry,),
        "alerting": (topics.signals, topics.alert_commands, topics.alerting_inbox),
        "historian": (topics.history, topics.alerts, topics.models, topics.monitoring, topics.events),
        TRAINER: (topics.telemetry,),
    }


def group_of(topics: Topics, role: str) -> str:
    return f"{topics.prefix}{role}"


class LagProbe:
    """Asks one broker. Open it, ask as often as you like, close it; after an error open a new one."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap, self._topics = bootstrap, topics
        self._open = AsyncExitStack()
        self._admin: AIOKafkaAdminClient
        self._reader: AIOKafkaConsumer

    async def __aenter__(self) -> LagProbe:
        async with AsyncExitStack() as opening:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, client_id="livetwin-lag")
            opening.push_async_callback(self._admin.close)
            await self._admin.start()
            self._reader = clients.consumer(self._bootstrap, client_id="livetwin-lag")
            opening.push_async_callback(self._reader.stop)
            await self._reader.start()
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def ask(self) -> list[RoleLag]:
        """Each role's lag now. Raises KafkaError, OSError, TimeoutError: the broker does not answer."""
        async with asyncio.timeout(_ASK_WITHIN_S):
            roles = sources(self._topics)
            described = await self._admin.describe_topics(sorted({topic for read in roles.values() for topic in read}))
            places = {
                found["topic"]: [TopicPartition(found["topic"], one["partition"]) for one in found["partitions"]]
                for found in described
            }
            every = [place for found in places.values() for place in found]
            begins = await self._reader.beginning_offsets(every)
            ends = await self._reader.end_offsets(every)
            return [
                await self._of(role, [place for topic in read for place in places.get(topic, [])], begins, ends)
                for role, read in roles.items()
            ]

    async def _of(
        self,
        role: str,
        places: list[TopicPartition],
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> RoleLag:
        group = group_of(self._topics, role)
        committed = await self._admin.list_consumer_group_offsets(group, partitions=places)
        behind = Counter({place.topic: 0 for place in places})
        for place in places:
            done = committed[place].offset if place in committed else -1
            behind[place.topic] += max(0, ends[place] - max(done, begins[place]))
        return RoleLag(role, await self._members(group), dict(behind))

    async def _members(self, group: str) -> int:
        answers = await self._admin.describe_consumer_groups([group])
        return sum(len(found[5]) for answer in answers for found in answer.groups)


class LagWatch:
    """`newest`: each role's lag at the last look; None before the first and while the broker is away."""

    def __init__(self, bootstrap: str, topics: Topics, *, every_s: float = 5.0) -> None:
        self._bootstrap, self._topics, self._every_s = bootstrap, topics, every_s
        self.newest: list[RoleLag] | None = None

    async def looked(self, found: list[RoleLag]) -> None:
        """After each look."""
        self.newest = found

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`. A broker that is away is waited for."""
        retry_s = 1.0
        while not stop.is_set():
            try:
                async with LagProbe(self._bootstrap, self._topics) as probe:
                    while not stop.is_set():
                        await self.looked(await probe.ask())
                        retry_s = 1.0
                        await pause(stop, self._every_s)
            except (KafkaError, OSError, TimeoutError) as error:
                self.newest = None
                log.info("lag-unknown", extra={"found": repr(error), "retry_in_s": retry_s})
                await pause(stop, retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)


class NotedPosition:
    """Where a reader by its own offsets has come to, as a member of a group that commits what the reader has done.

    For whoever asks about lag, or whether the reader is at work: a process that hangs is put out of its group. Nobody reads on
    from there: a note that could not be made is made with the next one.
    """

    def __init__(self, bootstrap: str, topic: str, group: str, *, client_id: str) -> None:
        self._consumer = clients.consumer(bootstrap, group=group, client_id=client_id)
        self._consumer.subscribe([topic], listener=_Paused(self._consumer))
        self._present: asyncio.Task[None] | None = None
        self._due = 0.0

    async def start(self) -> None:
        await self._consumer.start()
        self._present = asyncio.create_task(self._stay())

    async def stop(self) -> None:
        if self._present is not None:
            self._present.cancel()
            await asyncio.wait({self._present})
        await self._consumer.stop()

    async def note(self, positions: Mapping[TopicPartition, int]) -> None:
        """The next offset of each partition; not more often than every few seconds. Several readers share the partitions."""
        mine = {place: offset for place, offset in positions.items() if place in self._consumer.assignment()}
        if time.monotonic() < self._due or not mine:
            return
        self._due = time.monotonic() + _NOTE_EVERY_S
        with suppress(KafkaError, IllegalStateError):
            await self._consumer.commit(mine)

    async def _stay(self) -> None:
        """A member that never fetches is put out of its group."""
        while True:
            try:
                await self._consumer.getmany(timeout_ms=1000)
            except KafkaError as error:
                log.info("position-not-noted", extra={"found": repr(error)})
                await asyncio.sleep(1)


class _Paused(ConsumerRebalanceListener):  # type: ignore[misc]
    """What a member is given it does not fetch."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        pass

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self._consumer.pause(*assigned)

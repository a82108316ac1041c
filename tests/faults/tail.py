"""Read topics on from where the last look ended, whatever happened to the broker meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams import clients


class Tail:
    """What came on some topics since the last call, in log order within a partition."""

    def __init__(self, bootstrap: str, partitions: dict[str, int]) -> None:
        """`partitions`: how many each topic has."""
        self._bootstrap = bootstrap
        self._next = {TopicPartition(topic, number): 0 for topic, count in partitions.items() for number in range(count)}

    async def new(self, *, within_s: float = 180.0) -> dict[str, list[ConsumerRecord]]:
        """Records by topic, up to where each partition ends now. Raises AssertionError when they don't come in time."""
        try:
            async with asyncio.timeout(within_s):
                return await self._read()
        except TimeoutError as error:
            behind = ", ".join(f"{place.topic}[{place.partition}] from {at}" for place, at in self._next.items())
            raise AssertionError(f"the broker did not tell within {within_s:g} s what is new: {behind}") from error

    async def _read(self) -> dict[str, list[ConsumerRecord]]:
        found: dict[str, list[ConsumerRecord]] = {place.topic: [] for place in self._next}
        reader = clients.consumer(self._bootstrap, client_id="watch")
        await reader.start()
        try:
            reader.assign(list(self._next))
            ends = await reader.end_offsets(list(self._next))
            for place, offset in self._next.items():
                reader.seek(place, offset)
            waiting = {place for place in self._next if self._next[place] < ends[place]}
            for place in self._next.keys() - waiting:
                reader.pause(place)
            while waiting:
                for place, records in (await reader.getmany(*waiting, timeout_ms=200)).items():
                    found[place.topic] += [record for record in records if record.offset < ends[place]]
                for place in list(waiting):
                    if await reader.position(place) >= ends[place]:
                        waiting.discard(place)
                        reader.pause(place)
            self._next.update(ends)
        finally:
            await reader.stop()
        return found


async def behind(bootstrap: str, group: str, topics: Sequence[str]) -> int:
    """Records of these topics that the group has not committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="watch")
    reader = clients.consumer(bootstrap, client_id="watch")
    try:
        await admin.start()
        await reader.start()
        counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(list(topics))}
        places = [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]
        ends = await reader.end_offsets(places)
        committed = await admin.list_consumer_group_offsets(group, partitions=places)
        return sum(ends[place] - max(0, committed[place].offset if place in committed else 0) for place in places)
    finally:
        await reader.stop()
        await admin.close()


async def until_committed(bootstrap: str, group: str, topics: Sequence[str], *, within_s: float) -> None:
    """Wait until the group has committed all that these topics hold; a broker that is away is waited for."""
    deadline = time.monotonic() + within_s
    left: object = "the broker is away"
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(20):  # a client that was asked while the broker went may wait for long
                left = await behind(bootstrap, group, topics)
            if left == 0:
                return
        except (KafkaError, OSError, TimeoutError) as error:
            left = repr(error)
        await asyncio.sleep(0.2)
    raise AssertionError(f"{group} has not done all of {', '.join(topics)} within {within_s:g} s: {left} left")

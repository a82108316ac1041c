"""What every feed sends: definitions first, then telemetry and events, each acknowledged before the feed goes on.

In:   interfaces, declarations, readings, events.
Out:  records on the public topics, as any feeder would write them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import orjson

from streams import clients
from streams.records import EventRecord
from streams.topics import Topics
from twin.fleet import TwinDeclaration
from twin.types import NS_PER_S

# epoch units are told apart by size (twin.time)
_SECONDS_END = 10**11
_NANOSECONDS_BEGIN = 10**17


Compression = Literal["gzip", "lz4", "zstd", "snappy", "none"]


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """One record for `telemetry`; its partition is by its key, or as told."""

    value: bytes
    key: str | None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class FeedProducer:
    """An open producer. Use as an async context manager."""

    def __init__(self, bootstrap: str, topics: Topics, *, client_id: str, compression: Compression = "lz4") -> None:
        self._topics = topics
        compressed = None if compression == "none" else compression
        self._producer = clients.producer(bootstrap, client_id=client_id, compression_type=compressed)

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._producer.stop()

    async def define(self, interfaces: Iterable[Mapping[str, Any]], declarations: Iterable[TwinDeclaration] = ()) -> None:
        """Publish types, then twins; returns when the broker has all of them."""
        await self._send(self._topics.definitions, [(f"type/{entry['@id']}", orjson.dumps(entry)) for entry in interfaces])
        twins = [(f"twin/{twin.asset}", twin.model_dump_json().encode()) for twin in declarations]
        await self._send(self._topics.definitions, twins)

    async def telemetry(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Send records of the telemetry contract, keyed by asset; returns when the broker has all of them."""
        await self._send(self._topics.telemetry, [(record["asset"], orjson.dumps(record)) for record in records])

    async def records(self, records: Iterable[FeedRecord]) -> None:
        """Send records of any format to `telemetry`; returns when the broker has all of them."""
        send, topic = self._producer.send, self._topics.telemetry
        waiting = [
            await send(
                topic,
                one.value,
                key=None if one.key is None else one.key.encode(),
                partition=one.partition,
                headers=list(one.headers),
            )
            for one in records
        ]
        await asyncio.gather(*waiting)

    async def partitions(self) -> int:
        """How many `telemetry` has."""
        return len(await self._producer.partitions_for(self._topics.telemetry))

    async def event(self, event: EventRecord) -> None:
        await self._send(self._topics.events, [(event.asset, event.to_bytes())])

    async def _send(self, topic: str, records: Iterable[tuple[str, bytes]]) -> None:
        waiting = [await self._producer.send(topic, value, key=key.encode()) for key, value in records]
        await asyncio.gather(*waiting)


def epoch(time_ns: int) -> int | str:
    """The shortest wording of an event time: epoch seconds where they are whole, else nanoseconds.

    Before 1973-03-03, nanoseconds would be taken for microseconds, so a text is written.

    >>> epoch(1_700_000_000_000_000_000), epoch(1_700_000_000_500_000_000), epoch(500_000_000)
    (1700000000, 1700000000500000000, '1970-01-01T00:00:00.500000000Z')
    """
    seconds, rest = divmod(time_ns, NS_PER_S)
    if rest == 0 and seconds < _SECONDS_END:
        return seconds
    return time_ns if time_ns >= _NANOSECONDS_BEGIN else f"{np.datetime64(time_ns, 'ns')}Z"

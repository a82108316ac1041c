"""What the gateway writes to Kafka: telemetry, events, commands. Acknowledged, or said not to be.

In:   a topic and records with keys.
Out:  returns when all are acknowledged by the broker; `BrokerAway` (503) when they are not in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams import clients
from streams.gateway.problem import ApiError, BrokerAway

log = logging.getLogger(__name__)

_ACKNOWLEDGED_WITHIN_S = 10.0
MOST_WAITING_BYTES = 64 << 20  # of records that the broker has not acknowledged; more is refused at once


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record. Its partition is by its key, or as told."""

    value: bytes
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class RecordProducer:
    """One idempotent producer, started when it is first needed, so that a broker that is away delays no page."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._waiting_bytes = 0
        self.produced: Counter[str] = Counter()  # topic → records acknowledged

    async def send(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Records by key and value. Raises as `deliver`."""
        await self.deliver(topic, [Outgoing(value, key) for key, value in records])

    async def deliver(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Raises BrokerAway; then some of the records may still arrive: every consumer of them is idempotent."""
        size = sum(len(one.value) for one in records)
        if self._waiting_bytes and self._waiting_bytes + size > MOST_WAITING_BYTES:
            raise BrokerAway(
                f"{self._waiting_bytes:,} bytes wait for the broker already, expected {MOST_WAITING_BYTES:,} at most; "
                "nothing was taken; send it again"
            )
        self._waiting_bytes += size
        try:
            await self._deliver(topic, records)
        finally:
            self._waiting_bytes -= size

    async def _deliver(self, topic: str, records: Sequence[Outgoing]) -> None:
        try:
            async with asyncio.timeout(_ACKNOWLEDGED_WITHIN_S):
                producer = await self._started()
                waiting = [
                    await producer.send(topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers))
                    for one in records
                ]
                await asyncio.gather(*waiting)
        except MessageSizeTooLargeError as error:
            raise ApiError(
                413, f"a record for {topic} is larger than {clients.MAX_RECORD_BYTES:,} bytes: {error}; send it in parts"
            ) from error
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("not-acknowledged", extra={"topic": topic, "records": len(records), "found": repr(error)})
            raise BrokerAway(
                f"the broker did not acknowledge {len(records)} record(s) for {topic} within {_ACKNOWLEDGED_WITHIN_S:.0f} s "
                f"({type(error).__name__}); some may still arrive; sending them again is safe"
            ) from error
        self.produced[topic] += len(records)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = clients.producer(self._bootstrap, client_id="livetwin-gateway")
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        if self._producer is not None:
            try:
                async with asyncio.timeout(3):
                    await self._producer.stop()
            except TimeoutError:
                log.warning("producer-not-flushed", extra={"broker": self._bootstrap})

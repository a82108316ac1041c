"""Alerting's first step: signals and commands into one topic, in one order an asset.

In:   `alert.signals` (partition of its telemetry), `alert.commands` (key alert id).
Out:  `alerting.inbox`, key asset; `dead-letter` for what can't be decoded.
Promises: a record goes on at least once and in order; a signal of an owner that was followed by another does not.

Why the detour: any client's partitioner may have placed an asset's telemetry, so no one can tell from a command in which
partition its signals are; and an order between commands and signals that the log keeps makes a repetition give the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from aiokafka import AIOKafkaProducer, ConsumerRecord
from pydantic import ValidationError

from streams import dead_letter
from streams.alert_records import epoch_value
from streams.alert_tables import CountedTable
from streams.records import EPOCH_HEADER, AlertCommand, Signal
from streams.topics import Topics

log = logging.getLogger(__name__)

KIND_HEADER = "kind"  # of a record in the inbox: signal | command


class Router:
    """Both agents of the first step. `epochs` holds the highest epoch seen by source partition."""

    def __init__(self, producer: AIOKafkaProducer, topics: Topics, epochs: CountedTable) -> None:
        self._producer = producer
        self._topics = topics
        self._epochs = epochs

    async def route_signals(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Returns when all is acknowledged by the broker."""
        sent: list[Awaitable[object]] = []
        newest: dict[bytes, tuple[int, int]] = {}  # source partition → partition of the signals, epoch
        for record in records:
            try:
                signal = Signal.model_validate_json(record.value or b"")
                epoch = _epoch(record)
            except ValueError as error:
                sent.append(self._refuse(record, "undecodable-signal", error))
                continue
            source = str(signal.evidence.partition).encode()
            seen = newest[source][1] if source in newest else self._epochs.count_of(source)
            if epoch is not None and epoch < seen:
                log.warning(
                    "signal-of-former-owner",
                    extra={"asset": signal.asset, "partition": signal.evidence.partition, "epoch": epoch, "seen": seen},
                )
                continue
            if epoch is not None and epoch > seen:
                newest[source] = (record.partition, epoch)
            sent.append(await self._forward(record, signal.asset, b"signal"))
        await asyncio.gather(*sent)
        for source, (partition, epoch) in newest.items():
            await self._epochs.write(partition, source, epoch_value(epoch))

    async def route_commands(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Returns when all is acknowledged by the broker."""
        sent: list[Awaitable[object]] = []
        for record in records:
            try:
                command = AlertCommand.model_validate_json(record.value or b"")
            except ValidationError as error:
                sent.append(self._refuse(record, "undecodable-command", error))
                continue
            sent.append(await self._forward(record, command.asset, b"command"))
        await asyncio.gather(*sent)

    async def _forward(self, record: ConsumerRecord[bytes, bytes], asset: str, kind: bytes) -> Awaitable[object]:
        sending: Awaitable[object] = await self._producer.send(
            self._topics.alerting_inbox, record.value, key=asset.encode(), headers=[(KIND_HEADER, kind)]
        )
        return sending

    async def _refuse(self, record: ConsumerRecord[bytes, bytes], reason: str, error: ValueError) -> None:
        await refuse(self._producer, self._topics, record, reason, str(error))


async def refuse(
    producer: AIOKafkaProducer, topics: Topics, record: ConsumerRecord[bytes, bytes], reason: str, message: str
) -> None:
    """One record to dead-letter, and to the log."""
    log.warning(
        "record-refused",
        extra={"topic": record.topic, "partition": record.partition, "offset": record.offset, "reason": reason},
    )
    if record.key is None and record.value is None:  # other clients can send that, aiokafka can't
        record = replace(record, value=b"")
    await dead_letter.send(producer, topics, record=record, reason=reason, message=message)


def header(record: ConsumerRecord[bytes, bytes], name: str) -> bytes | None:
    """The last value of a header."""
    return dict(record.headers).get(name)


def _epoch(record: ConsumerRecord[bytes, bytes]) -> int | None:
    found = header(record, EPOCH_HEADER)
    return None if found is None else int(found)  # raises ValueError

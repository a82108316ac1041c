"""Alerting's second step: fold the inbox into alerts.

In:   `alerting.inbox`, one order an asset; the two tables of what is known of each asset.
Out:  `alerts`, `feedback`, `dead-letter`, then the tables.
Promises: outputs are on the broker before the state that has them behind it, the state before the input is acknowledged.
So what is repeated after a crash starts from a state that is not newer than its outputs: it gives the same revisions, or none.
The state of an asset is one write: older alerts that change with its conditions go beside them first, then to their own table.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence

from aiokafka import AIOKafkaProducer, ConsumerRecord

from streams.alert_records import (
    alert_record,
    closed_is_behind,
    closed_value,
    condition_signal,
    conditions_value,
    feedback_record,
    operator_command,
    state_from,
)
from streams.alert_routing import KIND_HEADER, header, refuse
from streams.alert_tables import CountedTable
from streams.records import AlertCommand, Signal
from streams.topics import Topics
from twin.alert_command import CommandRefused, fold_command
from twin.alert_state import AssetAlerts, Folded, fold_signal

log = logging.getLogger(__name__)


class Lifecycle:
    """The agent of the second step. `conditions` has the newest alert of each condition, `closed` the older ones, by asset."""

    def __init__(self, producer: AIOKafkaProducer, topics: Topics, conditions: CountedTable, closed: CountedTable) -> None:
        self._producer = producer
        self._topics = topics
        self._conditions = conditions
        self._closed = closed

    async def fold(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """One batch. Returns when its outputs and the new states are acknowledged by the broker."""
        before: dict[bytes, AssetAlerts] = {}
        after: dict[bytes, AssetAlerts] = {}
        last: dict[bytes, ConsumerRecord[bytes, bytes]] = {}
        sent: list[Awaitable[object]] = []
        for record in records:
            key = record.key or b""
            if key not in before:
                before[key] = after[key] = state_from(self._conditions.value_of(key), self._closed.value_of(key))
            last[key] = record
            try:
                folded = _folded(after[key], record)
            except CommandRefused as error:
                sent.append(refuse(self._producer, self._topics, record, error.reason, str(error)))
                continue
            except Exception as error:
                # a record that breaks the fold must not stop every alert behind it; the original is kept and says where
                log.exception("fold-failed", extra={"asset": key.decode(errors="replace"), "offset": record.offset})
                sent.append(refuse(self._producer, self._topics, record, "fold-failed", repr(error)))
                continue
            after[key] = folded.asset
            sent += await self._send(key, folded)
        await asyncio.gather(*sent)
        await self._keep(before, after, last)

    async def _send(self, key: bytes, folded: Folded) -> list[Awaitable[object]]:
        asset = key.decode()
        sent: list[Awaitable[object]] = []
        for state in folded.changed:
            alert = alert_record(asset, state)
            log.info(
                "alert-changed",
                extra={
                    "asset": asset,
                    "alert": alert.id,
                    "revision": alert.revision,
                    "state": alert.state,
                    "severity": alert.severity,
                },
            )
            sent.append(await self._producer.send(self._topics.alerts, alert.to_bytes(), key=alert.id.encode()))
        for period in folded.normal:
            label = feedback_record(asset, period)
            sent.append(await self._producer.send(self._topics.feedback, label.to_bytes(), key=key))
        return sent

    async def _keep(
        self,
        before: dict[bytes, AssetAlerts],
        after: dict[bytes, AssetAlerts],
        last: dict[bytes, ConsumerRecord[bytes, bytes]],
    ) -> None:
        """Write what changed, up to the `last` record of each asset: conditions first, with the older alerts that changed too."""
        conditions: list[tuple[int, bytes, bytes]] = []
        closed: list[tuple[int, bytes, bytes]] = []
        for key, state in after.items():
            sequence = self._sequence(key, last[key])
            behind = closed_is_behind(self._conditions.value_of(key), self._closed.value_of(key))
            older = behind or state.closed != before[key].closed
            if state.conditions != before[key].conditions:
                value = conditions_value(state, sequence, with_closed=older)
                conditions.append((last[key].partition, key, value))
            if older:
                closed.append((last[key].partition, key, closed_value(state, sequence)))
        await asyncio.gather(*(self._conditions.write(*one) for one in conditions))
        await asyncio.gather(*(self._closed.write(*one) for one in closed))

    def _sequence(self, key: bytes, record: ConsumerRecord[bytes, bytes]) -> int:
        """Rises with the inbox, so that a state that has more of it behind it wins, whoever wrote it.

        Never falls: an inbox that was made anew begins at offset 0.
        """
        return max(int(record.offset), self._conditions.count_of(key), self._closed.count_of(key)) + 1


def _folded(asset: AssetAlerts, record: ConsumerRecord[bytes, bytes]) -> Folded:
    """Raises CommandRefused."""
    value = record.value or b""
    if header(record, KIND_HEADER) == b"command":
        return fold_command(asset, operator_command(AlertCommand.model_validate_json(value)))
    return fold_signal(asset, condition_signal(Signal.model_validate_json(value)))

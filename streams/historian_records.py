"""What the historian takes from its topics: records decoded, or refused with the reason, one batch at a time, then written.

In:   records of `twin.history`, `alerts`, `models`, `monitoring` and `events`.
Out:  a `HistoryBlock`, an `Alert`, a `Serving`, an `AlarmRate`, or None for what a store does not keep (tombstones, other records
      of `models` and `monitoring`; events, which their topic keeps: here it is only told which are none).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from aiokafka import ConsumerRecord, TopicPartition
from pydantic import ValidationError

from streams.alarm_rates import AlarmRate
from streams.formats.events import decode_event
from streams.history import HistoryBlock
from streams.model_records import Serving
from streams.records import Alert
from streams.stores.port import KeepsAlarmRates, TwinStore
from streams.topics import Topics
from twin.errors import LivetwinError, ReadingRefused

Item = HistoryBlock | Alert | Serving | AlarmRate


class RecordRefused(LivetwinError):
    """A record that can't be decoded; `reason` is the word for the dead-letter header."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode(record: ConsumerRecord, topics: Topics, *, log: str) -> Item | None:
    """Decode one record; `log` is the cluster it came from. Raises RecordRefused."""
    where = f"{record.topic} partition {record.partition} offset {record.offset}"
    if record.topic == topics.history:
        return _block(record, where, log)
    if record.topic == topics.events:
        try:
            decode_event(record.value, record.headers, record.key)
        except ReadingRefused as error:
            raise RecordRefused(error.reason, str(error)) from error
        return None
    if record.value is None:
        return None  # a tombstone: the store keeps what it has
    try:
        if record.topic == topics.alerts:
            return Alert.model_validate_json(record.value)
        found = orjson.loads(record.value)
        if not isinstance(found, dict):
            raise RecordRefused("malformed", f"{where}: found {type(found).__name__}, expected an object; not kept")
        if record.topic == topics.monitoring:
            return AlarmRate.model_validate(found) if found.get("kind") == "alarms" else None
        return Serving.model_validate(found) if found.get("kind") == "serving" else None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "value"
        raise RecordRefused("malformed", f"{where}: {place}: {first['msg']}; not kept") from error
    except orjson.JSONDecodeError as error:
        raise RecordRefused("malformed", f"{where}: {error}; not kept") from error


def _block(record: ConsumerRecord, where: str, log: str) -> HistoryBlock:
    try:
        block = HistoryBlock.from_bytes(record.value)
    except Exception as error:  # Arrow says of damaged bytes what it likes: ArrowInvalid, OSError, KeyError, …
        what = f"{type(error).__name__}: {error}"
        raise RecordRefused("malformed", f"{where}: {what}; expected an Arrow stream of closed steps; not kept") from error
    if len(set(block.channels)) != len(block.channels) or not block.channels:
        raise RecordRefused("channels", f"{where}: channels are {list(block.channels)}, expected each once; not kept")
    if not all(isinstance(asset, str) and asset for asset in block.asset):
        raise RecordRefused("asset", f"{where}: a step has no asset, expected one for each; not kept")
    if block.time_ns.dtype != np.int64 or not all(isinstance(version, str) for version in block.version):
        raise RecordRefused("missing", f"{where}: a step has no time or no version, expected both for each; not kept")
    return dataclasses.replace(block, log=log, written_ms=record.timestamp)


def write_items(store: TwinStore, items: Sequence[Item]) -> int:
    """Into the store, kind by kind; the closed steps among them. A store that nobody draws from keeps no alarm rates."""
    blocks = [item for item in items if isinstance(item, HistoryBlock)]
    alerts = [item for item in items if isinstance(item, Alert)]
    swaps = [item for item in items if isinstance(item, Serving)]
    rates = [item for item in items if isinstance(item, AlarmRate)]
    if blocks:
        store.write_history(blocks)
    if alerts:
        store.write_alerts(alerts)
    if swaps:
        store.write_swaps(swaps)
    if rates and isinstance(store, KeepsAlarmRates):
        store.write_alarm_rates(rates)
    return sum(len(block) for block in blocks)


@dataclass(slots=True)
class Batch:
    """Records that are not in the store yet; of each partition where they begin and where it goes on after them."""

    records: list[ConsumerRecord] = field(default_factory=list)
    first: dict[TopicPartition, int] = field(default_factory=dict)
    next: dict[TopicPartition, int] = field(default_factory=dict)
    bytes: int = 0
    items: list[tuple[ConsumerRecord, Item]] = field(default_factory=list)
    refused: list[tuple[ConsumerRecord, RecordRefused]] = field(default_factory=list)

    def add(self, record: ConsumerRecord) -> None:
        partition = TopicPartition(record.topic, record.partition)
        self.records.append(record)
        self.first.setdefault(partition, record.offset)
        self.next[partition] = record.offset + 1
        self.bytes += len(record.value or b"")

    def decode(self, topics: Topics, log_id: str) -> None:
        for record in self.records:
            try:
                item = decode(record, topics, log=log_id)
            except RecordRefused as refusal:
                self.refused.append((record, refusal))
            else:
                if item is not None:
                    self.items.append((record, item))
        self.records.clear()

"""Take over a partition: read its checkpoints and say from which offset to fold again.

In:   the compacted `twin.checkpoint` topic.
Out:  saved twins and the mark of each partition. Where a checkpoint can't be read, its partition is folded from the beginning
      of the log: twins whose checkpoints were read skip what they have folded, and what is out already is not put out again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from streams import clients
from streams.checkpoint import (
    MARK_PREFIX,
    OWNER_PREFIX,
    TWIN_PREFIX,
    WRITER_HEADER,
    Saved,
    mark_key,
    owner_key,
    read_mark,
    read_twin,
    restore_twin,
    twin_key,
)
from streams.checkpoint_bytes import SCHEMA, WAY_OUT
from streams.scoring import TypeScorer
from streams.topics import Topics
from twin.arena import Arena
from twin.errors import CheckpointRefused
from twin.types import TwinType

log = logging.getLogger(__name__)

MOST_LOGGED = 20  # checkpoints of a partition that can't be used, one by one


@dataclass(slots=True)
class PartitionCheckpoint:
    """What is saved of one partition. `mark` None: nothing is saved, fold from the beginning of the log."""

    mark: int | None = None
    epoch: int = 0  # of the owner who wrote the mark
    begin: int = 0  # first offset that telemetry still has
    end: int = 0  # and the one after its last
    anew: bool = False  # the log was made anew since: what is saved, and what was written, is another's
    refused: dict[bytes, str] = field(default_factory=dict)  # keys of checkpoints that can't be used, and why
    migrated: int = 0  # of the twins, that were of an older schema
    owners: set[bytes] = field(default_factory=set)  # keys of the records of those who took over
    twins: dict[str, Saved] = field(default_factory=dict)


async def read_checkpoints(bootstrap: str, topics: Topics, partitions: Iterable[int]) -> dict[int, PartitionCheckpoint]:
    """The newest checkpoints of some partitions."""
    wanted = [TopicPartition(topics.checkpoint, partition) for partition in sorted(partitions)]
    found = {partition.partition: PartitionCheckpoint() for partition in wanted}
    latest: dict[int, dict[bytes, _Written]] = {partition.partition: {} for partition in wanted}
    consumer = clients.consumer(bootstrap, client_id="livetwin-recovery")
    await consumer.start()
    try:
        consumer.assign(wanted)
        ends = await consumer.end_offsets(wanted)
        log_of = {partition: TopicPartition(topics.telemetry, partition.partition) for partition in wanted}
        begins = await consumer.beginning_offsets(list(log_of.values()))
        telemetry_ends = await consumer.end_offsets(list(log_of.values()))
        for partition, telemetry in log_of.items():
            found[partition.partition].begin, found[partition.partition].end = begins[telemetry], telemetry_ends[telemetry]
        waiting = set(wanted)
        await consumer.seek_to_beginning(*wanted)
        while waiting:
            for partition in sorted(waiting):
                if await consumer.position(partition) >= ends[partition]:
                    waiting.discard(partition)
            if waiting:
                for partition, records in (await consumer.getmany(*waiting, timeout_ms=200)).items():
                    for record in records:
                        if record.value is None:
                            latest[partition.partition].pop(record.key, None)
                        elif record.key is not None:
                            written = _Written(record.value, record.offset, dict(record.headers).get(WRITER_HEADER, b"").decode())
                            latest[partition.partition][record.key] = written
    finally:
        await consumer.stop()
    await asyncio.to_thread(_take_all, found, latest)
    return found


@dataclass(frozen=True, slots=True)
class _Written:
    """The newest record of a key."""

    value: bytes
    offset: int
    writer: str  # empty: written before writers had names


def _take_all(found: Mapping[int, PartitionCheckpoint], latest: Mapping[int, Mapping[bytes, _Written]]) -> None:
    for number, records in latest.items():
        of = found[number]
        for key, record in records.items():
            _take(of, key, record.value)
        _refuse_another_log(number, of)
        of.owners = {key for key in records if key.startswith(OWNER_PREFIX)}
        _begin_at_overwritten(number, of, records)


def _begin_at_overwritten(number: int, of: PartitionCheckpoint, records: Mapping[bytes, _Written]) -> None:
    """Twins that a former owner wrote over those of who wrote the mark are older than it: begin at the oldest of them."""
    mark = records.get(mark_key(number))
    since = records.get(owner_key(mark.writer)) if mark is not None else None
    if of.mark is None or mark is None or since is None:
        return
    for asset, saved in of.twins.items():
        record = records[twin_key(asset)]
        if record.offset > since.offset and record.writer != mark.writer and saved.next_offset < of.mark:
            log.warning("checkpoint-of-former-owner", extra={"partition": number, "asset": asset, "from": saved.next_offset})
            of.mark = saved.next_offset


def _take(into: PartitionCheckpoint, key: bytes, value: bytes) -> None:
    try:
        if key.startswith(MARK_PREFIX):
            into.mark, into.epoch = read_mark(value)
        elif key.startswith(TWIN_PREFIX):
            saved = read_twin(value)
            if twin_key(saved.asset) != key:
                raise CheckpointRefused(f"a checkpoint of {saved.asset!r} stands under the key of another; {WAY_OUT}")
            into.twins[saved.asset] = saved
            into.migrated += saved.schema != SCHEMA
    except CheckpointRefused as error:
        into.refused[key] = str(error)


def _refuse_another_log(number: int, of: PartitionCheckpoint) -> None:
    """Checkpoints that stand for more than the partition holds speak of a log that is no more: deleted and made anew, or cut."""
    stands_for = max([of.mark or 0, *(saved.next_offset for saved in of.twins.values())])
    if stands_for <= of.end:
        return
    found = f"checkpoints stand for offset {stands_for}, and the partition ends at {of.end}: it was made anew or cut; {WAY_OUT}"
    of.refused |= dict.fromkeys([mark_key(number), *map(twin_key, of.twins)], found)
    of.mark, of.twins, of.anew = None, {}, True


def refuse_unfit(of: PartitionCheckpoint, types: Mapping[str, TwinType]) -> None:
    """Refuse twins of types that are not declared, or that were declared differently since."""
    for asset, twin in list(of.twins.items()):
        kind = types.get(twin.type)
        if kind is None:
            of.refused[twin_key(asset)] = f"type {twin.type} of {asset!r} is not declared; {WAY_OUT}"
        elif kind.contract != twin.contract:
            found = f"checkpoint of {asset!r} was written for contract {twin.contract} of {twin.type}, expected {kind.contract}"
            of.refused[twin_key(asset)] = f"{found}; {WAY_OUT}"
        else:
            continue
        del of.twins[asset]


def restore_twins(
    saved: PartitionCheckpoint, types: Mapping[str, TwinType], place: Callable[[str, TwinType], tuple[Arena, TypeScorer, int]]
) -> dict[str, int]:
    """Put saved twins where `place` says; the offset that each of those restored stands for.

    Others are added to `saved.refused`, and are fresh. What can't be used is logged.
    """
    refuse_unfit(saved, types)
    restored: dict[str, int] = {}
    for asset, twin in saved.twins.items():
        try:
            arena, scorer, row = place(asset, types[twin.type])
            restore_twin(twin, arena, scorer, row)
            restored[asset] = int(arena.next_offset[row])
        except CheckpointRefused as refusal:
            saved.refused[twin_key(asset)] = str(refusal)
    for key, why in list(saved.refused.items())[:MOST_LOGGED]:
        log.warning("checkpoint-not-used", extra={"key": key.decode("utf-8", "replace"), "found": why})
    return restored

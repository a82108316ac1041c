"""Take over a partition: read its checkpoints and say from which offset to fold again.

In:   the compacted `twin.checkpoint` topic.
Out:  saved twins and the mark of each partition. Where a checkpoint can't be read, its partition is folded from the beginning
      of the log: twins whose checkpoints were read skip what they have folded, and what is out already is not put out again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import orjson
from aiokafka import TopicPartition

from streams import clients
from streams.checkpoint import MARK_PREFIX, TWIN_PREFIX, Saved, read_mark, read_twin, restore_twin
from streams.checkpoint_bytes import WAY_OUT
from streams.scoring import TypeScorer
from streams.topics import Topics
from twin.arena import Arena
from twin.errors import CheckpointRefused
from twin.types import TwinType

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PartitionCheckpoint:
    """What is saved of one partition. `mark` None: nothing is saved, fold from the beginning of the log."""

    mark: int | None = None
    epoch: int = 0  # of the owner who wrote the mark
    begin: int = 0  # first offset that telemetry still has
    refused: int = 0  # checkpoints that could not be read
    twins: dict[str, Saved] = field(default_factory=dict)


async def read_checkpoints(bootstrap: str, topics: Topics, partitions: Iterable[int]) -> dict[int, PartitionCheckpoint]:
    """The newest checkpoints of some partitions."""
    wanted = [TopicPartition(topics.checkpoint, partition) for partition in sorted(partitions)]
    found = {partition.partition: PartitionCheckpoint() for partition in wanted}
    latest: dict[int, dict[bytes, bytes]] = {partition.partition: {} for partition in wanted}
    consumer = clients.consumer(bootstrap, client_id="livetwin-recovery")
    await consumer.start()
    try:
        consumer.assign(wanted)
        ends = await consumer.end_offsets(wanted)
        log_of = {partition: TopicPartition(topics.telemetry, partition.partition) for partition in wanted}
        begins = await consumer.beginning_offsets(list(log_of.values()))
        for partition, telemetry in log_of.items():
            found[partition.partition].begin = begins[telemetry]
        waiting = set(wanted)
        await consumer.seek_to_beginning(*wanted)
        while waiting:
            for partition in sorted(waiting):
                if await consumer.position(partition) >= ends[partition]:
                    waiting.discard(partition)
            if waiting:
                for partition, records in (await consumer.getmany(*waiting, timeout_ms=200)).items():
                    for record in records:
                        if record.key is not None and record.value is not None:
                            latest[partition.partition][record.key] = record.value
    finally:
        await consumer.stop()
    for number, values in latest.items():
        for key, value in values.items():
            _take(found[number], key, value)
    return found


def _take(into: PartitionCheckpoint, key: bytes, value: bytes) -> None:
    try:
        if key.startswith(MARK_PREFIX):
            into.mark, into.epoch = read_mark(value)
        elif key.startswith(TWIN_PREFIX):
            saved = read_twin(value)
            into.twins[saved.asset] = saved
    except (CheckpointRefused, orjson.JSONDecodeError, KeyError, ValueError) as error:
        into.refused += 1
        log.warning("checkpoint-not-used", extra={"key": key.decode("utf-8", "replace"), "found": str(error)})


def restore_twins(
    saved: PartitionCheckpoint, types: Mapping[str, TwinType], place: Callable[[str, TwinType], tuple[Arena, TypeScorer, int]]
) -> dict[str, int]:
    """Put saved twins where `place` says; the offset that each of those restored stands for. Others are logged, and are fresh."""
    restored: dict[str, int] = {}
    for asset, twin in saved.twins.items():
        kind = types.get(twin.type)
        try:
            if kind is None:
                raise CheckpointRefused(f"type {twin.type} of {asset!r} is not declared; {WAY_OUT}")
            arena, scorer, row = place(asset, kind)
            restore_twin(twin, arena, scorer, row)
            restored[asset] = int(arena.next_offset[row])
        except CheckpointRefused as refusal:
            log.warning("checkpoint-not-used", extra={"asset": asset, "found": str(refusal)})
    return restored

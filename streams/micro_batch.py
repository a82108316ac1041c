"""One micro-batch on its way: folded, then scored, then written.

In:   what `streams.folding` made of its records; then the scored steps.
Out:  `FoldedBatch`, which holds all that scoring needs, so that the next batch may be folded meanwhile; `Outputs` for Kafka.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from aiokafka import ConsumerRecord

from streams import outputs
from streams.conditions import Conditions
from streams.folded import Folded
from streams.records import EPOCH_HEADER, TwinState
from streams.refusals import Refused
from streams.scoring import Scored
from streams.signals import signals
from streams.topics import Topics
from twin.rows import Roster

Announcement = tuple[str, int, bytes, bytes]  # topic, partition, key, value
MOST_BYTES = 2 * 1024 * 1024  # of telemetry folded at once, so that heartbeats and stops are never far


def slices(records: list[ConsumerRecord]) -> list[list[ConsumerRecord]]:
    """Records in as many groups as MOST_BYTES asks for, all of about the same size; a record is never cut.

    One group is folded while the one before it is scored: a large one beside a small one would wait for each other.
    """
    if not records:
        return []
    ends = np.cumsum([len(record.value or b"") for record in records])
    parts = max(-(-int(ends[-1]) // MOST_BYTES), 1)
    part = np.maximum(ends - 1, 0) * parts // max(int(ends[-1]), 1)
    bounds = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(records)]
    return [records[begin:end] for begin, end in itertools.pairwise(bounds)]


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a partition is once a batch is out."""

    position: int  # next offset to fold
    safe: int  # may be committed: `position`, less what still waits for its twin's type


@dataclass(frozen=True, slots=True)
class FoldedBatch:
    """Closed steps and who they belong to, as of the end of this batch; copies, nothing of it changes any more."""

    folded: Folded
    rosters: Mapping[str, Roster]  # type → twins of its arena
    silent: Sequence[TwinState]  # of twins that have just fallen silent
    reached: Mapping[int, Reached]  # partition → its place


@dataclass(frozen=True, slots=True)
class Author:
    """In whose name the outputs of a partition are written."""

    epoch: int
    silent_until: int  # outputs of steps closed below this offset are out already

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        return [(EPOCH_HEADER, str(self.epoch).encode())]


@dataclass(slots=True)
class Outputs:
    """What one micro-batch gives: records (topic, partition, key, value, headers), refusals, definitions, counts."""

    records: list[tuple[str, int, bytes | None, bytes, Sequence[tuple[str, bytes]]]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    definitions: list[tuple[bytes, bytes]] = field(default_factory=list)
    announced: list[Announcement] = field(default_factory=list)  # acknowledged before `records` are sent
    counts: Counter[str] = field(default_factory=Counter)
    reached: Mapping[int, Reached] = field(default_factory=dict)

    def write(self, scored: Scored, conditions: Conditions, roster: Roster, topics: Topics, by: Mapping[int, Author]) -> None:
        """History, states and signals of scored steps of one type."""
        headers = {partition: author.headers for partition, author in by.items()}
        until = np.zeros(max(by, default=-1) + 1, np.int64)
        until[list(by)] = [author.silent_until for author in by.values()]
        loud = scored.closed.closed_by >= until[scored.partition]
        self.counts["scored"] += int((loud & ~scored.learning).sum())
        epochs = {partition: author.epoch for partition, author in by.items()}
        for block in outputs.history(scored, loud, roster.assets, epochs):
            key = str(block.partition).encode()
            self.records.append((topics.history, block.partition, key, block.to_bytes(), headers[block.partition]))
        for state in outputs.states(scored, loud, roster.assets, conditions):
            self.write_state(state, topics, headers[state.partition])
        told = [
            one
            for one in scored.transitions
            if (loud[one.index] if one.fall is None else one.fall.offset >= by[one.fall.partition].silent_until)
        ]
        for signal in signals(scored, told, conditions, roster.assets):
            partition = signal.evidence.partition
            self.records.append((topics.signals, partition, signal.asset.encode(), signal.to_bytes(), headers[partition]))
            self.counts[f"signals-{signal.kind}"] += 1

    def write_state(self, state: TwinState, topics: Topics, headers: Sequence[tuple[str, bytes]]) -> None:
        self.records.append((topics.state, state.partition, state.asset.encode(), state.to_bytes(), headers))

"""From records of `telemetry` to closed steps: decode, find the twin, fold. The one path for serving, training, scoring.

In:   records of any number of partitions, in log order within each.
Out:  `Folded`: closed steps by type, refused records with their reasons, definitions that were made for unknown assets.
No I/O: the caller reads and writes topics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import orjson

from streams.decoding import Telemetry, column_values, decode, number
from streams.definitions import Definitions
from streams.placing import Placing, Unplaceable
from twin.arena import Arena, ClosedSteps, FoldResult
from twin.errors import ReadingRefused
from twin.reading import ReadingBatchBuilder
from twin.types import TwinType


class LogRecord(Protocol):
    """What folding needs of a Kafka record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Refused:
    """One record that goes to dead-letter. The part of it that was good has been folded."""

    record: LogRecord
    reason: str
    message: str


@dataclass(slots=True)
class Folded:
    closed: list[ClosedSteps] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    definitions: list[tuple[bytes, bytes]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # values: accepted, duplicate, late, ahead, …; records


@dataclass(slots=True)
class _Place:
    """Where an asset's values go."""

    arena: Arena
    row: int
    partition: int
    channels: dict[str, int]


class Folder:
    """Arenas of all types that a process holds, and the way into them.

    Args:
        definitions: the view of declared types and twins; may change between calls.
        window: steps in the windows of closed steps.
    """

    def __init__(self, definitions: Definitions, *, window: int = 64) -> None:
        self.definitions = definitions
        self.arenas: dict[str, Arena] = {}
        self._window = window
        self._places: dict[str, _Place] = {}
        self._contract: dict[str, TwinType] = {}
        self._revision = definitions.revision
        self.placing = Placing(definitions)

    def arena(self, kind: TwinType) -> Arena:
        """The arena of a type, made when it is new. The type a twin began with stays until the twin is dropped."""
        found = self.arenas.get(kind.id)
        if found is None:
            found = self.arenas[kind.id] = Arena(kind, window=self._window)
        return found

    def place(self, asset: str, kind: TwinType, partition: int) -> int:
        """Row of a twin in its type's arena, made when it is new."""
        arena = self.arena(kind)
        row = arena.row(asset, partition)
        names = {name: index for index, name in enumerate(arena.type.channel_names)}
        self._places[asset] = _Place(arena, row, partition, names)
        return row

    def drop(self, partition: int) -> None:
        """Forget all twins of a partition that is no longer ours."""
        for asset in [asset for asset, place in self._places.items() if place.partition == partition]:
            self._places.pop(asset).arena.remove(asset)
        self.placing.drop(partition)

    def assets(self, partition: int) -> list[tuple[str, Arena, int]]:
        """Twins of a partition: asset, arena, row."""
        return [(asset, place.arena, place.row) for asset, place in self._places.items() if place.partition == partition]

    def fold(self, records: Iterable[LogRecord], *, infer: bool = True) -> Folded:
        """Fold records; each is accepted, or refused with a reason, or waits for its asset's type.

        Args:
            infer: whether the definitions are known to be complete, so that an asset without one may get a type that
                fits or is inferred; else its records wait.
        """
        out = Folded()
        builders: dict[str, ReadingBatchBuilder] = {}
        origin: dict[tuple[int, int], LogRecord] = {}
        for record, telemetry in self._placed(records, out, infer):
            place = self._places[telemetry.asset]
            if place.partition != record.partition:
                message = (
                    f"asset {telemetry.asset!r} came on partition {record.partition}, its twin lives on {place.partition}; "
                    "key records by asset id; kept in dead-letter"
                )
                out.refused.append(Refused(record, "partition", message))
                continue
            builder = builders.get(place.arena.type.id)
            if builder is None:
                builder = builders[place.arena.type.id] = ReadingBatchBuilder()
            origin[record.partition, record.offset] = record
            self._add(builder, place, record, telemetry, out)
        for type_id, builder in builders.items():
            arena = self.arenas[type_id]
            batch = builder.build()
            result = arena.fold(batch)
            out.closed += joined(result.closed)
            for name in ("accepted", "duplicate", "late", "ahead"):
                out.counts[name] += getattr(result.counts, name)
            if len(result.late) or len(result.ahead):
                self._refuse_untimely(arena, batch.row, batch.offset, result, origin, out)
        out.refused = _one_a_record(out.refused)
        return out

    def _placed(self, records: Iterable[LogRecord], out: Folded, infer: bool) -> Iterable[tuple[LogRecord, Telemetry]]:
        """Decoded records whose twin is known, in log order within an asset."""
        if infer:
            yield from self._release(self.placing.tellable(), out)
        elif self.placing and self._revision != self.definitions.revision:
            yield from self._release(self.placing.declared(), out)
        self._revision = self.definitions.revision
        for record in records:
            out.counts["records"] += 1
            try:
                telemetry = decode(record.value)
                if telemetry.asset not in self._places:
                    kind = self.definitions.type_of(telemetry.asset)
                    if kind is None:
                        if self.placing.wait(record, telemetry) and infer:
                            yield from self._release([telemetry.asset], out)
                        continue
                    self.place(telemetry.asset, kind, record.partition)
            except ReadingRefused as refusal:
                out.refused.append(Refused(record, refusal.reason, str(refusal)))
                continue
            yield record, telemetry

    def _release(self, assets: list[str], out: Folded) -> Iterable[tuple[LogRecord, Telemetry]]:
        """Records that waited for a type, now that it is declared, matched or inferred."""
        for asset in assets:
            try:
                placed = self.placing.take(asset)
            except Unplaceable as refusal:
                out.refused += [Refused(record, refusal.reason, str(refusal)) for record in refusal.records]
                continue
            out.definitions += placed.definitions
            self.place(asset, placed.type, placed.records[0][0].partition)
            yield from placed.records

    def _add(self, builder: ReadingBatchBuilder, place: _Place, record: LogRecord, telemetry: Telemetry, out: Folded) -> None:
        unknown: list[str] = []
        not_numbers: list[str] = []
        if isinstance(telemetry.time_ns, int):
            channels: list[int] = []
            values: list[float] = []
            for name, cell in telemetry.channels.items():
                index = place.channels.get(name)
                if index is None:
                    unknown.append(name)
                elif cell is not None:
                    value = number(cell)
                    if value is None:
                        not_numbers.append(name)
                    else:
                        channels.append(index)
                        values.append(value)
            builder.add(place.row, channels, telemetry.time_ns, values, record.offset, record.timestamp * 1_000_000)
        else:
            for name, column in telemetry.channels.items():
                index = place.channels.get(name)
                if index is None:
                    unknown.append(name)
                    continue
                numbers, bad = column_values(column)
                if bad:
                    not_numbers.append(name)
                    out.counts["not-a-number"] += bad
                builder.add_column(place.row, index, telemetry.time_ns, numbers, record.offset, record.timestamp * 1_000_000)
        if unknown:
            known = ", ".join(place.channels)
            out.refused.append(
                Refused(
                    record,
                    "unknown-channel",
                    f"{telemetry.asset!r} has no channel {unknown}, expected among: {known}; the rest of the record was used",
                )
            )
        if not_numbers:
            found = {name: _shortened(telemetry.channels[name]) for name in not_numbers}
            out.refused.append(
                Refused(
                    record,
                    "not-a-number",
                    f"{telemetry.asset!r}: {found}, expected finite numbers; the rest of the record was used",
                )
            )

    def _refuse_untimely(
        self, arena: Arena, row: Any, offset: Any, result: FoldResult, origin: dict[tuple[int, int], LogRecord], out: Folded
    ) -> None:
        for reason, positions in (("late", result.late), ("ahead", result.ahead)):
            found = Counter((int(r), int(o)) for r, o in zip(row[positions], offset[positions], strict=True))
            for (twin, at), count in found.items():
                record = origin[int(arena.partition[twin]), at]
                if reason == "late":
                    why = f"its step had closed; the type allows {arena.type.lateness_ns / 1e9:g} s of lateness"
                else:
                    allowed = (arena.type.max_ahead_ns or 0) / 1e9
                    why = f"ahead of the record's timestamp by more than the {allowed:g} s that the type allows"
                out.refused.append(
                    Refused(record, reason, f"{count} values of {arena.asset_of[twin]!r} came {reason}: {why}; the rest was used")
                )


def joined(rounds: list[ClosedSteps]) -> list[ClosedSteps]:
    """The rounds of one type as one: scored in one pass."""
    if len(rounds) < 2:
        return rounds
    names = [one.name for one in fields(ClosedSteps) if one.name != "type"]
    return [ClosedSteps(rounds[0].type, *(np.concatenate([getattr(one, name) for one in rounds]) for name in names))]


def _one_a_record(refused: list[Refused]) -> list[Refused]:
    """A record goes to dead-letter once, whatever was wrong with it; the first reason names it."""
    found: dict[tuple[int, int], Refused] = {}
    for one in refused:
        place = one.record.partition, one.record.offset
        known = found.get(place)
        found[place] = one if known is None else Refused(one.record, known.reason, f"{known.message}; {one.message}")
    return list(found.values())


def _shortened(cell: object) -> str:
    return orjson.dumps(cell, default=str)[:60].decode("utf-8", "replace") if cell is not None else "null"

"""From records of `telemetry` to closed steps: decode, find the twin, fold. The one path for serving, training, scoring.

In:   records of any number of partitions, in log order within each.
Out:  `Folded`: closed steps by type, refused records with their reasons, definitions that were made for unknown assets.
No I/O: the caller reads and writes topics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
import orjson

from streams.decoding import decode
from streams.definitions import Definitions
from streams.formats.json_readings import column_values, number
from streams.formats.readings import Decoded, Telemetry, TelemetryTable
from streams.log_record import LogRecord
from streams.placing import Placing, Unplaceable
from streams.refusals import Refused, listed, one_a_record, untimely
from twin.arena import Arena, ClosedSteps
from twin.errors import ReadingRefused
from twin.reading import ReadingBatchBuilder
from twin.types import TwinType


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
        for record, decoded in self._placed(records, out, infer):
            origin[record.partition, record.offset] = record
            if isinstance(decoded, TelemetryTable):
                self._add_table(builders, record, decoded, out)
                continue
            place = self._places[decoded.asset]
            if place.partition != record.partition:
                out.refused.append(_elsewhere(record, [decoded.asset], place.partition))
                out.counts["other-partition"] += 1
                continue
            self._add(builders.setdefault(place.arena.type.id, ReadingBatchBuilder()), place, record, decoded, out)
        for type_id, builder in builders.items():
            arena = self.arenas[type_id]
            batch = builder.build()
            result = arena.fold(batch)
            out.closed += joined(result.closed)
            for name in ("accepted", "duplicate", "late", "ahead"):
                out.counts[name] += getattr(result.counts, name)
            out.refused += untimely(arena, batch, result, origin)
        out.refused = one_a_record(out.refused)
        return out

    def _placed(self, records: Iterable[LogRecord], out: Folded, infer: bool) -> Iterable[tuple[LogRecord, Decoded]]:
        """Decoded records whose twins are known, in log order within an asset."""
        if infer:
            yield from self._release(self.placing.tellable(), out)
        elif self.placing and self._revision != self.definitions.revision:
            yield from self._release(self.placing.declared(), out)
        self._revision = self.definitions.revision
        for record in records:
            out.counts["records"] += 1
            try:
                decoded = decode(record.value, record.headers, record.key)
                if isinstance(decoded, TelemetryTable):
                    yield from self._placed_table(record, decoded, out, infer)
                    continue
                if decoded.asset not in self._places:
                    kind = self.definitions.type_of(decoded.asset)
                    if kind is None:
                        if self.placing.wait(record, decoded) and infer:
                            yield from self._release([decoded.asset], out)
                        continue
                    self.place(decoded.asset, kind, record.partition)
            except ReadingRefused as refusal:
                out.refused.append(Refused(record, refusal.reason, str(refusal)))
                continue
            yield record, decoded

    def _placed_table(
        self, record: LogRecord, table: TelemetryTable, out: Folded, infer: bool
    ) -> Iterable[tuple[LogRecord, Decoded]]:
        """A table's readings of known twins; those of assets without a type wait, asset by asset."""
        out.refused += [Refused(record, flaw.reason, flaw.message) for flaw in table.flaws]
        strangers = set()
        for asset in table.assets:
            if asset not in self._places:
                kind = self.definitions.type_of(asset)
                if kind is None:
                    strangers.add(asset)
                else:
                    self.place(asset, kind, record.partition)
        if strangers:
            for telemetry in table.of_each(strangers):
                try:
                    tellable = self.placing.wait(record, telemetry)
                except ReadingRefused as refusal:
                    out.refused.append(Refused(record, refusal.reason, str(refusal)))
                    continue
                if tellable and infer:
                    yield from self._release([telemetry.asset], out)
            table = table.without(strangers)
        if len(table):
            yield record, table

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

    def _add_table(self, builders: dict[str, ReadingBatchBuilder], record: LogRecord, table: TelemetryTable, out: Folded) -> None:
        """Loops over assets, types and channels; never over readings."""
        places = [self._places[asset] for asset in table.assets]
        row = np.array([place.row for place in places], np.int64)
        of_type: dict[str, list[int]] = {}
        elsewhere: dict[int, list[str]] = {}
        for position, place in enumerate(places):
            if place.partition == record.partition:
                of_type.setdefault(place.arena.type.id, []).append(position)
            else:
                elsewhere.setdefault(place.partition, []).append(table.assets[position])
        for partition, assets in elsewhere.items():
            out.refused.append(_elsewhere(record, assets, partition))
            out.counts["other-partition"] += len(assets)
        record_time_ns = record.timestamp * 1_000_000
        for type_id, positions in of_type.items():
            known = places[positions[0]].channels
            builder = builders.setdefault(type_id, ReadingBatchBuilder())
            if len(positions) == len(places):
                rows, time_ns, channels = row[table.code], table.time_ns, table.channels
            else:
                mine = np.zeros(len(places), np.bool_)
                mine[positions] = True
                at = np.flatnonzero(mine[table.code])
                rows, time_ns = row[table.code[at]], table.time_ns[at]
                channels = {name: values[at] for name, values in table.channels.items()}
            unknown = [name for name in channels.keys() - known.keys() if not np.isnan(channels[name]).all()]
            for name, index in known.items():
                if name in channels:
                    builder.add_column(rows, index, time_ns, channels[name], record.offset, record_time_ns)
            if unknown:
                found = f"{listed([table.assets[one] for one in positions])} have no channel {listed(sorted(unknown))}"
                out.refused.append(
                    Refused(
                        record,
                        "unknown-channel",
                        f"{found}, expected among: {', '.join(known)}; the rest of the record was used",
                    )
                )

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


def _elsewhere(record: LogRecord, assets: list[str], home: int) -> Refused:
    what = f"{len(assets)} {'asset' if len(assets) == 1 else 'assets'} ({listed(assets)})"
    return Refused(
        record,
        "partition",
        f"{what} came on partition {record.partition}, {'its twin lives' if len(assets) == 1 else 'their twins live'} on {home}; "
        "key records by asset id, and records of many assets so that an asset always comes on one partition; kept in dead-letter",
    )


def joined(rounds: list[ClosedSteps]) -> list[ClosedSteps]:
    """The rounds of one type as one: scored in one pass."""
    if len(rounds) < 2:
        return rounds
    names = [one.name for one in fields(ClosedSteps) if one.name != "type"]
    return [ClosedSteps(rounds[0].type, *(np.concatenate([getattr(one, name) for one in rounds]) for name in names))]


def _shortened(cell: object) -> str:
    return orjson.dumps(cell, default=str)[:60].decode("utf-8", "replace") if cell is not None else "null"

"""From records of `telemetry` to closed steps: decode, find the twin, fold. The one path for serving, training, scoring.

In:   records of any number of partitions, in log order within each.
Out:  `Folded`: closed steps by type, refused records with their reasons, definitions that were made for unknown assets.
No I/O: the caller reads and writes topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.batching import Place, add_readings, home_of, refuse_strays
from streams.claims import Claims
from streams.decoding import decode
from streams.definitions import Definitions
from streams.folded import Folded, Moved, joined, with_falls
from streams.formats.readings import Decoded, Telemetry, TelemetryTable
from streams.log_record import LogRecord
from streams.placing import LOOK_AGAIN, Placing, Unplaceable
from streams.refusals import HeldRefusals, Origin, Refused, too_many, unknown, untimely
from streams.routing import Routes, add_table
from streams.terms import NEVER
from streams.unknown_assets import UnknownAssets
from twin.arena import Arena
from twin.errors import ReadingRefused
from twin.intake import IntakeTable, compile_intake
from twin.moving import move_row, same_grid
from twin.reading import ReadingBatchBuilder
from twin.rows import NO_OFFSET
from twin.silence import Silence
from twin.types import TwinType


class Folder:
    """Arenas of all types that a process holds, and the way into them.

    Args:
        definitions: the view of declared types and twins; may change between calls.
        window: steps in the windows of closed steps.
        claims: claim the partition of each new asset, and fold it when the claim has come back; else the first partition that an
            asset comes on is its home, as long as nobody has claimed another.
        of_now: a twin is of the type declared now from its first reading on, as for who learns what will serve; else of the type
            that it had in each stretch of the log. Units are those of the stretch in either case.
    """

    def __init__(self, definitions: Definitions, *, window: int = 64, claims: bool = False, of_now: bool = False) -> None:
        self.definitions = definitions
        self.arenas: dict[str, Arena] = {}
        self._silence: dict[str, Silence] = {}  # by type
        self._window = window
        self._places: dict[str, Place] = {}
        self._routes = Routes(self._places)
        self._refusals = HeldRefusals()
        self._intakes: dict[str, IntakeTable] = {}  # by type
        self._due: dict[str, int] = {}  # twins whose terms change → from which offset on
        self._left: list[tuple[Arena, int]] = []  # rows of twins that moved, free when their last steps are scored
        self._claims = Claims(definitions.homes, made=claims)
        self._of_now = of_now
        self._revision = definitions.revision
        self.placing = Placing(definitions)

    def arena(self, kind: TwinType) -> Arena:
        """The arena of a type, made when it is new. The type a twin began with stays until the twin is dropped."""
        found = self.arenas.get(kind.id)
        if found is None:
            found = self.arenas[kind.id] = Arena(kind, window=self._window)
            self._silence[kind.id] = Silence.of(kind, found, found.gap_steps, self.arenas.values)
        return found

    def place(self, asset: str, kind: TwinType, partition: int, *, offset: int = 0) -> int:
        """Row of a twin in its type's arena, made when it is new.

        Args:
            offset: the first one to be folded; which units hold, and until when, depends on it.
        """
        arena = self.arena(kind)
        row = arena.row(asset, partition)
        _, units, until = self._terms_at(asset, offset)
        self._take_in(asset, arena, row, partition, units, until)
        return row

    def _take_in(self, asset: str, arena: Arena, row: int, partition: int, units: Mapping[str, str], until: int) -> None:
        intake = compile_intake(arena.type, units)
        self._intakes.setdefault(arena.type.id, IntakeTable(len(arena.type.channels))).put(row, intake)
        self._places[asset] = Place.of(arena, row, partition, intake, units, until)
        self._routes.clear()
        self._due.pop(asset, None)
        if until != NEVER:
            self._due[asset] = until

    def _terms_at(self, asset: str, offset: int) -> tuple[TwinType | None, Mapping[str, str], int]:
        return self.definitions.declared_at(asset, offset) if self._of_now else self.definitions.terms_at(asset, offset)

    def expect(self, asset: str) -> None:
        """New terms were told of a twin that is here: they hold from their offset on."""
        place = self._places[asset]
        later = [term.offset for term in self.definitions.terms.of(asset) if term.offset >= place.arena.next_offset[place.row]]
        if later:
            place.until = self._due[asset] = later[0]

    def resume(self, asset: str, next_offset: int, saved: Mapping[str, str] | None) -> None:
        """A twin is back as it was before `next_offset`, its source sending in units `saved` (None: as it is declared)."""
        place, declared = self._places[asset], self.definitions.fleet.get(asset)
        _, units, until = self._terms_at(asset, next_offset - 1)
        units = units if saved is None or self.definitions.terms.of(asset) else saved
        self._take_in(asset, place.arena, place.row, place.partition, units, until)
        if until == NEVER and declared is not None and (declared.type, declared.units) != (place.arena.type.id, units):
            self.definitions.redeclared.add(asset)

    def on_terms(self, asset: str) -> Place | None:
        """Where a twin is, if it is here."""
        return self._places.get(asset)

    def drop(self, partition: int) -> None:
        """Forget all twins of a partition that is no longer ours."""
        for asset in [asset for asset, place in self._places.items() if place.partition == partition]:
            self._places.pop(asset).arena.remove(asset)
            self._due.pop(asset, None)
        for silence in self._silence.values():
            silence.drop(partition)
        self._routes.clear()
        self._refusals.drop(partition)
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
        homes = self.definitions.homes
        for arena, row in self._left:
            arena.free(row)
        self._left.clear()
        builders: dict[str, ReadingBatchBuilder] = {}
        origin: dict[tuple[int, int], LogRecord] = {}
        for record, decoded in self._placed(records, out, infer):
            assets = decoded.assets if isinstance(decoded, TelemetryTable) else (decoded.asset,)
            if self._due and any(self._due.get(asset, NEVER) <= record.offset for asset in assets):
                self._fold_arenas(builders, origin, out)
                for asset in assets:
                    self._change_terms(asset, record, out)
            origin[record.partition, record.offset] = record
            if isinstance(decoded, TelemetryTable):
                add_table(self._routes.of(record.partition, decoded.assets, homes), builders, record, decoded, out)
            elif (home := home_of(homes, decoded.asset, self._places[decoded.asset], record.partition)) != record.partition:
                refuse_strays(record, [decoded.asset], home, out)
            else:
                add_readings(builders, self._places[decoded.asset], record, decoded, out)
        out.definitions += self._claims.again(self._places)
        self._fold_arenas(builders, origin, out)
        out.refused = self._refusals.settled(out.refused, self.placing.waits)
        return out

    def _fold_arenas(self, builders: dict[str, ReadingBatchBuilder], origin: Origin, out: Folded) -> None:
        """Fold what was collected. Where a batch is cut in two changes nothing."""
        batches = {type_id: self._intakes[type_id].converted(builder.build()) for type_id, builder in builders.items()}
        for type_id, batch in batches.items():
            self._silence[type_id].meet(batch)
        for type_id, batch in batches.items():
            arena = self.arenas[type_id]
            falls = self._silence[type_id].follow(batch)
            result = arena.fold(batch)
            out.closed += with_falls(joined(result.closed), falls, arena)
            for name in ("accepted", "duplicate", "late", "ahead"):
                out.counts[name] += getattr(result.counts, name)
            out.refused += untimely(arena, batch, result, origin)
        builders.clear()

    def _change_terms(self, asset: str, record: LogRecord, out: Folded) -> None:
        """Other terms hold for a twin from this record on, if it is time."""
        place = self._places[asset]
        if not (place.until <= record.offset and place.partition == record.partition):
            return
        kind, units, until = self._terms_at(asset, record.offset)
        before, row = place.arena, place.row
        after = before if kind is None else self.arena(kind)
        if after is before:
            self._take_in(asset, before, row, place.partition, units, until)
            return
        if not same_grid(before.type, after.type):
            out.closed += joined(before.close_all(row))
        new_row = after.row(asset, place.partition)
        if same_grid(before.type, after.type):
            move_row(before, row, after, new_row)
        after.next_offset[new_row], after.first_offset[new_row] = before.next_offset[row], record.offset
        before.first_offset[row] = NO_OFFSET  # nobody waits for it there
        before.leave(asset)
        self._left.append((before, row))
        self._take_in(asset, after, new_row, place.partition, units, until)
        out.moved.append(Moved(len(out.closed), asset, before, row, after, new_row))

    def _placed(self, records: Iterable[LogRecord], out: Folded, infer: bool) -> Iterable[tuple[LogRecord, Decoded]]:
        """Decoded records whose twins are known, in log order within an asset."""
        if infer:
            yield from self._release(self.placing.tellable(), out)
        elif self.placing and self._revision != self.definitions.revision:
            yield from self._release(self.placing.declared(), out)
        if self._revision != self.definitions.revision:
            self._routes.clear()
            self._revision = self.definitions.revision
        for record in records:
            if record.offset >= self.placing.deadlines.get(record.partition, NEVER):
                for overdue in self.placing.overdue(record.partition, record.offset, claims=self._claims.made):
                    self._write_off(*overdue, out)
            out.counts["records"] += 1
            try:
                decoded = decode(record.value, record.headers, record.key)
                if isinstance(decoded, TelemetryTable):
                    yield from self._placed_table(record, decoded, out, infer)
                    continue
                if decoded.asset not in self._places:
                    yield from self._meet(record, decoded, out, infer)
                    continue
            except ReadingRefused as refusal:
                out.refused.append(Refused(record, refusal.reason, str(refusal)))
                continue
            yield record, decoded

    def _placed_table(
        self, record: LogRecord, table: TelemetryTable, out: Folded, infer: bool
    ) -> Iterable[tuple[LogRecord, Decoded]]:
        """A table's readings of known twins; those of assets without a type wait, asset by asset."""
        out.refused += [Refused(record, flaw.reason, flaw.message) for flaw in table.flaws]
        strangers = self._routes.strangers(record.partition, table.assets)
        if strangers:
            for telemetry in table.of_each(strangers):
                yield from self._meet(record, telemetry, out, infer)
            table = table.without(strangers)
        if len(table):
            yield record, table

    def _meet(self, record: LogRecord, telemetry: Telemetry, out: Folded, infer: bool) -> Iterable[tuple[LogRecord, Decoded]]:
        """Readings of an asset that has no twin here yet."""
        asset = telemetry.asset
        home = self.definitions.homes.of(asset)
        if home is not None and home != record.partition:
            refuse_strays(record, [asset], home, out)
            return
        if self.definitions.unknown.given_up(asset, record.partition, record.offset):
            out.refused.append(unknown(record))
            return
        if not self._claims.has_room(asset) and not self.placing.holds(asset):
            out.refused.append(too_many(record, asset))
            return
        kind, _, _ = self._terms_at(asset, record.offset)
        claimed = home is not None or not self._claims.made
        if kind is not None and claimed:
            self.place(asset, kind, record.partition, offset=record.offset)
            yield record, telemetry
            return
        if kind is None and self.placing.full:
            out_of_room = [*self.placing.give_up(asset), record]
            return self._write_off(asset, record.partition, record.offset + LOOK_AGAIN, out_of_room, out)
        tellable = self.placing.wait(record, telemetry)
        if not claimed:
            out.definitions += self._claims.of(asset, record.partition)
        if tellable and claimed and infer:
            yield from self._release([asset], out)

    def _write_off(self, asset: str, partition: int, before: int, records: list[LogRecord], out: Folded) -> None:
        """These records go to dead-letter, as does what else comes of the asset before an offset; that is written down."""
        self._claims.end(asset)
        for record in records:
            if record.partition == partition:
                out.refused.append(unknown(record))
                before = max(before, record.offset + 1)
            else:
                refuse_strays(record, [asset], partition, out)
        out.definitions.append(UnknownAssets.mark(asset, partition, before))
        self.definitions.apply(*out.definitions[-1])

    def _release(self, assets: list[str], out: Folded) -> Iterable[tuple[LogRecord, Telemetry]]:
        """Records that waited for a type, now that it is declared, matched or inferred."""
        for asset in assets:
            home = self.definitions.homes.of(asset)
            if home is None and self._claims.made:
                continue  # its claim has not been read back
            self._claims.end(asset)
            if home is not None and not self.placing.came_on(asset, home):
                for record in self.placing.give_up(asset):
                    refuse_strays(record, [asset], home, out)
                continue
            try:
                placed = self.placing.take(asset)
            except Unplaceable as refusal:
                self._write_off(asset, refusal.records[0].partition if home is None else home, 0, refusal.records, out)
                continue
            out.definitions += placed.definitions
            first = placed.records[0][0]
            self.place(asset, placed.type, first.partition if home is None else home, offset=first.offset)
            yield from placed.records

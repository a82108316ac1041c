"""Assets nobody has declared: which type they are of, so that pointing livetwin at a topic is enough to see twins.

In:   decoded records of assets without a declaration.
Out:  a type for each asset, as soon as one is declared, exactly one known type has all its channels, or enough
      readings came to infer one; and the definitions to publish. Until then its records wait here, in log order, but no
      longer than PATIENCE offsets after the last that brought a new time: what waits holds back what can be committed.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from streams.definitions import Definitions
from streams.formats.json_readings import column_values
from streams.formats.limits import MAX_CHANNELS, MOST_TYPES
from streams.formats.readings import Telemetry
from streams.log_record import LogRecord
from streams.refusals import listed
from streams.stated_units import FirstUnits
from streams.terms import NEVER
from twin.errors import ReadingRefused, TypeInvalid
from twin.fleet import TwinDeclaration
from twin.infer import infer_type
from twin.types import TwinType, compile_type

log = logging.getLogger(__name__)

ENOUGH_TIMES = 8  # distinct event times before a type is inferred
MOST_WAITING = 100_000  # records of assets without a type, over all assets
PATIENCE = 50_000  # offsets of its partition for which an asset waits for a reading of another time
LOOK_AGAIN = 1_000  # offsets, where an asset's claim has not come back when its wait is over, or where too many wait


@dataclass(slots=True)
class _Waiting:
    partition: int
    records: list[tuple[LogRecord, Telemetry]] = field(default_factory=list)
    times: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)  # of channels
    decisive: int = 0  # so many first records told the type, whatever came since; 0: not told yet
    deadline: int = 0  # offset of its partition from which on it waits no longer


@dataclass(frozen=True, slots=True)
class Placed:
    """One asset that got its type."""

    type: TwinType
    records: list[tuple[LogRecord, Telemetry]]
    definitions: list[tuple[bytes, bytes]]


class Unplaceable(ReadingRefused):
    """No type can be told for an asset from what came of it; `records` go to dead-letter."""

    def __init__(self, message: str, records: list[LogRecord]) -> None:
        super().__init__("unknown-asset", message)
        self.records = records


class Placing:
    """Holds records of undeclared assets. False when nothing waits."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._waiting: dict[str, _Waiting] = {}
        self._held = 0
        self._parts: Counter[tuple[int, int]] = Counter()  # partition, offset → of how many assets something waits
        self.deadlines: dict[int, int] = {}  # partition → an offset before which nobody's wait is over

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def declared(self) -> list[str]:
        """Waiting assets that have a declared type by now, or live elsewhere."""
        return [
            asset
            for asset, waiting in self._waiting.items()
            if self._definitions.type_of(asset) is not None or self._elsewhere(asset, waiting)
        ]

    def tellable(self) -> list[str]:
        """Waiting assets whose type can be told, declared or not, or that live elsewhere."""
        return [asset for asset, waiting in self._waiting.items() if self._tellable(asset, waiting)]

    def _tellable(self, asset: str, waiting: _Waiting) -> bool:
        if self._definitions.type_of(asset) is not None or self._elsewhere(asset, waiting):
            return True
        return bool(waiting.decisive) or self._match(waiting.names) is not None

    def _elsewhere(self, asset: str, waiting: _Waiting) -> bool:
        return self._definitions.homes.of(asset) not in (None, waiting.partition)

    def holds(self, asset: str) -> bool:
        """Whether readings of an asset wait."""
        return asset in self._waiting

    def waits(self, record: LogRecord) -> bool:
        """Whether something of this record waits."""
        return (record.partition, record.offset) in self._parts

    def came_on(self, asset: str, partition: int) -> bool:
        """Whether a record of a waiting asset came on this partition."""
        return any(record.partition == partition for record, _ in self._waiting[asset].records)

    def overdue(self, partition: int, offset: int, *, claims: bool) -> Iterator[tuple[str, int, int, list[LogRecord]]]:
        """Assets of a partition whose wait is over at an offset: asset, partition, offset before which it is given up, records.

        Whoever's type can be told stays: it waits for the definitions to be complete. So does who has no home yet, with `claims`.
        """
        due: list[str] = []
        later = [NEVER]
        for asset, waiting in self._waiting.items():
            if waiting.partition != partition or self._tellable(asset, waiting):
                continue
            if waiting.deadline > offset:
                later.append(waiting.deadline)
            elif claims and self._definitions.homes.of(asset) is None:
                later.append(offset + LOOK_AGAIN)
            else:
                due.append(asset)
        self.deadlines[partition] = min(later)
        for asset in due:
            yield asset, partition, self._waiting[asset].deadline, self.give_up(asset)

    def give_up(self, asset: str) -> list[LogRecord]:
        """The records of an asset that wait no longer: it lives elsewhere, or nobody can tell its type."""
        return [record for record, _ in self._pop(asset).records] if asset in self._waiting else []

    def _pop(self, asset: str) -> _Waiting:
        waiting = self._waiting.pop(asset)
        self._held -= len(waiting.records)
        for record, _ in waiting.records:
            place = record.partition, record.offset
            self._parts[place] -= 1
            if not self._parts[place]:
                del self._parts[place]
        return waiting

    @property
    def full(self) -> bool:
        """Whether no more may wait for their types."""
        return self._held >= MOST_WAITING

    def wait(self, record: LogRecord, telemetry: Telemetry) -> bool:
        """Keep a record; whether its asset's type can be told now, for `take`."""
        return self._tellable(telemetry.asset, self._keep(record, telemetry))

    def _keep(self, record: LogRecord, telemetry: Telemetry) -> _Waiting:
        waiting = self._waiting.setdefault(telemetry.asset, _Waiting(record.partition))
        waiting.records.append((record, telemetry))
        self._held += 1
        self._parts[record.partition, record.offset] += 1
        waiting.names |= telemetry.channels.keys()
        times = [telemetry.time_ns] if isinstance(telemetry.time_ns, int) else telemetry.time_ns.tolist()
        if record.partition == waiting.partition and not waiting.times.issuperset(times):
            waiting.deadline = record.offset + PATIENCE
            self.deadlines[record.partition] = min(self.deadlines.get(record.partition, NEVER), waiting.deadline)
        waiting.times.update(times)
        # the first records that tell the type decide: how many more wait with them depends on the micro-batch
        if not waiting.decisive and (len(waiting.times) >= ENOUGH_TIMES or self._match(waiting.names) is not None):
            waiting.decisive = len(waiting.records)
        return waiting

    def _keep_again(self, records: list[tuple[LogRecord, Telemetry]]) -> None:
        for record, telemetry in records:
            self._keep(record, telemetry)

    def take(self, asset: str) -> Placed:
        """The asset's type and what waited for it. Raises Unplaceable for records that can't tell it; they wait no longer."""
        waiting = self._pop(asset)
        kind = self._definitions.type_of(asset)
        published: list[tuple[bytes, bytes]] = []
        if kind is None:
            telling = waiting.records[: waiting.decisive or len(waiting.records)]
            kind = self._match({name for _, telemetry in telling for name in telemetry.channels})
            if kind is None:
                try:
                    interface = _infer(telling)
                    self._check_room(asset, interface, telling)
                except Unplaceable as refusal:
                    log.info("asset-without-type", extra={"asset": asset, "found": str(refusal)})
                    self._keep_again(waiting.records[len(telling) :])
                    raise
                kind = compile_type(interface)
                published.append((f"type/{kind.id}".encode(), orjson.dumps(interface)))
            declaration = TwinDeclaration(asset=asset, type=kind.id)
            published.append((f"twin/{asset}".encode(), declaration.model_dump_json().encode()))
            for key, value in published:
                self._definitions.apply(key, value)
        return Placed(kind, waiting.records, published)

    def _check_room(self, asset: str, interface: Mapping[str, Any], telling: list[tuple[LogRecord, Telemetry]]) -> None:
        """Raises Unplaceable."""
        known = self._definitions.types
        if len(known) >= MOST_TYPES and interface["@id"] not in known:
            raise Unplaceable(
                f"{asset!r} needs a new type, and there are {len(known):,} already, expected less than {MOST_TYPES:,}; "
                "kept in dead-letter; declare it with one of them",
                [record for record, _ in telling],
            )

    def drop(self, partition: int) -> None:
        self.deadlines.pop(partition, None)
        for asset, waiting in list(self._waiting.items()):
            kept = [(record, telemetry) for record, telemetry in waiting.records if record.partition != partition]
            if len(kept) < len(waiting.records):
                self.give_up(asset)
                self._keep_again(kept)

    def oldest_offset(self, partition: int) -> int | None:
        """First offset that is not folded yet, for the checkpoint to stand before it."""
        waiting = (record for one in self._waiting.values() for record, _ in one.records)
        return min((record.offset for record in waiting if record.partition == partition), default=None)

    def _match(self, names: set[str]) -> TwinType | None:
        """The one declared type that has exactly these channels, if there is one."""
        fitting = [kind for kind in self._definitions.types.values() if names and names == set(kind.channel_names)]
        return fitting[0] if len(fitting) == 1 else None


def _infer(records: list[tuple[LogRecord, Telemetry]]) -> dict[str, Any]:
    """A DTDL interface from what came. Its name is a hash of the channel names, so that like assets share a type.

    Channels that no type may have by that name are left out; from then on they are refused by name.
    """
    columns: dict[str, list[Any]] = {}
    times: list[int] = []
    first = FirstUnits()
    for _, telemetry in records:
        single = isinstance(telemetry.time_ns, int)
        own = [telemetry.time_ns] if isinstance(telemetry.time_ns, int) else telemetry.time_ns.tolist()
        cells = {name: [cell] if single else list(cell) for name, cell in first.taken(telemetry).items()}
        for name in sorted(cells.keys() - columns.keys()):
            columns[name] = [None] * len(times)
        times += own
        for name, column in columns.items():
            column += cells.get(name, [None] * len(own))
    numeric = {name: column_values(column)[0] for name, column in columns.items()}
    numeric = {name: values for name, values in numeric.items() if not np.isnan(values).all() and _can_be_declared(name)}
    if not 0 < len(numeric) <= MAX_CHANNELS:
        found = f"{len(numeric)} numeric channels among {listed(sorted(columns))}"
        raise Unplaceable(
            f"{found}, expected 1 to {MAX_CHANNELS} to infer a type from; kept in dead-letter",
            [record for record, _ in records],
        )
    digest = hashlib.sha256("\0".join(sorted(numeric)).encode()).hexdigest()[:8]
    inferred: dict[str, Any] = infer_type(f"T{digest}", numeric, np.array(times, np.int64), units=first.units)
    return inferred


def _can_be_declared(name: str) -> bool:
    channel = {"@type": "Telemetry", "name": name, "schema": "double"}
    try:
        compile_type({"@id": "dtmi:livetwin:inferred:Tried;1", "@type": "Interface", "contents": [channel]})
    except TypeInvalid:
        return False
    return True

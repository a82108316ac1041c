"""The `definitions` topic as a view: which twin types exist, which assets, how they relate.

In:   records under `type/<dtmi>` (DTDL interface), `twin/<asset>` (TwinDeclaration), `property/<asset>/<time>` (PropertyChange)
      and, from processors, `home/<asset>` (AssetHome), `terms/<asset>/<epoch>` (TwinTerms), `unknown/<asset>` (UnknownAsset).
Out:  `Definitions`: compiled types, the fleet, and on which partition each asset lives.
      A record that can't be used is logged and counted, never raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import orjson
from aiokafka import TopicPartition

from streams import clients
from streams.homes import PREFIX as HOME
from streams.homes import Homes
from streams.keyed_records import read_keyed
from streams.terms import PREFIX as TERMS
from streams.terms import Terms
from streams.topics import Topics
from streams.unknown_assets import PREFIX as UNKNOWN
from streams.unknown_assets import UnknownAssets
from twin.errors import LivetwinError, TypeInvalid
from twin.fleet import Fleet, PropertyChange, TwinDeclaration
from twin.intake import compile_intake
from twin.type_references import dependents
from twin.type_sets import compile_among
from twin.types import TwinType

log = logging.getLogger(__name__)

MOST_FAULTS = 10_000  # kept for whoever asks


class Definitions:
    """Fold of the topic. `revision` grows with every change, so that users of the view know when to look again."""

    def __init__(self) -> None:
        self.types: dict[str, TwinType] = {}
        self.interfaces: dict[str, dict[str, Any]] = {}  # of all kinds: types, their bases and components
        self.faults: dict[str, str] = {}  # key → why it is not used as it stands
        self.fleet = Fleet()
        self.homes = Homes()
        self.terms = Terms()
        self.unknown = UnknownAssets()
        self.declared_ms: dict[str, int] = {}  # asset → timestamp of the record from which on its type and units are as they are
        self.redeclared: set[str] = set()  # twins whose type or units were declared anew; whoever acts on it empties it
        self._waiting: dict[str, list[str]] = {}  # type that has not come → keys of twins that are declared to be of it
        self._short: dict[str, str] = {}  # short name → type that has it
        self.revision = 0
        self.position = 0  # of the topic: everything before it is in the view
        self.unusable: Counter[str] = Counter()

    def type_of(self, asset: str) -> TwinType | None:
        """Compiled type of a declared asset; None when the asset or its type is not declared."""
        declaration = self.fleet.get(asset)
        return None if declaration is None else self.types.get(declaration.type)

    def terms_at(self, asset: str, offset: int) -> tuple[TwinType | None, dict[str, str], int]:
        """Type and units of an asset at an offset of its partition, and the offset at which others begin."""
        term, until = self.terms.at(asset, offset)
        if term is not None:
            return self.types.get(term.type), term.units, until
        declared = self.fleet.get(asset)
        return self.type_of(asset), declared.units if declared is not None else {}, until

    def declared_at(self, asset: str, offset: int) -> tuple[TwinType | None, dict[str, str], int]:
        """The type that is declared now, the units in which the source sent at an offset, and from which offset on others."""
        kind, declared = self.type_of(asset), self.fleet.get(asset)
        term, until = self.terms.at(asset, offset)
        if kind is None or term is None:
            return kind, declared.units if declared is not None else {}, until
        then = self.types.get(term.type)
        sent = {channel.name: channel.unit for channel in then.channels if channel.unit} if then is not None else {}
        own = {channel.name: channel.unit for channel in kind.channels}
        return kind, {name: unit for name, unit in (sent | term.units).items() if name in own and unit != own[name]}, until

    def by_slug(self, slug: str) -> TwinType | None:
        return self.types.get(self._short.get(slug, ""))

    def apply(self, key: bytes | None, value: bytes | None, timestamp_ms: int | None = None) -> bool:
        """Fold one record; whether anything changed. `timestamp_ms`: of the record, None where it comes from this process."""
        name = (key or b"").decode("utf-8", "replace")
        if value is None and not name.startswith(HOME):
            return False
        try:
            if name.startswith(HOME):
                changed = self.homes.apply(name, value)
            elif name.startswith(TERMS):
                changed = self.terms.apply(name, value or b"")
            elif name.startswith(UNKNOWN):
                changed = self.unknown.apply(name, value or b"")
            elif name.startswith("type/"):
                changed = self._declare_type(name, orjson.loads(value or b""))
            elif name.startswith("property/"):
                changed = self.fleet.change(
                    read_keyed(PropertyChange, name, value or b"", lambda one: f"property/{one.asset}/{one.time}")
                )
            elif name.startswith("twin/"):
                changed = self._declare_twin(
                    read_keyed(TwinDeclaration, name, value or b"", lambda one: f"twin/{one.asset}"), timestamp_ms
                )
            else:
                expected = "type/<dtmi>, twin/<asset>, property/<asset>/<time> or home/<asset>"
                raise TypeInvalid(f"key {name!r} is not understood, expected {expected}; not used")
        except (orjson.JSONDecodeError, LivetwinError) as error:
            self.unusable[type(error).__name__] += 1
            self._fault(name, str(error))
            return False
        self.revision += changed
        return changed

    def _declare_type(self, name: str, interface: Any) -> bool:
        """An interface that refers to others is compiled when they are there, whichever comes first."""
        if not isinstance(interface, dict) or f"type/{interface.get('@id')}" != name:
            found = interface.get("@id") if isinstance(interface, dict) else interface
            raise TypeInvalid(
                f"{str(found)[:200]!r} stands under the key {name!r}, expected the interface of that name; not used"
            )
        identifier: str = interface["@id"]
        if self.interfaces.get(identifier) == interface:
            return False
        before = self.interfaces.get(identifier)
        self.interfaces[identifier] = interface
        try:
            self._compile(identifier)
        except TypeInvalid:
            if before is not None and identifier in self.types:  # what was in use stays in use
                self.interfaces[identifier] = before
            raise
        for other in dependents(identifier, self.interfaces):
            try:
                self._compile(other)
            except TypeInvalid as error:
                self._fault(f"type/{other}", str(error))
        return True

    def _compile(self, identifier: str) -> None:
        """Raises TypeInvalid, unless all that is wrong is that another interface has not come yet."""
        found = compile_among(identifier, self.interfaces)
        self.faults.pop(f"type/{identifier}", None)
        if found.type is not None:
            other = self._short.setdefault(found.type.slug, identifier)
            if other != identifier:  # models and addresses are called by it
                raise TypeInvalid(f"{identifier}: its short name {found.type.slug!r} is that of {other}; the type is not used")
            self.types[identifier] = found.type
            for name in self._waiting.pop(identifier, ()):
                if self.faults.get(name) == f"waits for {identifier}":
                    del self.faults[name]
        elif found.missing and not found.faulty:
            self.faults[f"type/{identifier}"] = f"waits for {', '.join(sorted(found.missing))}"
        elif found.faulty:
            raise TypeInvalid(found.message)

    def _declare_twin(self, declaration: TwinDeclaration, timestamp_ms: int | None) -> bool:
        if self.fleet.get(declaration.asset) == declaration:
            return False
        kind = self.types.get(declaration.type)
        faults = compile_intake(kind, declaration.units).faults if kind is not None else {}
        if faults:
            raise TypeInvalid(f"twin {declaration.asset!r}: {'; '.join(faults.values())}; the declaration is not used")
        before = self.fleet.get(declaration.asset)
        same = before is not None and (before.type, before.units) == (declaration.type, declaration.units)
        if before is not None and not same:
            self.redeclared.add(declaration.asset)
        if not same:
            self.declared_ms.pop(declaration.asset, None)
            if timestamp_ms is not None:
                self.declared_ms[declaration.asset] = timestamp_ms
        self.fleet.declare(declaration)
        name = f"twin/{declaration.asset}"
        self.faults.pop(name, None)
        if kind is None:
            self.faults[name] = f"waits for {declaration.type}"
            self._waiting.setdefault(declaration.type, []).append(name)
        return True

    def _fault(self, name: str, message: str) -> None:
        if len(self.faults) < MOST_FAULTS or name in self.faults:
            self.faults[name] = message
        log.warning("definition-not-used", extra={"key": name, "found": message.splitlines()[0]})


async def read_definitions(bootstrap: str, topics: Topics) -> Definitions:
    """The view as of now: the topic from its beginning to its current end."""
    view = Definitions()
    for record in await clients.read_to_end(bootstrap, topics.definitions):
        view.apply(record.key, record.value, record.timestamp)
        view.position = record.offset + 1
    return view


async def follow_definitions(bootstrap: str, topics: Topics, view: Definitions, *, stop: asyncio.Event) -> None:
    """Go on folding the topic into `view` until `stop`. Group-less: every follower sees every record."""
    consumer = clients.consumer(bootstrap, topics.definitions, client_id="livetwin-definitions")
    await consumer.start()
    try:
        place = TopicPartition(topics.definitions, 0)
        while not stop.is_set():
            for records in (await clients.next_records(consumer, stop, timeout_ms=200)).values():
                for record in records:
                    view.apply(record.key, record.value, record.timestamp)
            view.position = max(view.position, await consumer.position(place))
    finally:
        await consumer.stop()

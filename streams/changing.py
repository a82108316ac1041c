"""Twins that are declared anew, or whose sources send more than their type has: which terms hold from which offset on.

In:   twins that this process serves, what is declared of them, numbers that came for channels that nobody knows.
Out:  records for `definitions`; they are acknowledged before any output on the new terms.

The choice of the offset is free, as that of a version's first offset is: it is written down (`streams/terms.py`), so nobody who
folds the stretch again has to choose.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

import orjson

from streams.definitions import Definitions
from streams.folding import Folder
from streams.formats.limits import MAX_CHANNELS, MOST_TYPES
from streams.owned import Owned
from streams.terms import Term
from twin.errors import TypeInvalid
from twin.growing import can_grow, grown
from twin.types import TwinType, compile_type

log = logging.getLogger(__name__)

ENOUGH_NUMBERS = 8  # of an unknown channel before an inferred type gets it
_MOST_COUNTED = 10_000  # (asset, channel)

Definition = tuple[bytes, bytes]


class Changing:
    """Decides for the twins of one process."""

    def __init__(self, definitions: Definitions, folder: Folder) -> None:
        self._definitions = definitions
        self._folder = folder
        self._strange: Counter[tuple[str, str]] = Counter()
        self._decided: list[Definition] = []  # between two calls of `decide`

    def decide(
        self, strange: Counter[tuple[str, str]], units: Mapping[tuple[str, str], str], owned: Mapping[int, Owned]
    ) -> list[Definition]:
        """What to write down now; the view has it already.

        Args:
            strange: numbers that came for unknown channels since the last call.
            units: what such channels stated.
            owned: partitions of this process.
        """
        out, self._decided = self._decided, []
        for asset, names in self._ripe(strange).items():
            out += self._grow(asset, {name: units.get((asset, name)) for name in names})
        for asset in sorted(self._definitions.redeclared):
            out += self._change(asset, owned)
        return out

    def _ripe(self, strange: Counter[tuple[str, str]]) -> dict[str, list[str]]:
        """Unknown channels by asset, of assets of which one came often enough."""
        found: dict[str, list[str]] = {}
        for (asset, name), count in strange.items():
            place = self._folder.on_terms(asset)
            if place is None or name in place.channels or name in place.faults or not can_grow(place.arena.type.id):
                continue
            if len(self._strange) < _MOST_COUNTED or (asset, name) in self._strange:
                self._strange[asset, name] += count
            if self._strange[asset, name] >= ENOUGH_NUMBERS:
                found.setdefault(asset, []).append(name)
        for asset, names in found.items():
            for name in names:
                del self._strange[asset, name]
        return found

    def _grow(self, asset: str, names: Mapping[str, str | None]) -> Iterable[Definition]:
        """The asset's type with these channels, and the asset of it."""
        declared = self._definitions.fleet.get(asset)
        kind = self._definitions.type_of(asset)
        if declared is None or kind is None or not can_grow(kind.id):
            return
        new = {name: unit for name, unit in names.items() if name not in kind.channel_names and _possible(name)}
        if not new or len(kind.channels) + len(new) > MAX_CHANNELS:
            return
        interface = grown(self._definitions.interfaces[kind.id], new)
        if interface["@id"] not in self._definitions.types and len(self._definitions.types) >= MOST_TYPES:
            return
        twin = declared.model_copy(update={"type": interface["@id"]})
        for key, value in (
            (f"type/{interface['@id']}".encode(), orjson.dumps(interface)),
            (f"twin/{asset}".encode(), twin.model_dump_json().encode()),
        ):
            if self._definitions.apply(key, value):
                yield key, value
        log.info("type-grown", extra={"asset": asset, "type": interface["@id"], "channels": list(new)})

    def change_since(self, asset: str, offset: int, owned: Mapping[int, Owned]) -> None:
        """A twin was declared anew while nobody owned it. What is to be written down comes with the next `decide`.

        Args:
            offset: the first of its partition that is younger than the declaration.
        """
        place = self._folder.on_terms(asset)
        if place is not None:
            # what was put out on the old terms stays: up to the committed offset, and what the twin itself has folded
            out = max(owned[place.partition].silent_until, int(place.arena.next_offset[place.row]))
            self._decided += self._change(asset, owned, free_from=max(offset, out))

    def _change(self, asset: str, owned: Mapping[int, Owned], *, free_from: int | None = None) -> list[Definition]:
        definitions, place = self._definitions, self._folder.on_terms(asset)
        declared, kind = definitions.fleet.get(asset), definitions.type_of(asset)
        if place is None or declared is None:
            definitions.redeclared.discard(asset)  # not ours: whoever places it takes it as it is declared
            return []
        if kind is None:
            return []  # its type may still come
        definitions.redeclared.discard(asset)
        told = definitions.terms.of(asset)
        now = (told[-1].type, told[-1].units) if told else (place.arena.type.id, dict(place.units))
        if now == (kind.id, declared.units):
            return []
        mine = owned[place.partition]
        offset = max(mine.free_from if free_from is None else free_from, 1, *(term.offset + 1 for term in told))
        before = Term(offset=0, type=place.arena.type.id, units=dict(place.units))
        key, value = definitions.terms.change(asset, mine.epoch, before, Term(offset=offset, type=kind.id, units=declared.units))
        definitions.apply(key, value)
        self._folder.expect(asset)
        log.info("terms-changed", extra={"asset": asset, "type": kind.id, "offset": offset})
        return [(key, value)]


def _possible(name: str) -> bool:
    """Whether a channel can be called so."""
    channel = {"@type": "Telemetry", "name": name, "schema": "double"}
    try:
        found: TwinType = compile_type({"@id": "dtmi:livetwin:inferred:Tried;1", "@type": "Interface", "contents": [channel]})
    except TypeInvalid:
        return False
    return found.channel_names == (name,)

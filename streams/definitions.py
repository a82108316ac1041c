"""The `definitions` topic as a view: which twin types exist, which assets, how they relate.

In:   records under `type/<dtmi>` (DTDL interface) and `twin/<asset>` (TwinDeclaration).
Out:  `Definitions`: compiled types and the fleet. A record that can't be used is logged and counted, never raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import orjson
from aiokafka import TopicPartition
from pydantic import ValidationError

from streams import clients
from streams.topics import Topics
from twin.errors import TypeInvalid
from twin.fleet import Fleet, TwinDeclaration
from twin.types import TwinType, compile_type

log = logging.getLogger(__name__)


class Definitions:
    """Fold of the topic. `revision` grows with every change, so that users of the view know when to look again."""

    def __init__(self) -> None:
        self.types: dict[str, TwinType] = {}
        self.interfaces: dict[str, dict[str, Any]] = {}
        self.fleet = Fleet()
        self.revision = 0
        self.position = 0  # of the topic: everything before it is in the view
        self.unusable: Counter[str] = Counter()

    def type_of(self, asset: str) -> TwinType | None:
        """Compiled type of a declared asset; None when the asset or its type is not declared."""
        declaration = self.fleet.get(asset)
        return None if declaration is None else self.types.get(declaration.type)

    def by_slug(self, slug: str) -> TwinType | None:
        return next((kind for kind in self.types.values() if kind.slug == slug), None)

    def apply(self, key: bytes | None, value: bytes | None) -> bool:
        """Fold one record; whether anything changed."""
        name = (key or b"").decode("utf-8", "replace")
        if value is None:
            return False
        try:
            if name.startswith("type/"):
                interface = orjson.loads(value)
                compiled = compile_type(interface)
                if f"type/{compiled.id}" != name:
                    raise TypeInvalid(f"{compiled.id} stands under the key {name!r}, expected 'type/{compiled.id}'; not used")
                if self.interfaces.get(compiled.id) == interface:
                    return False
                self.types[compiled.id] = compiled
                self.interfaces[compiled.id] = interface
            elif name.startswith("twin/"):
                declaration = TwinDeclaration.model_validate_json(value)
                if f"twin/{declaration.asset}" != name:
                    raise TypeInvalid(f"twin {declaration.asset!r} stands under the key {name!r}; not used")
                if self.fleet.get(declaration.asset) == declaration:
                    return False
                self.fleet.declare(declaration)
            else:
                raise TypeInvalid(f"key {name!r} is not understood, expected type/<dtmi> or twin/<asset>; not used")
        except (orjson.JSONDecodeError, ValidationError, TypeInvalid) as error:
            self.unusable[type(error).__name__] += 1
            log.warning("definition-not-used", extra={"key": name, "found": str(error).splitlines()[0]})
            return False
        self.revision += 1
        return True


async def read_definitions(bootstrap: str, topics: Topics) -> Definitions:
    """The view as of now: the topic from its beginning to its current end."""
    view = Definitions()
    for record in await clients.read_to_end(bootstrap, topics.definitions):
        view.apply(record.key, record.value)
        view.position = record.offset + 1
    return view


async def follow_definitions(bootstrap: str, topics: Topics, view: Definitions, *, stop: asyncio.Event) -> None:
    """Go on folding the topic into `view` until `stop`. Group-less: every follower sees every record."""
    consumer = clients.consumer(bootstrap, topics.definitions, client_id="livetwin-definitions")
    await consumer.start()
    try:
        place = TopicPartition(topics.definitions, 0)
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    view.apply(record.key, record.value)
            view.position = max(view.position, await consumer.position(place))
    finally:
        await consumer.stop()

"""Which version serves: follow the `models` topic, load what it names, and tell from which offset on a version served.

In:   the view of `models`; files named by its records.
Out:  loaded versions, ready between two batches; `Serving` records; `Refusal` records for what does not load or fit.

A version is loaded and warmed up beside the one that serves; the switch itself is one assignment between batches. What is
refused leaves the old version serving. A few versions stay resident, so that a roll back loads nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from models import version as version_file
from models.port import VersionRefused
from models.served import ServedModel
from models.weight_sources import WeightSources
from streams.canary import Divided
from streams.model_records import Canary, ModelAlias, Refusal, Switch
from streams.models_topic import Change, ModelsView
from twin.errors import LivetwinError
from twin.types import TwinType

log = logging.getLogger(__name__)

RESIDENT = 32  # versions kept in memory, over all types
LOOK_AGAIN_S = 5.0  # for weights that were not found: a shared folder or a server may come back
NOT_HERE = frozenset({"missing", "truncated", "hash"})  # refusals that speak of this machine's file, not of the version


class VersionsMissing(LivetwinError):
    """Weights that have served are not on this machine: what they scored can't come out again the same."""


class VersionShelf:
    """Loaded versions by hash, least recently used out first."""

    def __init__(self, sources: WeightSources) -> None:
        self._sources = sources
        self._shelf: OrderedDict[tuple[str, str], ServedModel] = OrderedDict()

    async def get(self, *, uri: str, sha256: str, contract: str, kind: TwinType | None = None) -> ServedModel:
        """Load and warm up in a thread. `kind`: the type it is to serve; None: it has served before. Raises VersionRefused."""
        key = (sha256, contract)
        found = self._shelf.get(key)
        if found is None:
            found = self._shelf[key] = await asyncio.to_thread(self._load, uri, sha256, contract, kind)
        self._shelf.move_to_end(key)
        while len(self._shelf) > RESIDENT:
            self._shelf.popitem(last=False)
        return found

    def _load(self, uri: str, sha256: str, contract: str, kind: TwinType | None) -> ServedModel:
        payload, origin = self._sources.read(uri, sha256)
        return version_file.decode(
            payload,
            origin=origin,
            expect_sha256=sha256,
            expect_contract=contract,
            expect_type=kind,
            behaviour=kind is not None,
        )

    async def past(self, switch: Switch, contract: str) -> ServedModel:
        """A version that has served: its outputs must come out again, however slow this machine is now. Raises VersionRefused."""
        return await self.get(uri=switch.uri, sha256=switch.sha256, contract=contract)


class Champions:
    """The version that each model's alias names, loaded; `take_new` hands out what is ready to be switched to, one at a time."""

    def __init__(self, view: ModelsView, shelf: VersionShelf) -> None:
        self._view = view
        self.shelf = shelf
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._ready: dict[str, tuple[ServedModel | Divided, Switch]] = {}
        self.current: dict[str, tuple[ServedModel | Divided, Switch]] = {}
        self.refusals: list[Refusal] = []
        self._refused: dict[tuple[str, str], ModelAlias] = {}  # model, version → the alias that named it
        self._again: dict[str, float] = {}  # models whose weights were not found → when to look again, monotonic

    def on_change(self, change: Change) -> None:
        """For `models_topic.follow`."""
        if change.kind == "alias":
            self._changed.add(change.name)
            self._wake.set()

    async def load_now(self, types: dict[str, TwinType]) -> None:
        """Load every alias that is not loaded yet; what is refused is logged and put into `refusals`."""
        self._wake.clear()
        now = time.monotonic()
        self._changed |= {name for name, at in self._again.items() if at <= now}
        for name in sorted(self._changed):
            kind = next((one for one in types.values() if one.slug == name), None)
            alias = self._view.alias(name)
            if kind is None or alias is None:
                continue  # the type may still come; look again at the next wake
            self._changed.discard(name)
            self._again.pop(name, None)
            champion = Switch(offset=0, version=alias.champion, sha256=alias.champion_sha256, uri=alias.champion_uri)
            served = await self._load(name, alias, champion, kind)
            if served is None:
                continue
            self._ready[name] = served, champion
            if alias.canary is not None:  # where it can't serve, the champion serves all twins
                canary = await self._load(name, alias, alias.canary, kind)
                if canary is not None:
                    divided = Divided(served, canary, alias.canary)
                    self._ready[name] = divided, champion.model_copy(update={"canary": alias.canary})

    async def _load(self, name: str, alias: ModelAlias, wanted: Switch | Canary, kind: TwinType) -> ServedModel | None:
        """What an alias names; None where that is refused."""
        try:
            served = await self.shelf.get(uri=wanted.uri, sha256=wanted.sha256, contract=kind.contract, kind=kind)
            if served.version != wanted.version:
                found = f"{wanted.uri} holds {served.version}, expected {wanted.version}"
                raise VersionRefused("version", f"{found}; the version before keeps serving")
        except VersionRefused as refusal:
            if refusal.reason == "missing":
                self._again[name] = time.monotonic() + LOOK_AGAIN_S
            self._refuse(name, alias, wanted.version, refusal)
            return None
        return served

    def _refuse(self, name: str, alias: ModelAlias, version: str, refusal: VersionRefused) -> None:
        if self._refused.get((name, version)) == alias:
            return
        self._refused[name, version] = alias
        current = self.current.get(name)
        serving = current[1].version if current else alias.champion if version != alias.champion else None
        log.error(
            "version-refused",
            extra={"model": name, "version": version, "serving": serving, "reason": refusal.reason, "found": str(refusal)},
        )
        self.refusals.append(
            Refusal(name=name, version=version, serving=serving, reason=f"{refusal.reason}: {refusal}", time_ns=time.time_ns())
        )

    async def run(self, types: dict[str, TwinType], stop: asyncio.Event) -> None:
        """Load whatever the aliases name from now on, until `stop`."""
        while not stop.is_set():
            # a second, as a type may be declared after its version was named
            await _either(self._wake, stop, timeout_s=1.0)
            if (self._changed or self._again) and not stop.is_set():
                await self.load_now(types)

    def take_new(self) -> tuple[str, tuple[ServedModel | Divided, Switch]] | None:
        """A model with a version that became ready and differs from what serves; None when there is none left."""
        while self._ready:
            name = next(iter(self._ready))
            found = self._ready.pop(name)
            if name not in self.current or self.current[name][0] != found[0]:
                self.current[name] = found
                return name, found
        return None


async def _either(first: asyncio.Event, second: asyncio.Event, *, timeout_s: float) -> None:
    """Wait until one of the two is set, or for the time given."""
    waiting = [asyncio.create_task(first.wait()), asyncio.create_task(second.wait())]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()

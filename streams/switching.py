"""Which version scores which stretch of each owned partition: switches made, inherited, written down, and found again.

In:   loaded champions, what `models` tells of earlier owners.
Out:  scorers with the versions in force; `Serving` records, which must be acknowledged before any output by them.

A revision of a type with the same tensor contract goes on with the weights of the one before: where it has no record of its own
yet, it takes over the record of its nearest revision, with all its offsets. That is the same whoever does it and when: a revision
that served before its neighbour had a version gets the neighbour's first one together with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from streams.canary import InForce
from streams.definitions import Definitions
from streams.micro_batch import Announcement
from streams.model_records import Serving, Switch, models_key
from streams.owned import Owned
from streams.past_versions import PastOf
from streams.scoring import Switches, TypeScorer
from streams.serving import Champions
from streams.topics import Topics
from twin.arena import Arena
from twin.type_revisions import sharing_weights
from twin.types import TwinType

log = logging.getLogger(__name__)

MOST_SWITCHES = 500  # kept of a model and partition, newest last


class Switching:
    """Scorers of all types, and the versions of all owned partitions.

    Args:
        owned: partitions of this process, changed by whoever owns it.
    """

    def __init__(
        self, topics: Topics, definitions: Definitions, champions: Champions, past: PastOf, owned: dict[int, Owned]
    ) -> None:
        self._topics = topics
        self._definitions = definitions
        self._champions = champions
        self._past = past
        self._owned = owned
        self._inherited: list[Announcement] = []
        self.switched: dict[str, str] = {}  # model → version, for whoever asked for it to tell and to clear
        self.scorers: dict[str, TypeScorer] = {}  # by type id

    def scorer(self, arena: Arena) -> TypeScorer:
        """The scorer of a type, made when it is new."""
        found = self.scorers.get(arena.type.id)
        if found is None:
            found = self.scorers[arena.type.id] = TypeScorer(arena)
            for partition, owned in self._owned.items():
                current = self._champions.current.get(arena.type.slug)
                if current is not None and arena.type.slug in owned.switches:
                    switches = found.switches.setdefault(partition, Switches())
                    switches.add(owned.switches[arena.type.slug][-1].offset, current[0])
            self._inherit(found)
        return found

    def inherited(self) -> list[Announcement]:
        """Records of what scorers have inherited since the last call."""
        inherited, self._inherited = self._inherited, []
        return inherited

    def switch_ready(self, now_ns: int) -> list[Announcement]:
        """Switch to versions that became ready, from where each partition is scored; the records that announce it.

        For moments in which no batch is scored; one that is folded meanwhile is scored by the new version. Nothing in here
        waits or writes: scoring stands still meanwhile.
        """
        announced: list[Announcement] = []
        for name, (served, switch) in self._champions.take_new().items():
            for partition, owned in self._owned.items():
                announced += self._switch(name, partition, owned, served, switch, now_ns)
            self.switched[name] = switch.version
        announced += [(self._topics.models, 0, models_key(refusal), refusal.to_bytes()) for refusal in self._champions.refusals]
        self._champions.refusals.clear()
        return announced

    def announce_start(self, now_ns: int) -> list[Announcement]:
        """For partitions that no version has served yet: the champion serves from where we start."""
        for scorer in self.scorers.values():
            self._inherit(scorer)
        announced = self.inherited()
        for name, (served, switch) in self._champions.current.items():
            for partition, owned in self._owned.items():
                last = owned.switches[name][-1] if name in owned.switches else None
                if last is None or (last.sha256, last.canary) != (switch.sha256, switch.canary):
                    announced += self._switch(name, partition, owned, served, switch, now_ns)
        return announced

    def _switch(
        self, name: str, partition: int, owned: Owned, served: InForce, switch: Switch, now_ns: int
    ) -> Iterator[Announcement]:
        """Switch a model, and with it those revisions of its type that share its weights and have had none."""
        kind = self._definitions.by_slug(name)
        heirs = [] if kind is None else sharing_weights(kind, list(self._definitions.types.values()))
        for one in (name, *(heir.slug for heir in heirs if heir.slug not in owned.switches)):
            yield self._add_switch(one, partition, owned, switch, now_ns)
            for scorer in self.scorers.values():
                if scorer.arena.type.slug == one:
                    scorer.switches.setdefault(partition, Switches()).add(owned.switches[one][-1].offset, served)

    def _add_switch(self, name: str, partition: int, owned: Owned, switch: Switch, now_ns: int) -> Announcement:
        known = owned.switches.get(name, [])
        offset = max([owned.scored.position, owned.settled_until] + [one.offset for one in known])
        at = switch.model_copy(update={"offset": offset, "event_ns": owned.newest_ns.get(name)})
        kept = [one for one in known if one.offset < at.offset]
        floor = sum(one.offset <= owned.begin for one in kept) - 1
        owned.switches[name] = [*kept[max(floor, 0) :][1 - MOST_SWITCHES :], at]
        return self._record(name, partition, owned, now_ns)

    def _record(self, name: str, partition: int, owned: Owned, now_ns: int) -> Announcement:
        record = Serving(name=name, partition=partition, epoch=owned.epoch, switches=owned.switches[name], time_ns=now_ns)
        return self._topics.models, 0, models_key(record), record.to_bytes()

    def _inherit(self, heir: TypeScorer) -> None:
        """In partitions where this revision has no record: the record of the nearest one whose weights it shares."""
        kind = heir.arena.type
        if all(kind.slug in owned.switches for owned in self._owned.values()):
            return
        revisions = sharing_weights(kind, list(self._definitions.types.values()))
        for partition, owned in self._owned.items():
            origin = next((one for one in revisions if one.slug in owned.switches), None)
            if kind.slug in owned.switches or origin is None:
                continue
            owned.switches[kind.slug] = list(owned.switches[origin.slug])
            heir.switches[partition] = self._in_force(origin, partition, owned)
            self._inherited.append(self._record(kind.slug, partition, owned, time.time_ns()))
            log.info("weights-shared", extra={"model": kind.slug, "of": origin.slug, "partition": partition})

    def _in_force(self, origin: TwinType, partition: int, owned: Owned) -> Switches:
        scorer = self.scorers.get(origin.id)
        if scorer is not None and partition in scorer.switches:
            return scorer.switches[partition].copy()
        found, current = Switches(), self._champions.current.get(origin.slug)
        if current is not None:
            found.add(owned.switches[origin.slug][-1].offset, current[0])
        return found

    # ── owners come and go ──────────────────────────────────────────────────────────────────────────────────────────

    async def restore(self, partition: int, owned: Owned, end: int, arena_of: Callable[[TwinType], Arena]) -> None:
        """The versions that scored this partition before us, at the same offsets; it ends at `end`. Raises VersionsMissing."""
        for kind, found in await self._past.partition(partition, position=owned.position, end=end):
            owned.switches[kind.slug] = found.switches
            self.scorer(arena_of(kind)).switches[partition] = found.table

    def forget(self, partition: int) -> None:
        """A partition is no longer ours."""
        for scorer in self.scorers.values():
            scorer.switches.pop(partition, None)

    def forget_before(self, partition: int, offset: int) -> None:
        """Drop what no step from `offset` on can need."""
        for scorer in self.scorers.values():
            if partition in scorer.switches:
                scorer.switches[partition].forget_before(offset)

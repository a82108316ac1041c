"""Which version scores which stretch of each owned partition: switches made, inherited, written down, and found again.

In:   loaded champions, what `models` tells of earlier owners.
Out:  scorers with the versions in force; `Serving` records, which must be acknowledged before any output by them.

A revision of a type with the same tensor contract goes on with the weights of the one before: where it has no record of its own
yet, it takes over the record of its nearest revision, with all its offsets. That is the same whoever does it and when: a revision
that served before its neighbour had a version gets the neighbour's first one together with it.
"""

from __future__ import annotations

import logging
import math
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from streams.canary import InForce
from streams.definitions import Definitions
from streams.micro_batch import Announcement
from streams.model_records import Refusal, Serving, Switch, models_key
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
_OFFSET = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class Switched:
    """What a model and partition have been switched to; `record` tells it to `models`."""

    name: str
    partition: int
    epoch: int
    switches: list[Switch]  # never changed any more
    time_ns: int

    def record(self) -> Serving:
        return Serving(name=self.name, partition=self.partition, epoch=self.epoch, switches=self.switches, time_ns=self.time_ns)


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
        self._inherited: list[Switched] = []
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
        return self.announcements(inherited)

    def switch_ready(self, now_ns: int, *, within_s: float = math.inf) -> list[Switched | Refusal]:
        """Switch to versions that became ready, from where each partition is scored; what is to be announced of it.

        For moments in which no batch is scored; one that is folded meanwhile is scored by the new version. Nothing in here
        waits, and no record is made: scoring stands still meanwhile.

        Args:
            within_s: no model is begun after so long, seconds; it is left to the next call.
        """
        found: list[Switched | Refusal] = []
        until = time.perf_counter() + within_s
        while (new := self._champions.take_new()) is not None:
            name, (served, switch) = new
            found += self._switch(name, self._owned.items(), served, switch, now_ns)
            self.switched[name] = switch.version
            if time.perf_counter() >= until:
                break
        if self._champions.refusals:
            found += self._champions.refusals
            self._champions.refusals.clear()
        return found

    def announcements(self, switched: Iterable[Switched | Refusal]) -> list[Announcement]:
        """The records for `models`; they must be acknowledged before any output of what has been switched to."""
        records = [one.record() if isinstance(one, Switched) else one for one in switched]
        return [(self._topics.models, 0, models_key(record), record.to_bytes()) for record in records]

    def announce_start(self, now_ns: int) -> list[Announcement]:
        """For partitions that no version has served yet: the champion serves from where we start."""
        for scorer in self.scorers.values():
            self._inherit(scorer)
        announced = self.inherited()
        for name, (served, switch) in self._champions.current.items():
            behind = []
            for partition, owned in self._owned.items():
                last = owned.switches[name][-1] if name in owned.switches else None
                if last is None or (last.sha256, last.canary) != (switch.sha256, switch.canary):
                    behind.append((partition, owned))
            announced += self.announcements(self._switch(name, behind, served, switch, now_ns))
        return announced

    def _switch(
        self, name: str, among: Iterable[tuple[int, Owned]], served: InForce, switch: Switch, now_ns: int
    ) -> Iterator[Switched]:
        """Switch a model, and with it those revisions of its type that share its weights and have had none."""
        kind = self._definitions.by_slug(name)
        heirs = [] if kind is None else [one.slug for one in sharing_weights(kind, list(self._definitions.types.values()))]
        scorers: dict[str, list[TypeScorer]] = defaultdict(list)
        for scorer in self.scorers.values():
            scorers[scorer.arena.type.slug].append(scorer)
        for partition, owned in among:
            for one in (name, *(heir for heir in heirs if heir not in owned.switches)):
                owned.switches[one] = _with(switch, owned, one)
                for scorer in scorers[one]:
                    scorer.switches.setdefault(partition, Switches()).add(owned.switches[one][-1].offset, served)
                yield Switched(one, partition, owned.epoch, owned.switches[one], now_ns)

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
            switched = Switched(kind.slug, partition, owned.epoch, owned.switches[kind.slug], time.time_ns())
            self._inherited.append(switched)
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


def _with(switch: Switch, owned: Owned, name: str) -> list[Switch]:
    """The switches of a model and partition, oldest first, with one more: from where the partition is scored.

    Of those from before the log began the newest is kept. Looked up by bisection: scoring stands still.
    """
    known: Sequence[Switch] = owned.switches.get(name, ())
    offset = max(owned.scored.position, owned.settled_until, known[-1].offset if known else 0)
    at = switch.model_copy(update={"offset": offset, "event_ns": owned.newest_ns.get(name)})
    end = bisect_left(known, offset, key=_OFFSET)
    floor = bisect_right(known, owned.begin, hi=end, key=_OFFSET) - 1
    return [*known[max(floor, end + 1 - MOST_SWITCHES, 0) : end], at]

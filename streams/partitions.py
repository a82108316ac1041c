"""The twins of the partitions a processor owns: fold, score, build outputs, switch versions, save and take over.

In:   records of owned partitions, loaded versions, checkpoints.
Out:  `Outputs` of a micro-batch; records to announce switches; checkpoints. No Kafka client here but for reading checkpoints.

A batch may be folded while the one before it is scored: `fold` and `score` share nothing that changes. All else is for moments in
which neither runs, or, where it says so, in which no batch is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from aiokafka import ConsumerRecord

from models.port import Served, VersionRefused
from streams.changing import Changing
from streams.checkpoint import mark_key, mark_value
from streams.checkpoint_cycle import CheckpointCycle, CheckpointRecord, Due, record_of
from streams.definitions import Definitions
from streams.folded import Moved
from streams.folding import Folder
from streams.micro_batch import Author, FoldedBatch, Outputs, Reached
from streams.models_topic import ModelsView
from streams.owned import Owned
from streams.records import Serving, Switch, TwinState, models_key
from streams.recovery import PartitionCheckpoint, read_checkpoints, restore_twins
from streams.scoring import Switches, TypeScorer
from streams.serving import Champions
from streams.silence import Silences
from streams.topics import Topics
from twin.arena import Arena
from twin.types import TwinType

log = logging.getLogger(__name__)

MOST_SWITCHES = 500  # kept of a model and partition, newest last
Announcement = tuple[str, int, bytes, bytes]


class Partitions:
    """State of all owned partitions."""

    def __init__(self, bootstrap: str, topics: Topics, definitions: Definitions, view: ModelsView, champions: Champions) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._definitions = definitions
        self._view = view
        self._champions = champions
        self._folder = Folder(definitions, claims=True)
        self._changing = Changing(definitions, self._folder)
        self._scorers: dict[str, TypeScorer] = {}
        self._silences = Silences()
        self._owned: dict[int, Owned] = {}
        self._cycle = CheckpointCycle()

    @property
    def live(self) -> set[int]:
        return set(self._owned)

    # ── one micro-batch ─────────────────────────────────────────────────────────────────────────────────────────────

    def wanted(self, records: list[ConsumerRecord]) -> list[ConsumerRecord]:
        """Records of owned partitions at or after our position: a rebalance may leave others in the fetch buffer."""
        return [
            record
            for record in records
            if record.partition in self._owned and record.offset >= self._owned[record.partition].position
        ]

    @property
    def undeclared(self) -> bool:
        """Whether records wait whose asset would get its type now, were the definitions known to be complete."""
        return bool(self._folder.placing.tellable())

    def fold(self, records: list[ConsumerRecord], *, infer: bool = False) -> FoldedBatch:
        """Fold records in log order, for `score`; blocks, so callers use a thread. `infer`: see `Folder.fold`."""
        folded = self._folder.fold(records, infer=infer)
        for moved in folded.moved:
            self._silences.of(moved.before).reset(moved.row)
            self._silences.of(moved.after).reset(moved.new_row)
            self._cycle.saved_offset.pop(moved.asset, None)
        kinds = dict.fromkeys(closed.type.id for closed in folded.closed)
        silent = [state for kind in kinds for state in self._fallen_silent(kind)]
        for record in records:
            self._owned[record.partition].position = record.offset + 1
        folded.definitions += self._changing.decide(folded.strange, self._owned)
        rosters = {kind: self._folder.arenas[kind].roster() for kind in kinds}
        reached = {partition: Reached(owned.position, self._safe(partition)) for partition, owned in self._owned.items()}
        return FoldedBatch(folded, rosters, silent, reached)

    def score(self, batch: FoldedBatch) -> Outputs:
        """Score a folded batch, in the order of folding; blocks as `fold` does."""
        folded = batch.folded
        by = {partition: Author(owned.epoch, owned.silent_until) for partition, owned in self._owned.items()}
        refused = [one for one in folded.refused if one.record.offset >= by[one.record.partition].silent_until]
        out = Outputs(refused=refused, definitions=folded.definitions, counts=folded.counts.copy(), reached=batch.reached)
        out.counts["refused"] += len(refused)
        for closed in folded.in_order():
            if isinstance(closed, Moved):
                self._scorer(closed.after).take_over(closed.new_row, self._scorer(closed.before), closed.row)
                continue
            scorer, roster = self._scorer(self._folder.arenas[closed.type.id]), batch.rosters[closed.type.id]
            out.counts["steps"] += len(closed)
            out.write(scorer.score(closed, roster), scorer.conditions, roster, self._topics, by)
        for state in batch.silent:
            out.write_state(state, self._topics, by[state.partition].headers)
        return out

    def passed(self, outputs: Outputs) -> None:
        """All before the end of a batch is scored; what is committed may follow once its outputs are acknowledged."""
        for partition, reached in outputs.reached.items():
            self._owned[partition].scored = reached

    def _fallen_silent(self, type_id: str) -> Iterator[TwinState]:
        for state in self._silences.of(self._folder.arenas[type_id]).fallen_silent():
            owned = self._owned[state.partition]
            if owned.position >= owned.silent_until:
                yield state

    def _scorer(self, arena: Arena) -> TypeScorer:
        found = self._scorers.get(arena.type.id)
        if found is None:
            found = self._scorers[arena.type.id] = TypeScorer(arena)
            for partition, owned in self._owned.items():
                current = self._champions.current.get(arena.type.slug)
                if current is not None and arena.type.slug in owned.switches:
                    switches = found.switches.setdefault(partition, Switches())
                    switches.add(owned.switches[arena.type.slug][-1].offset, current[0])
        return found

    # ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def switch_ready(self, now_ns: int) -> list[Announcement]:
        """Switch to versions that became ready, from where each partition is scored; the records that announce it.

        For moments in which no batch is scored; one that is folded meanwhile is scored by the new version.
        """
        announced: list[Announcement] = []
        for name, (served, switch) in self._champions.take_new().items():
            for partition, owned in self._owned.items():
                announced.append(self._add_switch(name, partition, owned, switch, now_ns))
                self._serve(name, partition, owned, served)
            log.info("swap", extra={"model": name, "version": switch.version, "partitions": len(self._owned)})
        announced += [(self._topics.models, 0, models_key(refusal), refusal.to_bytes()) for refusal in self._champions.refusals]
        self._champions.refusals.clear()
        return announced

    def announce_start(self, now_ns: int) -> list[Announcement]:
        """For partitions that no version has served yet: the champion serves from where we start."""
        announced: list[Announcement] = []
        for name, (served, switch) in self._champions.current.items():
            for partition, owned in self._owned.items():
                if name not in owned.switches or owned.switches[name][-1].sha256 != switch.sha256:
                    announced.append(self._add_switch(name, partition, owned, switch, now_ns))
                    self._serve(name, partition, owned, served)
        return announced

    def _serve(self, name: str, partition: int, owned: Owned, served: Served) -> None:
        for scorer in self._scorers.values():
            if scorer.arena.type.slug == name:
                scorer.switches.setdefault(partition, Switches()).add(owned.switches[name][-1].offset, served)

    def _add_switch(self, name: str, partition: int, owned: Owned, switch: Switch, now_ns: int) -> Announcement:
        known = owned.switches.get(name, [])
        at = switch.model_copy(
            update={"offset": max([owned.scored.position, owned.settled_until] + [one.offset for one in known])}
        )
        kept = [one for one in known if one.offset < at.offset]
        floor = sum(one.offset <= owned.begin for one in kept) - 1
        owned.switches[name] = [*kept[max(floor, 0) :][1 - MOST_SWITCHES :], at]
        record = Serving(name=name, partition=partition, epoch=owned.epoch, switches=owned.switches[name], time_ns=now_ns)
        return self._topics.models, 0, models_key(record), record.to_bytes()

    # ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────────

    def commit_offsets(self) -> dict[int, int]:
        """Where each partition may be committed: what is scored, less what still waited for its twin's type."""
        return {partition: max(owned.scored.safe, owned.silent_until) for partition, owned in self._owned.items()}

    def _safe(self, partition: int) -> int:
        position = self._owned[partition].position
        oldest = self._folder.placing.oldest_offset(partition)
        return position if oldest is None else min(position, oldest)

    def checkpoint(self, most: int | None = None) -> tuple[list[CheckpointRecord], list[CheckpointRecord], bool]:
        """Changed twins, `most` or (None) all; to be written after them, the marks, once none is left; whether that was all."""
        cycle = self._cycle
        if most is None or not cycle.under_way:
            twins = (Due(p, asset, arena, row) for p in self._owned for asset, arena, row in self._folder.assets(p))
            cycle.begin(twins, {partition: self._safe(partition) for partition in self._owned})
        records = [record_of(due, self._scorer(due.arena)) for due in cycle.take(most, self._where)]
        marks = []
        for partition, offset in cycle.finished_marks().items():
            if (owned := self._owned.get(partition)) is not None:
                owned.mark = max(owned.mark, offset)
                marks.append((partition, mark_key(partition), mark_value(owned.mark, owned.epoch)))
                for scorer in self._scorers.values():
                    if partition in scorer.switches:
                        scorer.switches[partition].forget_before(owned.mark)
        return records, marks, not cycle.under_way

    def _where(self, asset: str) -> Due | None:
        place = self._folder.on_terms(asset)
        return None if place is None else Due(place.partition, asset, place.arena, place.row)

    def own(self, partition: int, *, position: int, committed: int, epoch: int, begin: int = 0, mark: int = 0) -> Owned:
        """Own a partition whose twins are as the newest checkpoint has them: fold from `position`, silently up to `committed`."""
        scored = Reached(position, position)
        self._owned[partition] = owned = Owned(position, committed, epoch, begin, mark, committed, scored)
        return owned

    async def take_over(self, assigned: set[int], committed: dict[int, int], ends: dict[int, int], epoch: int) -> dict[int, int]:
        """Own exactly `assigned`. Returns where to seek. A partition we held and nobody moved since keeps its state.

        Args:
            assigned: partitions to own.
            committed: where each is committed, or begins.
            ends: where each ends now; an owner before us may have written outputs up to there.
            epoch: generation of the group.
        """
        for partition in list(self._owned):
            if partition not in assigned or committed[partition] != self.commit_offsets()[partition]:
                self._forget(partition)
        seeks: dict[int, int] = {}
        new = assigned - set(self._owned)
        for partition, saved in (await read_checkpoints(self._bootstrap, self._topics, new)).items() if new else ():
            position = max(saved.begin, saved.mark or 0)
            owned = self.own(
                partition,
                position=position,
                committed=committed[partition],
                epoch=saved.epoch,
                begin=saved.begin,
                mark=saved.mark or 0,
            )
            if refused := self._restore(partition, saved):
                log.warning("partition-folded-again", extra={"partition": partition, "from": saved.begin, "refused": refused})
                owned.position = owned.mark = saved.begin
                owned.scored = Reached(saved.begin, saved.begin)
            await self._restore_switches(partition, owned)
            if owned.switches or saved.mark is not None:
                owned.settled_until = ends[partition]
        for partition, owned in self._owned.items():
            known = max([owned.epoch, *(serving.epoch for _, serving in self._recorded(partition))])
            # the group's generation starts over when its offsets expire; an epoch must not, or sinks would ignore us
            owned.epoch = epoch if epoch >= known else known + 1
            seeks[partition] = owned.position
        return seeks

    def _forget(self, partition: int) -> None:
        for asset, arena, row in self._folder.assets(partition):
            self._cycle.saved_offset.pop(asset, None)
            self._scorer(arena).reset(row)
            self._silences.of(arena).reset(row)
        for scorer in self._scorers.values():
            scorer.switches.pop(partition, None)
        self._folder.drop(partition)
        del self._owned[partition]

    def _restore(self, partition: int, saved: PartitionCheckpoint) -> int:
        """Put saved twins into their arenas; how many checkpoints could not be used."""

        def place(asset: str, kind: TwinType) -> tuple[Arena, TypeScorer, int]:
            row, scorer = self._folder.place(asset, kind, partition), self._scorer(self._folder.arenas[kind.id])
            scorer.reset(row)
            return scorer.arena, scorer, row

        restored = restore_twins(saved, self._definitions.types, place)
        for asset, offset in restored.items():
            self._folder.resume(asset, offset)
        self._cycle.saved_offset.update(restored)
        return saved.refused + len(saved.twins) - len(restored)

    async def _restore_switches(self, partition: int, owned: Owned) -> None:
        """The versions that scored this partition before us, at the same offsets."""
        for name, serving in self._recorded(partition):
            kind = self._definitions.by_slug(name)
            if kind is None:
                continue
            scorer = self._scorer(self._folder.arena(kind))
            table = scorer.switches.setdefault(partition, Switches())
            for switch in serving.switches[max(sum(one.offset <= owned.position for one in serving.switches) - 1, 0) :]:
                try:
                    served = await self._champions.shelf.past(switch, kind.contract)
                except VersionRefused as refusal:
                    log.error("past-version-missing", extra={"model": name, "version": switch.version, "found": str(refusal)})
                    continue
                table.add(switch.offset, served)
            owned.switches[name] = list(serving.switches)

    def _recorded(self, partition: int) -> Iterator[tuple[str, Serving]]:
        for name in list(self._view.models):
            serving = self._view.serving(name, partition)
            if serving is not None:
                yield name, serving

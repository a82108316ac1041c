"""The twins of the partitions a processor owns: fold, score, build outputs, switch versions, save and take over.

In:   records of owned partitions, loaded versions, checkpoints.
Out:  `Outputs` of a micro-batch; records to announce switches; checkpoints. No Kafka client here but for reading checkpoints.

A batch may be folded while the one before it is scored: `fold` and `score` share nothing that changes. All else is for moments in
which neither runs, or, where it says so, in which no batch is scored.
"""

from __future__ import annotations

import asyncio
import logging
import operator
import uuid
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from streams import clients
from streams.alarm_rate_report import EVERY_S, AlarmRateReport
from streams.alarm_rates import AlarmRate
from streams.changing import Changing
from streams.checkpoint import WRITER_HEADER, mark_key, mark_value, owner_key, twin_key
from streams.checkpoint_cycle import CheckpointCycle, CheckpointRecord, Due, record_of
from streams.definitions import Definitions
from streams.folded import Moved
from streams.folding import Folder
from streams.micro_batch import Announcement, Author, FoldedBatch, Outputs, Reached
from streams.models_topic import ModelsView
from streams.owned import Owned
from streams.past_versions import PastOf, recorded
from streams.records import TwinState
from streams.recovery import PartitionCheckpoint, read_checkpoints, restore_twins
from streams.scoring import TypeScorer
from streams.serving import Champions
from streams.silence import silent_states
from streams.switching import Switching
from streams.topics import Topics
from twin.arena import Arena, ClosedSteps
from twin.types import TwinType

log = logging.getLogger(__name__)

_offset = operator.attrgetter("offset")


class Partitions:
    """State of all owned partitions."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        definitions: Definitions,
        view: ModelsView,
        champions: Champions,
        past: PastOf,
        *,
        rates_every_s: float = EVERY_S,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._view = view
        self._definitions = definitions
        self._folder = Folder(definitions, claims=True)
        self._changing = Changing(definitions, self._folder)
        self._owned: dict[int, Owned] = {}
        self.switching = Switching(topics, definitions, champions, past, self._owned)
        self._cycle = CheckpointCycle()
        self._rates = AlarmRateReport(rates_every_s)

    @property
    def live(self) -> set[int]:
        return set(self._owned)

    # ── one micro-batch ─────────────────────────────────────────────────────────────────────────────────────────────

    def wanted(self, found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> list[ConsumerRecord]:
        """Records of owned partitions at or after our position: a rebalance may leave others in the fetch buffer.

        Args:
            found: records of each partition in the order of their offsets.
        """
        wanted: list[ConsumerRecord] = []
        for place, records in found.items():
            owned = self._owned.get(place.partition)
            if owned is not None:
                wanted += records[bisect_left(records, owned.position, key=_offset) :]
        return wanted

    @property
    def undeclared(self) -> bool:
        """Whether records wait whose asset would get its type now, were the definitions known to be complete."""
        return bool(self._folder.placing.tellable())

    def fold(self, records: list[ConsumerRecord], *, infer: bool = False) -> FoldedBatch:
        """Fold records in log order, for `score`; blocks, so callers use a thread. `infer`: see `Folder.fold`."""
        folded = self._folder.fold(records, infer=infer)
        for moved in folded.moved:
            self._cycle.saved_offset.pop(moved.asset, None)
        kinds = dict.fromkeys(closed.type.id for closed in folded.closed)
        for partition, newest in {record.partition: record.offset for record in records}.items():
            self._owned[partition].position = newest + 1
        silent = [state for closed in folded.closed if closed.falls for state in self._fallen_silent(closed)]
        folded.definitions += self._changing.decide(folded.strange, folded.strange_units, self._owned)
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
                self.switching.scorer(closed.after).take_over(closed.new_row, self.switching.scorer(closed.before), closed.row)
                continue
            scorer, roster = self.switching.scorer(self._folder.arenas[closed.type.id]), batch.rosters[closed.type.id]
            out.counts["steps"] += len(closed)
            scored = scorer.score(closed, roster)
            for partition, time_ns in scored.newest_ns().items():
                newest = self._owned[partition].newest_ns
                newest[closed.type.slug] = max(time_ns, newest.get(closed.type.slug, time_ns))
            out.write(scored, scorer.conditions, roster, self._topics, by)
        out.records += [(self._topics.monitoring, 0, rate.key, rate.to_bytes(), []) for rate in self._told(batch)]
        for state in batch.silent:
            out.write_state(state, self._topics, by[state.partition].headers)
        out.announced = self.switching.inherited()
        return out

    def _told(self, batch: FoldedBatch) -> Iterator[AlarmRate]:
        """How often the twins of each type alarmed, once in a while, of partitions whose outputs are new."""
        new = {p: owned for p, owned in self._owned.items() if batch.reached[p].position >= owned.silent_until}
        for type_id, roster in batch.rosters.items():
            yield from self._rates.due(self.switching.scorers[type_id], roster, new)

    def passed(self, outputs: Outputs) -> None:
        """All before the end of a batch is scored; what is committed may follow once its outputs are acknowledged."""
        for partition, reached in outputs.reached.items():
            self._owned[partition].scored = reached

    def _fallen_silent(self, closed: ClosedSteps) -> Iterator[TwinState]:
        arena = self._folder.arenas[closed.type.id]
        for fall in closed.falls:  # which changes a twin that has folded nothing
            self._cycle.saved_offset.pop(arena.asset_of[fall.row] or "", None)
        for fall, state in silent_states(arena, closed.falls):
            if fall.offset >= self._owned[fall.partition].silent_until:
                yield state

    # ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────────

    def commit_offsets(self) -> dict[int, int]:
        """Where each partition may be committed: what is scored, less what still waited for its twin's type."""
        return {partition: max(owned.scored.safe, owned.silent_until) for partition, owned in self._owned.items()}

    def _safe(self, partition: int) -> int:
        position = self._owned[partition].position
        oldest = self._folder.placing.oldest_offset(partition)
        return position if oldest is None else min(position, oldest)

    def checkpoint(self, most: int, *, anew: bool = False) -> tuple[list[CheckpointRecord], list[CheckpointRecord], bool]:
        """Up to `most` changed twins; to be written after them, the marks, once none is left; whether that was all.

        Args:
            anew: begin with where the partitions stand now, also where an earlier cycle is under way.
        """
        cycle = self._cycle
        if anew or not cycle.under_way:
            twins = (Due(p, asset, arena, row) for p in self._owned for asset, arena, row in self._folder.assets(p))
            cycle.begin(twins, {partition: self._safe(partition) for partition in self._owned})
        records = [record_of(due, self.switching.scorer(due.arena)) for due in cycle.take(most, self._where)]
        marks: list[CheckpointRecord] = []
        for partition, offset in cycle.finished_marks().items():
            if (owned := self._owned.get(partition)) is not None:
                owned.mark = max(owned.mark, offset)
                marks.append((partition, mark_key(partition), mark_value(owned.mark, owned.epoch)))
                held = {twin_key(asset) for asset, _, _ in self._folder.assets(partition)} if owned.refused else set()
                marks += [(partition, key, None) for key in owned.withdrawn(held | {mark_key(partition)})]
                marks += [(partition, key, None) for key in sorted(owned.earlier)]
                owned.earlier.clear()
                self.switching.forget_before(partition, owned.mark)
        return records, marks, not cycle.under_way

    def written_by(self, partition: int) -> list[tuple[str, bytes]]:
        """Headers of a checkpoint."""
        return [(WRITER_HEADER, self._owned[partition].writer.encode())]

    def _where(self, asset: str) -> Due | None:
        place = self._folder.on_terms(asset)
        return None if place is None else Due(place.partition, asset, place.arena, place.row, place.units)

    def own(self, partition: int, *, position: int, committed: int, epoch: int, begin: int = 0, mark: int = 0) -> Owned:
        """Own a partition whose twins are as the newest checkpoint has them: fold from `position`, silently up to `committed`."""
        scored = Reached(position, position)
        self._owned[partition] = owned = Owned(position, committed, epoch, begin, mark, committed, scored)
        return owned

    async def take_over(
        self,
        committed: dict[int, int],
        ends: dict[int, int],
        written: set[int],
        epoch: int,
        announce: Callable[[list[Announcement]], Awaitable[None]],
    ) -> dict[int, int]:
        """Own exactly these partitions. Returns where to seek. One that we held and nobody moved since keeps its state.

        Args:
            committed: where each is committed, or begins.
            ends: where each ends now.
            written: those of which somebody has written history: up to where they end, for all we know.
            epoch: generation of the group.
            announce: writes records; returns when the broker has acknowledged them.
        """
        for partition in list(self._owned):
            if committed.get(partition) != self.commit_offsets()[partition]:
                self._forget(partition)
        seeks: dict[int, int] = {}
        new, writer = committed.keys() - set(self._owned), uuid.uuid4().hex
        await announce([(self._topics.checkpoint, partition, owner_key(writer), b"{}") for partition in sorted(new)])
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
            owned.writer, owned.earlier = writer, saved.owners - {owner_key(writer)}
            await asyncio.to_thread(self._restore, partition, saved)  # minutes of Python for a large fleet: heartbeats must go on
            if saved.refused:
                found = {"partition": partition, "from": saved.begin, "refused": len(saved.refused)}
                log.warning("partition-folded-again", extra=found)
                owned.refused = set(saved.refused)
                owned.position = owned.mark = saved.begin
                owned.scored = Reached(saved.begin, saved.begin)
            await self.switching.restore(partition, owned, ends[partition], self._folder.arena)
            if not saved.anew and (owned.switches or saved.mark is not None or partition in written):
                owned.settled_until = ends[partition]
        for partition, owned in self._owned.items():
            known = max([owned.epoch, *(serving.epoch for _, serving in recorded(self._view, partition))])
            # the group's generation starts over when its offsets expire; an epoch must not, or sinks would ignore us
            owned.epoch = epoch if epoch >= known else known + 1
            seeks[partition] = owned.position
        await self._change_since(new, ends)
        return seeks

    async def _change_since(self, partitions: Collection[int], ends: Mapping[int, int]) -> None:
        """Twins that were declared anew while nobody owned them: the new terms hold from the moment of the declaration on."""
        declared_ms, moments = self._definitions.declared_ms, dict[str, tuple[int, int]]()
        for asset in sorted(self._definitions.redeclared & declared_ms.keys()):
            place = self._folder.on_terms(asset)
            if place is not None and place.partition in partitions:
                moments[asset] = place.partition, declared_ms[asset]
        if moments:
            found = await clients.offsets_at(self._bootstrap, self._topics.telemetry, set(moments.values()))
            for asset, moment in moments.items():
                self._changing.change_since(asset, found.get(moment, ends[moment[0]]), self._owned)

    def _forget(self, partition: int) -> None:
        for asset, arena, row in self._folder.assets(partition):
            self._cycle.saved_offset.pop(asset, None)
            self.switching.scorer(arena).reset(row)
        self.switching.forget(partition)
        self._folder.drop(partition)
        del self._owned[partition]

    def _restore(self, partition: int, saved: PartitionCheckpoint) -> None:
        """Put saved twins into their arenas."""

        def place(asset: str, kind: TwinType) -> tuple[Arena, TypeScorer, int]:
            row, scorer = self._folder.place(asset, kind, partition), self.switching.scorer(self._folder.arenas[kind.id])
            scorer.reset(row)
            return scorer.arena, scorer, row

        restored = restore_twins(saved, self._definitions.types, place)
        for asset, offset in restored.items():
            self._folder.resume(asset, offset, saved.twins[asset].units)
        self._cycle.saved_offset.update(restored)

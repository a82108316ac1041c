"""Replay: store and alerts of a period rebuilt from Kafka, through the code that serves.

In:   `telemetry`, `definitions`, `models` (which version served from which offset on), operators' commands in `alerting.inbox`.
Out:  closed steps and alerts of the period in a store; nothing is written to Kafka, no group moves.

Twins are folded from where the log begins, since windows, risk and conditions of a step reach back as far as the log does;
only what falls into the period is written. So a replay is as exact as the log and the version files are complete: versions
that can't be loaded are told, and the steps they served are scored by nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import numpy as np
from aiokafka import ConsumerRecord

from models.port import VersionRefused
from streams import clients, outputs
from streams.alert_replay import AlertReplay
from streams.definitions import Definitions, read_definitions
from streams.folded import Moved
from streams.folding import Folder
from streams.history import HistoryBlock
from streams.models_topic import ModelsView
from streams.records import Alert
from streams.replaying import read_up_to
from streams.scoring import Switches, TypeScorer
from streams.serving import VersionShelf
from streams.stores.port import TwinStore
from streams.topics import Topics
from twin.arena import Arena

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 20_000  # steps given to the store in one write


@dataclass(slots=True)
class ReplayReport:
    """What a replay did."""

    counts: Counter[str] = field(default_factory=Counter)  # records, refused, steps, written, signals, commands, alerts
    missing_versions: list[str] = field(default_factory=list)


class PeriodReplay:
    """Twins of all partitions, folded and scored from the beginning of the log."""

    def __init__(self, definitions: Definitions, switches: dict[str, dict[int, Switches]], *, from_ns: int, to_ns: int) -> None:
        self._folder = Folder(definitions)
        self._switches = switches  # model name → partition → who scored from which offset on
        self._scorers: dict[str, TypeScorer] = {}
        self._from_ns, self._to_ns = from_ns, to_ns
        self.alerts = AlertReplay()
        self.counts: Counter[str] = Counter()

    def fold(self, records: Iterable[ConsumerRecord]) -> list[HistoryBlock]:
        """Fold records in log order; the steps of the period among those that closed."""
        folded = self._folder.fold(records)
        self.counts["records"] += folded.counts["records"]
        self.counts["refused"] += len(folded.refused)
        blocks: list[HistoryBlock] = []
        for closed in folded.in_order():
            if isinstance(closed, Moved):
                self._scorer(closed.after).take_over(closed.new_row, self._scorer(closed.before), closed.row)
                continue
            arena = self._folder.arenas[closed.type.id]
            scorer = self._scorer(arena)
            scored = scorer.score(closed)
            assets = [asset or "" for asset in arena.asset_of]
            within = (closed.time_ns >= self._from_ns) & (closed.time_ns < self._to_ns)
            epochs = dict.fromkeys(np.unique(scored.partition).tolist(), 0)
            blocks += outputs.history(scored, within, assets, epochs)
            for transition in scored.transitions:
                self.alerts.take(outputs.signal(scored, transition, scorer.conditions, assets))
            self.counts["steps"] += len(closed)
        return blocks

    def _scorer(self, arena: Arena) -> TypeScorer:
        found = self._scorers.get(arena.type.id)
        if found is None:
            found = self._scorers[arena.type.id] = TypeScorer(arena)
            found.switches = self._switches.get(arena.type.slug, {})
        return found


async def replay_period(
    bootstrap: str,
    topics: Topics,
    store: TwinStore,
    *,
    from_ns: int,
    to_ns: int,
    batch_records: int = 5_000,
    on_progress: Callable[[int, int], None] = lambda done, all_: None,
) -> ReplayReport:
    """Rebuild from_ns <= event time < to_ns into a store; what is there already is written again as the same.

    Args:
        batch_records: telemetry folded at once; changes nothing but the speed.
        on_progress: told the records done and all there are.
    """
    report = ReplayReport()
    definitions = await read_definitions(bootstrap, topics)
    switches = await _switches(bootstrap, topics, definitions, report)
    replay = PeriodReplay(definitions, switches, from_ns=from_ns, to_ns=to_ns)
    replay.alerts.know(await clients.read_to_end(bootstrap, topics.alerting_inbox))
    async with AsyncExitStack() as opening:
        consumer = clients.consumer(bootstrap, topics.telemetry, client_id="livetwin-replay")
        await consumer.start()
        opening.push_async_callback(consumer.stop)
        partitions = sorted(consumer.assignment())
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, begins[partition])
        total, done = sum(ends.values()) - sum(begins.values()), 0
        waiting: list[HistoryBlock] = []
        async for records in read_up_to(consumer, ends, max_records=batch_records):
            waiting += await asyncio.to_thread(replay.fold, records)
            done += len(records)
            if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
                report.counts["written"] += await asyncio.to_thread(_write, store, waiting)
                waiting = []
            on_progress(done, total)
        report.counts["written"] += await asyncio.to_thread(_write, store, waiting)
    alerts = [alert for alert in replay.alerts.finished() if _active_within(alert, from_ns, to_ns)]
    await asyncio.to_thread(store.write_alerts, alerts)
    report.counts.update(replay.counts)
    report.counts.update(replay.alerts.counts)
    report.counts["alerts"] = len(alerts)
    return report


def _write(store: TwinStore, blocks: list[HistoryBlock]) -> int:
    if blocks:
        store.write_history(blocks)
    return sum(map(len, blocks))


def _active_within(alert: Alert, from_ns: int, to_ns: int) -> bool:
    return alert.onset_ns < to_ns and (alert.cleared_ns is None or alert.cleared_ns >= from_ns)


async def _switches(
    bootstrap: str, topics: Topics, definitions: Definitions, report: ReplayReport
) -> dict[str, dict[int, Switches]]:
    """Who scored which stretch of which partition, with the versions loaded."""
    view, shelf = ModelsView(), VersionShelf()
    for record in await clients.read_to_end(bootstrap, topics.models):
        view.apply(record.key, record.value)
    found: dict[str, dict[int, Switches]] = {}
    for name, model in sorted(view.models.items()):
        kind = definitions.by_slug(name)
        if kind is None:
            continue
        for partition, serving in sorted(model.serving.items()):
            table = found.setdefault(name, {}).setdefault(partition, Switches())
            for switch in serving.switches:
                try:
                    served = await shelf.get(uri=switch.uri, sha256=switch.sha256, contract=kind.contract)
                except VersionRefused as refusal:
                    told = f"{name} {switch.version} from offset {switch.offset} of partition {partition}: {refusal}"
                    log.error("past-version-missing", extra={"found": told})
                    report.missing_versions.append(told)
                    continue
                table.add(switch.offset, served)
    return found

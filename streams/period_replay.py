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
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
from aiokafka import ConsumerRecord
from numpy.typing import NDArray

from models.weight_sources import WeightSources
from streams import clients, outputs
from streams.alert_replay import AlertReplay
from streams.definitions import Definitions, read_definitions
from streams.folded import Moved
from streams.folding import Folder
from streams.history import HistoryBlock
from streams.models_topic import read_models
from streams.past_versions import past_versions
from streams.records import Alert
from streams.refusals import listed
from streams.replaying import read_up_to
from streams.scoring import Switches, TypeScorer
from streams.serving import VersionShelf
from streams.signals import signals
from streams.stores.port import TwinStore
from streams.topics import Topics
from twin.arena import Arena
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 20_000  # steps given to the store in one write


class TwinUnknown(LivetwinError):
    """An asset that is no twin was asked for."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay did."""

    counts: Counter[str] = field(default_factory=Counter)  # records, refused, steps, written, signals, commands, alerts
    missing_versions: list[str] = field(default_factory=list)
    held: tuple[int, int] | None = None  # event times of the first and the last step that the log holds, of these twins
    dropped: dict[int, int] = field(default_factory=dict)  # partition → offset before which retention has dropped telemetry


class PeriodReplay:
    """Twins of all partitions, folded and scored from the beginning of the log."""

    def __init__(
        self,
        definitions: Definitions,
        switches: dict[str, dict[int, Switches]],
        *,
        from_ns: int,
        to_ns: int,
        assets: Collection[str] = (),
    ) -> None:
        self._folder = Folder(definitions)
        self._assets = frozenset(assets)
        self.held: tuple[int, int] | None = None
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
            mine = self._asked(closed.row, assets)
            within = mine & (closed.time_ns >= self._from_ns) & (closed.time_ns < self._to_ns)
            if mine.any():
                first, last = int(closed.time_ns[mine].min()), int(closed.time_ns[mine].max())
                self.held = (first, last) if self.held is None else (min(self.held[0], first), max(self.held[1], last))
            epochs = dict.fromkeys(np.unique(scored.partition).tolist(), 0)
            blocks += outputs.history(scored, within, assets, epochs)
            for signal in signals(scored, scored.transitions, scorer.conditions, assets):
                self.alerts.take(signal)
            self.counts["steps"] += len(closed)
        return blocks

    def _asked(self, row: NDArray[np.int64], assets: list[str]) -> NDArray[np.bool_]:
        """Which of these rows are of twins that were asked for."""
        if not self._assets:
            return np.ones(len(row), np.bool_)
        return np.isin(row, [at for at, asset in enumerate(assets) if asset in self._assets])

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
    assets: Collection[str] = (),
    batch_records: int = 5_000,
    weights: WeightSources | None = None,
    on_progress: Callable[[int, int], None] = lambda done, all_: None,
) -> ReplayReport:
    """Rebuild from_ns <= event time < to_ns into a store; what is there already is written again as the same.

    Args:
        assets: write these twins alone; none: all.
        batch_records: telemetry folded at once; changes nothing but the speed.
        weights: where versions are looked for; None: where `models` says, and nowhere else.
        on_progress: told the records done and all there are.

    Raises:
        TwinUnknown: one of `assets` never was a twin here; nothing was written.
    """
    report = ReplayReport()
    definitions = await read_definitions(bootstrap, topics)
    _refuse_unknown(assets, definitions)
    switches = await _switches(bootstrap, topics, definitions, weights or WeightSources(), report)
    replay = PeriodReplay(definitions, switches, from_ns=from_ns, to_ns=to_ns, assets=assets)
    replay.alerts.know(await clients.read_to_end(bootstrap, topics.alerting_inbox))
    async with AsyncExitStack() as opening:
        consumer = clients.consumer(bootstrap, topics.telemetry, client_id="livetwin-replay")
        await consumer.start()
        opening.push_async_callback(consumer.stop)
        partitions = sorted(consumer.assignment())
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, begins[partition])
        report.dropped = {partition.partition: begin for partition, begin in begins.items() if begin > 0}
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
    alerts = [alert for alert in alerts if not assets or alert.asset in assets]
    await asyncio.to_thread(store.write_alerts, alerts)
    report.held = replay.held
    report.counts.update(replay.counts)
    report.counts.update(replay.alerts.counts)
    report.counts["alerts"] = len(alerts)
    return report


def _refuse_unknown(assets: Collection[str], definitions: Definitions) -> None:
    """Every asset that ever was a twin is declared, or has a home."""
    unknown = [asset for asset in assets if definitions.fleet.get(asset) is None and definitions.homes.of(asset) is None]
    if unknown:
        near = get_close_matches(unknown[0], [twin.asset for twin in definitions.fleet.twins()], n=3)
        hint = f", nearest: {', '.join(near)}" if near else ""
        raise TwinUnknown(f"{listed(unknown)}: no twin of that name is declared or was ever seen{hint}; nothing was written")


def _write(store: TwinStore, blocks: list[HistoryBlock]) -> int:
    if blocks:
        store.write_history(blocks)
    return sum(map(len, blocks))


def _active_within(alert: Alert, from_ns: int, to_ns: int) -> bool:
    return alert.onset_ns < to_ns and (alert.cleared_ns is None or alert.cleared_ns >= from_ns)


async def _switches(
    bootstrap: str, topics: Topics, definitions: Definitions, weights: WeightSources, report: ReplayReport
) -> dict[str, dict[int, Switches]]:
    """Who scored which stretch of which partition, with the versions loaded."""
    view, shelf = await read_models(bootstrap, topics), VersionShelf(weights)
    found: dict[str, dict[int, Switches]] = {}
    for name, model in sorted(view.models.items()):
        kind = definitions.by_slug(name)
        if kind is None:
            continue
        for partition, serving in sorted(model.serving.items()):
            past = await past_versions(shelf, serving.switches, kind.contract)
            found.setdefault(name, {})[partition] = past.table
            for switch, refusal in past.missing:
                told = f"{name} {switch.version} from offset {switch.offset} of partition {partition}: {refusal}"
                log.error("past-version-missing", extra={"found": told})
                report.missing_versions.append(told)
    return found

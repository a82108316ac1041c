"""The undisturbed run: one process, one pass over the log, nothing ever goes away. What a disturbed run must equal.

In:   the records of `telemetry` as they lie in the log, declarations, and which version served from which offset on.
Out:  history, signals, states, dead letters and alerts, as bytes or tuples, by key.
It is made of the product's own parts for one record at a time (`Folder`, `TypeScorer`, `outputs`, `fold_signal`), without
Kafka, consumer groups, checkpoints, stores or processes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord

from streams import outputs
from streams.alert_records import alert_record, condition_signal, operator_command
from streams.canary import InForce
from streams.definitions import Definitions
from streams.folding import Folder
from streams.history import HistoryBlock
from streams.records import AlertCommand, Signal
from streams.scoring import Switches, TypeScorer
from streams.signals import signals
from twin.alert_command import fold_command
from twin.alert_state import AssetAlerts, Folded, fold_signal


def history_rows(block: HistoryBlock) -> dict[tuple[str, int], tuple[object, ...]]:
    """(asset, time) → all that the block says of that step, exactly."""
    return {
        (asset, int(block.time_ns[index])): (
            block.values[index].tobytes(), block.quality[index].tobytes(), block.expected[index].tobytes(),
            block.spread[index].tobytes(), float(block.score[index]), float(block.risk[index]), block.version[index],
        )
        for index, asset in enumerate(block.asset)
    }  # fmt: skip


@dataclass
class Results:
    """What a run wrote, by key."""

    history: dict[Any, Any] = field(default_factory=dict)  # (asset, time_ns) → row
    signals: dict[Any, bytes] = field(default_factory=dict)  # (asset, condition, time_ns) → record
    refused: dict[Any, Any] = field(default_factory=dict)  # (partition, offset) of telemetry → reason, message, value
    alerts: dict[Any, bytes] = field(default_factory=dict)  # (id, revision) → record
    states: dict[str, bytes] = field(default_factory=dict)  # asset → record, of its last closed step
    definitions: dict[bytes, bytes] = field(default_factory=dict)  # made for assets that nobody had declared


class Undisturbed:
    """Folds on, round by round."""

    def __init__(self) -> None:
        self.results = Results()
        self.blocks: list[HistoryBlock] = []
        self.definitions = Definitions()
        self.records = 0
        self._folder = Folder(self.definitions)
        self._scorers: dict[str, TypeScorer] = {}
        self._switches: dict[tuple[str, int], list[tuple[int, InForce]]] = {}
        self._alerts: dict[str, AssetAlerts] = {}

    def declare(self, key: bytes, value: bytes) -> None:
        self.definitions.apply(key, value)

    def serve(self, slug: str, partition: int, switches: list[tuple[int, InForce]]) -> None:
        """Versions of one model and partition with the offsets they serve from, all of them, in order."""
        self._switches[slug, partition] = switches
        for scorer in self._scorers.values():
            if scorer.arena.type.slug == slug:
                scorer.switches[partition] = _switches(switches)

    def fold(self, records: list[ConsumerRecord]) -> None:
        """Records of `telemetry` in log order within each partition, one at a time."""
        for record in records:
            self._fold([record])
        self._fold([])  # whose asset was declared since it came

    def command(self, command: AlertCommand) -> None:
        """Something an operator said, after all signals so far."""
        self._take_alerts(command.asset, fold_command(self._of(command.asset), operator_command(command)))

    def _fold(self, records: list[ConsumerRecord]) -> None:
        folded = self._folder.fold(records, infer=True)
        self.records += len(records)
        self.results.definitions.update(folded.definitions)
        for one in folded.refused:
            place = one.record.partition, one.record.offset
            assert place not in self.results.refused, f"{place} was refused twice"
            self.results.refused[place] = (one.reason, one.message[:4000], one.record.value)
        for closed in folded.closed:
            scorer = self._scorer(closed.type.id)
            scored = scorer.score(closed)
            assets = [asset or "" for asset in scorer.arena.asset_of]
            everything = np.ones(len(closed), np.bool_)
            for block in outputs.history(scored, everything, assets, dict.fromkeys(range(64), 1)):
                self.blocks.append(HistoryBlock.from_bytes(block.to_bytes()))
                for key, row in history_rows(self.blocks[-1]).items():
                    assert key not in self.results.history, f"{key} was closed twice"
                    self.results.history[key] = row
            for state in outputs.states(scored, everything, assets, scorer.conditions):
                self.results.states[state.asset] = state.to_bytes()
            for signal in signals(scored, scored.transitions, scorer.conditions, assets):
                self._signal(signal)

    def _scorer(self, type_id: str) -> TypeScorer:
        if type_id not in self._scorers:
            arena = self._folder.arenas[type_id]
            scorer = self._scorers[type_id] = TypeScorer(arena)
            for (slug, partition), switches in self._switches.items():
                if slug == arena.type.slug:
                    scorer.switches[partition] = _switches(switches)
        return self._scorers[type_id]

    def _signal(self, signal: Signal) -> None:
        self.results.signals[signal.asset, signal.condition, signal.time_ns] = signal.to_bytes()
        self._take_alerts(signal.asset, fold_signal(self._of(signal.asset), condition_signal(signal)))

    def _of(self, asset: str) -> AssetAlerts:
        return self._alerts.get(asset, AssetAlerts())

    def _take_alerts(self, asset: str, folded: Folded) -> None:
        self._alerts[asset] = folded.asset
        for state in folded.changed:
            alert = alert_record(asset, state)
            self.results.alerts[alert.id, alert.revision] = alert.to_bytes()


def _switches(pairs: list[tuple[int, InForce]]) -> Switches:
    made = Switches()
    for offset, served in pairs:
        made.add(offset, served)
    return made


def differences(found: dict[Any, Any], expected: dict[Any, Any], what: str) -> str:
    """What is missing, too many or different, a few of each in words; nothing when they are equal."""
    out = io.StringIO()
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = [key for key in expected.keys() & found.keys() if expected[key] != found[key]]
    for word, keys in (("missing", missing), ("not expected", extra), ("different", other)):
        if keys:
            shown = sorted(keys, key=repr)[:4]
            out.write(f"{what}: {len(keys)} of {len(expected)} {word}, such as {shown}\n")
            for key in shown[:2]:
                out.write(f"    found    {found.get(key)!r}\n    expected {expected.get(key)!r}\n")
    return out.getvalue()

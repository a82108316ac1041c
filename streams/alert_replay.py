"""Alerts rebuilt from replayed signals, through the lifecycle that serves, with the commands where the log has them.

In:   signals of a replay, an asset's in order; the records of `alerting.inbox`, which order commands among signals.
Out:  the newest revision of every alert.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from streams.alert_records import alert_record, condition_signal, operator_command
from streams.alert_routing import KIND_HEADER, header
from streams.records import Alert, AlertCommand, Signal
from twin.alert_command import CommandRefused, fold_command
from twin.alert_state import AssetAlerts, Folded, fold_signal

_Told = tuple[str, int, str]  # what names a signal of one asset: condition, event time, kind


class AlertReplay:
    """Alert states of all assets of a replay."""

    def __init__(self) -> None:
        self._assets: dict[str, AssetAlerts] = defaultdict(AssetAlerts)
        self._alerts: dict[str, Alert] = {}
        self._commands: dict[str, dict[_Told | None, list[AlertCommand]]] = defaultdict(lambda: defaultdict(list))
        self.counts: Counter[str] = Counter()  # signals, commands, commands-refused

    def know(self, inbox: Iterable[ConsumerRecord]) -> None:
        """Take the commands, each with the last new signal of its asset before it."""
        seen: dict[str, dict[_Told, None]] = defaultdict(dict)
        for record in inbox:
            try:
                if header(record, KIND_HEADER) == b"command":
                    command = AlertCommand.model_validate_json(record.value or b"")
                    last = next(reversed(seen[command.asset]), None)
                    self._commands[command.asset][last].append(command)
                else:
                    signal = Signal.model_validate_json(record.value or b"")
                    seen[signal.asset].setdefault(_told(signal))
            except ValidationError:
                continue  # refused by the lifecycle, too

    def take(self, signal: Signal) -> None:
        """Fold one signal, and the commands that came after it."""
        asset = signal.asset
        if None in self._commands[asset]:
            self._command(asset, None)
        self._change(asset, fold_signal(self._assets[asset], condition_signal(signal)))
        self.counts["signals"] += 1
        self._command(asset, _told(signal))

    def finished(self) -> list[Alert]:
        """Newest revisions, by id. Commands behind signals that the log no longer gives come last."""
        for asset, waiting in self._commands.items():
            for told in list(waiting):
                self._command(asset, told)
        return [self._alerts[key] for key in sorted(self._alerts)]

    def _command(self, asset: str, told: _Told | None) -> None:
        for command in self._commands[asset].pop(told, ()):
            try:
                self._change(asset, fold_command(self._assets[asset], operator_command(command)))
                self.counts["commands"] += 1
            except CommandRefused:
                self.counts["commands-refused"] += 1

    def _change(self, asset: str, folded: Folded) -> None:
        self._assets[asset] = folded.asset
        for state in folded.changed:
            alert = alert_record(asset, state)
            self._alerts[alert.id] = alert


def _told(signal: Signal) -> _Told:
    return signal.condition, signal.time_ns, signal.kind

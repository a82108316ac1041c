"""Live views folded from topics: twins, alerts, events, faults of the demo, refused records. What lists and pages show.

In:   records in log order, per topic.
Out:  the newest state of everything, bounded; `revision` grows with each change, so that a page knows when to look again.
Pure: no clock, no I/O. A record that can't be read is skipped and counted; a record of an older epoch changes nothing.
"""

from __future__ import annotations

import bisect
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from streams.alarm_rates import AlarmRate, ModelAlarms, of_model
from streams.arrivals import Arrivals
from streams.definitions import Definitions
from streams.models_topic import ModelsView
from streams.records import Alert, DemoCommand, EventRecord, TwinState
from streams.usage import ProcessorUsage
from twin.alert_likeness import Signature, signature

log = logging.getLogger(__name__)

MOST_ALERTS = 10_000
MOST_FAULT_EVENTS = 500
MOST_DEAD_LETTERS = 50
MOST_EVENTS_OF_AN_ASSET = 20
MOST_ASSETS_WITH_EVENTS = 10_000
MOST_EVENT_TEXT = 300  # characters
MOST_PROCESSORS = 64


class TwinsView:
    """`twin.state`: last closed step of each twin, by asset id."""

    def __init__(self) -> None:
        self.revision = 0
        self.newest_ns: int | None = None
        self._states: dict[str, TwinState] = {}
        self._ids: list[str] = []
        self._epochs: dict[int, int] = {}  # partition → the highest seen

    def __len__(self) -> int:
        return len(self._states)

    def get(self, asset: str) -> TwinState | None:
        return self._states.get(asset)

    def after(self, asset: str | None = None) -> Iterator[TwinState]:
        """States by asset id, from the one after `asset`."""
        start = 0 if asset is None else bisect.bisect_right(self._ids, asset)
        return (self._states[known] for known in self._ids[start:])

    def of_current_owner(self, partition: int, epoch: int | None) -> bool:
        """Whether a record's epoch counts: not lower than the highest seen of its partition."""
        if epoch is None:
            return True
        if epoch < self._epochs.get(partition, epoch):
            return False
        self._epochs[partition] = epoch
        return True

    def put(self, state: TwinState) -> bool:
        """Whether it changed the view: an older step never replaces a newer one."""
        known = self._states.get(state.asset)
        if known is None:
            bisect.insort(self._ids, state.asset)
        elif state.time_ns < known.time_ns or state == known:
            return False
        self._states[state.asset] = state
        self.newest_ns = max(self.newest_ns or state.time_ns, state.time_ns)
        self.revision += 1
        return True

    def remove(self, asset: str) -> bool:
        if self._states.pop(asset, None) is None:
            return False
        del self._ids[bisect.bisect_left(self._ids, asset)]
        self.revision += 1
        return True


class AlertsView:
    """`alerts`: newest revision of each alert. Past MOST_ALERTS the oldest cleared ones are left to the store."""

    def __init__(self) -> None:
        self.revision = 0
        self._alerts: dict[str, Alert] = {}
        self._signatures: dict[str, Signature] = {}  # of those that were asked for, at their present revision

    def __len__(self) -> int:
        return len(self._alerts)

    def get(self, alert_id: str) -> Alert | None:
        return self._alerts.get(alert_id)

    def all(self) -> Collection[Alert]:
        return self._alerts.values()

    def signature(self, alert: Alert) -> Signature:
        """What the alert looks like (`twin.alert_likeness`)."""
        known = self._signatures.get(alert.id)
        if known is None:
            known = signature(alert.evidence.model_dump())
            if self._alerts.get(alert.id) is alert:
                self._signatures[alert.id] = known
        return known

    def newest_first(self) -> list[Alert]:
        return sorted(self._alerts.values(), key=lambda alert: (alert.onset_ns, alert.id), reverse=True)

    def active(self) -> list[Alert]:
        return [alert for alert in self.newest_first() if alert.state == "active"]

    def of(self, asset: str) -> list[Alert]:
        return [alert for alert in self.newest_first() if alert.asset == asset]

    def put(self, alert: Alert) -> bool:
        known = self._alerts.get(alert.id)
        if known is not None and alert.revision <= known.revision:
            return False
        self._alerts[alert.id] = alert
        self._signatures.pop(alert.id, None)
        self.revision += 1
        if len(self._alerts) > MOST_ALERTS * 1.1:
            cleared = sorted((one for one in self._alerts.values() if one.state == "cleared"), key=lambda one: one.onset_ns)
            for old in cleared[: len(self._alerts) - MOST_ALERTS]:
                del self._alerts[old.id]
                self._signatures.pop(old.id, None)
        return True

    def remove(self, alert_id: str) -> bool:
        if self._alerts.pop(alert_id, None) is None:
            return False
        self._signatures.pop(alert_id, None)
        self.revision += 1
        return True


class FaultsView:
    """Faults of the demo plant: what was asked for (`demo.commands`) and what the plant did (`events`, kind `fault`).

    For the demo page alone. Detection never reads either.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.commands: OrderedDict[str, DemoCommand] = OrderedDict()
        self.events: deque[EventRecord] = deque(maxlen=MOST_FAULT_EVENTS)

    def active(self) -> list[DemoCommand]:
        return [command for command in self.commands.values() if command.active]

    def put_command(self, key: str, command: DemoCommand | None) -> None:
        self.commands.pop(key, None)
        if command is not None:
            self.commands[key] = command
        self.revision += 1

    def put_event(self, event: EventRecord) -> None:
        self.events.append(event)
        self.revision += 1


class EventsView:
    """`events`: the newest of each asset, for what stands beside an alert. Those of kind `fault`, ground truth, are not here."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, deque[EventRecord]] = OrderedDict()

    def of(self, asset: str) -> Collection[EventRecord]:
        return self._events.get(asset, ())

    def put(self, event: EventRecord) -> None:
        known = self._events.setdefault(event.asset, deque(maxlen=MOST_EVENTS_OF_AN_ASSET))
        self._events.move_to_end(event.asset)
        event = event.model_copy(update={"text": event.text[:MOST_EVENT_TEXT]})
        if event not in known:  # read again after the broker was away
            known.append(event)
        if len(self._events) > MOST_ASSETS_WITH_EVENTS:
            self._events.popitem(last=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused record, as its headers tell."""

    reason: str
    message: str
    topic: str
    partition: str
    offset: str
    key: str
    time_ms: int


class UsageView:
    """`monitoring`: the newest word of each processor, of the newest MOST_PROCESSORS of them."""

    def __init__(self) -> None:
        self._newest: dict[str, ProcessorUsage] = {}

    def put(self, usage: ProcessorUsage) -> None:
        self._newest[usage.instance] = usage
        if len(self._newest) > MOST_PROCESSORS:
            del self._newest[min(self._newest, key=lambda instance: self._newest[instance].time_ns)]

    def since(self, time_ns: int) -> list[ProcessorUsage]:
        """Of processors that were heard of at `time_ns` or later (wall clock), by instance."""
        return [one for _, one in sorted(self._newest.items()) if one.time_ns >= time_ns]


class AlarmRatesView:
    """`monitoring`: the newest word of each partition on how often its twins alarm, by model."""

    def __init__(self) -> None:
        self.revision = 0
        self._newest: dict[str, dict[int, AlarmRate]] = {}

    def put(self, rate: AlarmRate) -> bool:
        """Whether it changed the view: what an earlier owner tells, or an earlier word, never replaces a newer one."""
        known = self._newest.setdefault(rate.model, {})
        if rate.partition in known and not rate.newer_than(known[rate.partition]):
            return False
        known[rate.partition] = rate
        self.revision += 1
        return True

    def of(self, model: str) -> ModelAlarms | None:
        """All partitions of a model together."""
        return of_model(self._newest.get(model, {}).values())


class LiveViews:
    """All views of one gateway. Not safe across threads; one event loop owns them."""

    def __init__(self) -> None:
        self.definitions = Definitions()
        self.twins = TwinsView()
        self.alerts = AlertsView()
        self.models = ModelsView()
        self.models_revision = 0
        self.faults = FaultsView()
        self.events = EventsView()
        self.usage = UsageView()
        self.alarm_rates = AlarmRatesView()
        self.arrivals = Arrivals()
        self.dead_letters: deque[DeadLetter] = deque(maxlen=MOST_DEAD_LETTERS)
        self.dead_letter_count = 0
        self.skipped: Counter[tuple[str, str]] = Counter()  # (topic, reason) → records

    def skip(self, topic: str, reason: str, key: bytes | None, message: str) -> None:
        self.skipped[topic, reason] += 1
        log.warning("record-skipped", extra={"topic": topic, "reason": reason, "key": repr(key), "found": message})

    def display_name(self, asset: str) -> str:
        declared = self.definitions.fleet.get(asset)
        return declared.name if declared is not None and declared.name else asset

    def type_name(self, dtmi: str) -> str:
        known = self.definitions.types.get(dtmi)
        return known.display_name if known is not None else dtmi.removeprefix("dtmi:").partition(";")[0].rpartition(":")[2]

    def units(self, dtmi: str) -> dict[str, str]:
        known = self.definitions.types.get(dtmi)
        return {channel.name: channel.unit for channel in known.channels if channel.unit} if known is not None else {}

    def words_of(self, asset: str) -> dict[str, list[str]]:
        """Words that stand for numbers, by the channels of an asset that have some."""
        state = self.twins.get(asset)
        known = self.definitions.types.get(state.type) if state is not None else self.definitions.type_of(asset)
        channels = known.channels if known is not None else ()
        return {channel.name: [word for word, _ in channel.codes] for channel in channels if channel.codes}


def first_problem(error: ValidationError) -> str:
    """One line for a log: where and what."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"

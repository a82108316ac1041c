"""Alert states of one asset: fold signals of its conditions into alerts, in event time.

In:   `ConditionSignal`, one per closed step while a condition lasts and for a while after it went.
Out:  the asset's next `AssetAlerts` and the `AlertState` revisions that subscribers are to see.
Pure: no clock, no I/O; the same inputs in the same order give the same revisions, however they are batched.

The states are those of ISA-18.2 and OPC UA Alarms & Conditions: {active, cleared} x {unacknowledged, acknowledged}.
A condition that is on waits for its on-delay as an alert of revision 0, which nobody sees; a raise within the off-delay
continues the same alert, so flapping is one alert. What people say of alerts is folded by `twin.alert_command`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from twin.alert_likeness import SimilarAlert, similar_alerts

Severity = Literal["critical", "major", "minor", "warning", "indeterminate"]

VISIBLE_RISK_STEP = 0.1  # a smaller growth of risk alone is not shown until something else changes
MOST_COMMENTS = 50  # kept of one alert, the newest
MOST_CLOSED = 50  # alerts of one asset that were followed by another of their condition and still take commands

_RANK = {"indeterminate": 0, "warning": 1, "minor": 2, "major": 3, "critical": 4}


@dataclass(frozen=True, slots=True)
class ConditionSignal:
    """One condition of one asset at one closed step.

    `alert_id` is the id that an alert with this onset has; `evidence` is kept as it is, but for `partition`,
    `first_offset` and `deviation`, which are read from it. `why`: of a clear, why the condition can't be on any more; the
    alert says so in a comment.
    """

    kind: Literal["raise", "keep", "clear"]
    alert_id: str
    type: str
    condition: str
    severity: Severity
    onset_ns: int
    time_ns: int
    risk: float
    on_delay_ns: int
    off_delay_ns: int
    evidence: Mapping[str, Any]
    why: str | None = None


@dataclass(frozen=True, slots=True)
class CommentLine:
    """What somebody wrote; `time_ns` is the wall clock of the writer, event time where livetwin itself wrote it."""

    time_ns: int
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class AlertState:
    """One alert. Revision 0 waits for the on-delay; each later one has been shown to subscribers.

    `severity` and `risk` are the highest so far, `shown_…` the same at the last revision; `commands` are the ids of the
    commands that were carried out, newest last; `similar` are earlier alerts of the asset that looked much the same.
    """

    id: str
    revision: int
    type: str
    condition: str
    severity: Severity
    active: bool
    onset_ns: int
    updated_ns: int
    risk: float
    evidence: Mapping[str, Any]
    shown_severity: Severity | None = None
    shown_risk: float = 0.0
    acknowledged: bool = False
    acknowledged_by: str | None = None
    shelved_until_ns: int | None = None
    false_alarm_by: str | None = None
    cleared_ns: int | None = None
    comments: tuple[CommentLine, ...] = ()
    commands: tuple[str, ...] = ()
    similar: tuple[SimilarAlert, ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionState:
    """One condition of one asset: its newest alert, if it ever had one, and the times that decide what is next.

    `handled_ns` is the time of the newest signal, `on_ns` that of the newest raise or keep and `onset_ns` its onset;
    `waiting_ns` is since when the condition has been on without a break while `waiting` waits for the on-delay.
    """

    handled_ns: int
    on_ns: int
    onset_ns: int
    waiting_ns: int | None = None
    waiting: AlertState | None = None
    alert: AlertState | None = None
    shelved_until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class AssetAlerts:
    """Everything known of one asset's alerts. `closed` holds older alerts of its conditions, newest last."""

    conditions: Mapping[str, ConditionState] = field(default_factory=dict)
    closed: Mapping[str, AlertState] = field(default_factory=dict)

    def find(self, alert_id: str) -> AlertState | None:
        """The alert with this id, shown at least once; None when it never was or was forgotten."""
        for condition in self.conditions.values():
            if condition.alert is not None and condition.alert.id == alert_id:
                return condition.alert
        return self.closed.get(alert_id)


@dataclass(frozen=True, slots=True)
class NormalPeriod:
    """A period that a false alarm showed to be normal; it begins at the alert's onset."""

    alert_id: str
    from_ns: int
    to_ns: int
    by: str


@dataclass(frozen=True, slots=True)
class Folded:
    """What one input led to: the next state, and the alerts that changed, in the order of their changes."""

    asset: AssetAlerts
    changed: tuple[AlertState, ...] = ()
    normal: tuple[NormalPeriod, ...] = ()


def fold_signal(asset: AssetAlerts, signal: ConditionSignal) -> Folded:
    """One signal. A signal that is not newer than the newest of its condition changes nothing.

    >>> step = ConditionSignal("raise", "id-1", "t", "anomaly", "minor", 10, 10, 0.5, 0, 60, {})
    >>> first = fold_signal(AssetAlerts(), step)
    >>> [(alert.id, alert.revision, alert.active) for alert in first.changed]
    [('id-1', 1, True)]
    >>> fold_signal(first.asset, step).changed
    ()
    """
    before = asset.conditions.get(signal.condition)
    if before is not None and signal.time_ns <= before.handled_ns:
        return Folded(asset)
    if signal.kind == "clear":
        return _fold_clear(asset, before, signal)
    return _fold_on(asset, before, signal)


def _fold_clear(asset: AssetAlerts, before: ConditionState | None, signal: ConditionSignal) -> Folded:
    if before is None:  # what it clears was never seen on
        return _with_condition(asset, signal, ConditionState(signal.time_ns, signal.onset_ns, signal.onset_ns))
    # the on-delay asks for an unbroken condition: one clear step ends the wait
    state = replace(before, handled_ns=signal.time_ns, waiting_ns=None, waiting=None)
    if state.alert is None or not state.alert.active or signal.time_ns - state.on_ns < signal.off_delay_ns:
        return _with_condition(asset, signal, state)
    told = state.alert
    if signal.why is not None:
        line = CommentLine(signal.time_ns, "livetwin", f"cleared: {signal.why}")
        told = replace(told, comments=(*told.comments, line)[-MOST_COMMENTS:])
    cleared = _cleared(told, signal.time_ns)
    return _with_condition(asset, signal, replace(state, alert=cleared), cleared)


def _fold_on(asset: AssetAlerts, before: ConditionState | None, signal: ConditionSignal) -> Folded:
    # on without a break since the onset, unless a step after the onset was handled already: then that was a clear
    since_ns = signal.onset_ns if before is None or before.handled_ns < signal.onset_ns else signal.time_ns
    state = before or ConditionState(signal.time_ns, signal.time_ns, signal.onset_ns)
    state = replace(state, handled_ns=signal.time_ns, on_ns=signal.time_ns, onset_ns=signal.onset_ns)
    changed: tuple[AlertState, ...] = ()
    if before is not None and state.alert is not None and state.alert.active:
        if signal.onset_ns == before.onset_ns or signal.time_ns - before.on_ns <= signal.off_delay_ns:
            return _continue(asset, state, state.alert, signal)
        # another onset, long after the last sign of the old one: its clears never came
        old = _cleared(state.alert, signal.time_ns)
        changed, state = (old,), replace(state, alert=old)
        asset = replace(asset, conditions={**asset.conditions, signal.condition: state})

    waiting = _strengthened(state.waiting or _unseen(signal), signal.severity, signal.risk, signal.evidence)
    waiting_ns = since_ns if state.waiting_ns is None else state.waiting_ns
    if signal.time_ns - waiting_ns < signal.on_delay_ns:
        return _with_condition(asset, signal, replace(state, waiting_ns=waiting_ns, waiting=waiting), *changed)
    opened, asset = _opened(asset, state, waiting, signal.time_ns)
    state = replace(state, waiting_ns=None, waiting=None, alert=opened, shelved_until_ns=opened.shelved_until_ns)
    return _with_condition(asset, signal, state, *changed, opened)


def _continue(asset: AssetAlerts, state: ConditionState, alert: AlertState, signal: ConditionSignal) -> Folded:
    """A raise or keep of an active alert: shown when there is something to see."""
    stronger = _strengthened(alert, signal.severity, signal.risk, signal.evidence)
    shelf_ended = alert.shelved_until_ns is not None and alert.shelved_until_ns <= signal.time_ns
    if shelf_ended:
        stronger = replace(stronger, shelved_until_ns=None)
        state = replace(state, shelved_until_ns=None)
    # rounded, so that from 0.3 to 0.4 counts as a step of 0.1
    grown = stronger.severity != alert.shown_severity or round(stronger.risk - alert.shown_risk, 6) >= VISIBLE_RISK_STEP
    if shelf_ended or (grown and alert.shelved_until_ns is None):
        shown = _beside_its_past(asset, next_revision(stronger, signal.time_ns))
        return _with_condition(asset, signal, replace(state, alert=shown), shown)
    return _with_condition(asset, signal, replace(state, alert=stronger))


def _unseen(signal: ConditionSignal) -> AlertState:
    return AlertState(
        id=signal.alert_id,
        revision=0,
        type=signal.type,
        condition=signal.condition,
        severity=signal.severity,
        active=True,
        onset_ns=signal.onset_ns,
        updated_ns=signal.time_ns,
        risk=signal.risk,
        evidence=signal.evidence,
    )


def _opened(asset: AssetAlerts, state: ConditionState, waiting: AlertState, time_ns: int) -> tuple[AlertState, AssetAlerts]:
    """The alert that waited, shown; the condition's alert before it goes to the closed ones.

    An onset that had an alert before gets the same one again: active, to be acknowledged anew.
    """
    alert = waiting
    known = asset.find(waiting.id)
    if known is not None:
        again = replace(known, active=True, cleared_ns=None, acknowledged=False, acknowledged_by=None)
        alert = _strengthened(again, waiting.severity, waiting.risk, waiting.evidence)
    if state.alert is not None and state.alert.id != waiting.id:
        kept = [(alert_id, old) for alert_id, old in asset.closed.items() if alert_id != state.alert.id]
        asset = replace(asset, closed=dict([*kept, (state.alert.id, state.alert)][-MOST_CLOSED:]))
    shelved_ns = state.shelved_until_ns
    alert = replace(alert, shelved_until_ns=shelved_ns if shelved_ns is not None and shelved_ns > time_ns else None)
    return _beside_its_past(asset, next_revision(alert, time_ns)), asset


def _beside_its_past(asset: AssetAlerts, alert: AlertState) -> AlertState:
    newest = (condition.alert for condition in asset.conditions.values() if condition.alert is not None)
    return replace(alert, similar=similar_alerts(alert, {one.id: one for one in (*asset.closed.values(), *newest)}.values()))


def _strengthened(alert: AlertState, severity: Severity, risk: float, evidence: Mapping[str, Any]) -> AlertState:
    """Highest severity and risk so far, with the evidence of the signal that was farthest from what was expected.

    A model soon follows what it sees: later steps may be riskier and yet explain less. Evidence that tells no `deviation`
    yields to that of a graver signal. The evidence begins at the offset where that of the first signal began: from there
    on the log tells the whole story.
    """
    graver = (_RANK[severity], risk) > (_RANK[alert.severity], alert.risk)
    deviation = float(evidence.get("deviation", 0.0))
    if deviation > float(alert.evidence.get("deviation", 0.0)) or (graver and not deviation):
        if "first_offset" in alert.evidence and alert.evidence.get("partition") == evidence.get("partition"):
            evidence = {**evidence, "first_offset": alert.evidence["first_offset"]}
        alert = replace(alert, evidence=evidence)
    severity = severity if _RANK[severity] > _RANK[alert.severity] else alert.severity
    return replace(alert, severity=severity, risk=max(alert.risk, risk))


def _cleared(alert: AlertState, time_ns: int) -> AlertState:
    return next_revision(replace(alert, active=False, cleared_ns=time_ns), time_ns)


def next_revision(alert: AlertState, time_ns: int) -> AlertState:
    """The alert as it is shown now. `time_ns` is the event time of its condition's newest signal."""
    return replace(
        alert,
        revision=alert.revision + 1,
        updated_ns=max(alert.updated_ns, time_ns),
        shown_risk=alert.risk,
        shown_severity=alert.severity,
    )


def _with_condition(asset: AssetAlerts, signal: ConditionSignal, state: ConditionState, *changed: AlertState) -> Folded:
    """The false alarms among what was just cleared are known to be normal over their whole length."""
    normal = tuple(
        NormalPeriod(alert.id, alert.onset_ns, alert.cleared_ns, alert.false_alarm_by)
        for alert in changed
        if alert.cleared_ns is not None and alert.false_alarm_by is not None
    )
    return Folded(replace(asset, conditions={**asset.conditions, signal.condition: state}), changed, normal)

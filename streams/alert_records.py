"""Between the records of the topics and the alert states of `twin`: conversions, and the tables' values.

In:   `Signal`, `AlertCommand` from the topics; bytes of alerting's tables.
Out:  inputs for `twin.alert_state`; `Alert`, `Feedback` for the topics; bytes for the tables.
Promises: the same state gives the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from pydantic import TypeAdapter

from streams.records import Alert, AlertCommand, Comment, Evidence, Feedback, Signal, SimilarAlert
from twin.alert_command import OperatorCommand
from twin.alert_state import AlertState, AssetAlerts, ConditionSignal, ConditionState, NormalPeriod

_CONDITIONS: TypeAdapter[dict[str, ConditionState]] = TypeAdapter(dict[str, ConditionState])
_CLOSED: TypeAdapter[dict[str, AlertState]] = TypeAdapter(dict[str, AlertState])


def condition_signal(signal: Signal) -> ConditionSignal:
    return ConditionSignal(
        kind=signal.kind,
        alert_id=signal.alert_id,
        type=signal.type,
        condition=signal.condition,
        severity=signal.severity,
        onset_ns=signal.onset_ns,
        time_ns=signal.time_ns,
        risk=signal.risk,
        on_delay_ns=signal.on_delay_ns,
        off_delay_ns=signal.off_delay_ns,
        evidence=signal.evidence.model_dump(mode="json"),
        why=signal.why,
    )


def operator_command(command: AlertCommand) -> OperatorCommand:
    return OperatorCommand(
        command_id=command.command_id,
        action=command.action,
        alert_id=command.alert_id,
        by=command.by,
        time_ns=command.time_ns,
        text=command.text,
        until_ns=command.until_ns,
    )


def alert_record(asset: str, alert: AlertState) -> Alert:
    return Alert(
        id=alert.id,
        revision=alert.revision,
        asset=asset,
        type=alert.type,
        condition=alert.condition,
        severity=alert.severity,
        state="active" if alert.active else "cleared",
        acknowledged=alert.acknowledged,
        acknowledged_by=alert.acknowledged_by,
        shelved_until_ns=alert.shelved_until_ns,
        false_alarm=alert.false_alarm_by is not None,
        onset_ns=alert.onset_ns,
        updated_ns=alert.updated_ns,
        cleared_ns=alert.cleared_ns,
        risk=alert.risk,
        comments=[Comment(time_ns=line.time_ns, by=line.by, text=line.text) for line in alert.comments],
        similar=[SimilarAlert.model_validate(asdict(one)) for one in alert.similar],
        evidence=Evidence.model_validate(alert.evidence),
    )


def feedback_record(asset: str, period: NormalPeriod) -> Feedback:
    return Feedback(
        asset=asset, from_ns=period.from_ns, to_ns=period.to_ns, label="normal", by=period.by, alert_id=period.alert_id
    )


def state_from(conditions: bytes | None, closed: bytes | None) -> AssetAlerts:
    """The alerts of one asset from its values in the two tables; None where a table has none.

    Where the conditions were written and the older alerts that go with them were not, those beside the conditions count.
    """
    content = _content(conditions) if conditions else {}
    older = _beside(conditions) if closed_is_behind(conditions, closed) else _content(closed) if closed else {}
    return AssetAlerts(_CONDITIONS.validate_python(content), _CLOSED.validate_python(older))


def closed_is_behind(conditions: bytes | None, closed: bytes | None) -> bool:
    """Whether the older alerts that go with the conditions never came to their own table."""
    return bool(conditions) and int(orjson.loads(conditions or b"").get("closed_sequence", 0)) > sequence_of(closed)


def conditions_value(asset: AssetAlerts, sequence: int, *, with_closed: bool = False) -> bytes:
    """The value for the table of conditions.

    Args:
        with_closed: put the older alerts beside them, as they are about to be written to their own table by the same sequence.
    """
    beside = {"closed": _CLOSED.dump_python(dict(asset.closed), mode="json"), "closed_sequence": sequence} if with_closed else {}
    return _value(_CONDITIONS.dump_python(dict(asset.conditions), mode="json"), sequence, **beside)


def closed_value(asset: AssetAlerts, sequence: int) -> bytes:
    return _value(_CLOSED.dump_python(dict(asset.closed), mode="json"), sequence)


def epoch_value(epoch: int) -> bytes:
    return _value({}, epoch)


def sequence_of(value: bytes | None) -> int:
    """How far a value of a table is: one more than the inbox offset it stands for, or more; 0 for None."""
    return int(orjson.loads(value)["sequence"]) if value else 0


def _content(value: bytes) -> Any:
    return orjson.loads(value)["content"]


def _beside(value: bytes | None) -> Any:
    return orjson.loads(value or b"{}").get("closed", {})


def _value(content: Any, sequence: int, **beside: Any) -> bytes:
    # keys keep their order: `closed` is ordered by age
    return orjson.dumps({"sequence": sequence, "content": content, **beside})

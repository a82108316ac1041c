"""What people and systems say of an alert: acknowledge, comment, shelve, mark as a false alarm.

In:   `OperatorCommand` and the asset's `AssetAlerts`.
Out:  the asset's next `AssetAlerts`, the alert's next revision, and the period that a false alarm showed to be normal.
Pure: no clock, no I/O. The same command delivered twice counts once. Refused commands change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from twin.alert_state import (
    MOST_COMMENTS,
    AlertState,
    AssetAlerts,
    CommentLine,
    ConditionState,
    Folded,
    NormalPeriod,
    next_revision,
)
from twin.errors import LivetwinError

MOST_COMMANDS = 200  # ids kept of one alert, the newest: what is delivered again after so many others counts anew
MOST_COMMENT_CHARACTERS = 2000


class CommandRefused(LivetwinError):
    """A command that can't be carried out. `reason` is one word for scripts: unknown-alert | no-text | no-end."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """One command. `until_ns` is event time, `time_ns` the wall clock of whoever gave it."""

    command_id: str
    action: Literal["acknowledge", "shelve", "comment", "false-alarm"]
    alert_id: str
    by: str
    time_ns: int
    text: str | None = None
    until_ns: int | None = None


def fold_command(asset: AssetAlerts, command: OperatorCommand) -> Folded:
    """One command. An acknowledged alert that is acknowledged again keeps its first acknowledgement: nothing changes.

    A text that comes with any action is kept as a comment. A shelf belongs to the condition: it covers the alerts that
    the condition raises until its end; an end that is not in the future takes the alert off the shelf.

    Raises:
        CommandRefused: the alert is not known, a comment without text, a shelf without an end.
    """
    alert = asset.find(command.alert_id)
    if alert is None:
        raise CommandRefused(
            "unknown-alert",
            f"command {command.command_id} ({command.action}): alert {command.alert_id} is not among the "
            f"{len(asset.conditions)} conditions and {len(asset.closed)} older alerts of its asset; nothing was changed",
        )
    if command.command_id in alert.commands:
        return Folded(asset)
    condition = asset.conditions.get(alert.condition)
    newest = condition if condition is not None and condition.alert is not None and condition.alert.id == alert.id else None
    # an older alert has no time of its own any more: it is closed
    now_ns = newest.handled_ns if newest is not None else alert.updated_ns

    after = _carried_out(alert, command, now_ns)
    normal: tuple[NormalPeriod, ...] = ()
    if after.false_alarm_by is not None and alert.false_alarm_by is None:
        to_ns = after.cleared_ns if after.cleared_ns is not None else now_ns
        normal = (NormalPeriod(after.id, after.onset_ns, to_ns, after.false_alarm_by),)
    changed = after != alert
    after = replace(after, commands=(*after.commands, command.command_id)[-MOST_COMMANDS:])
    if not changed:
        return Folded(_with_alert(asset, newest, after))
    after = next_revision(after, now_ns)
    return Folded(_with_alert(asset, newest, after), (after,), normal)


def _carried_out(alert: AlertState, command: OperatorCommand, now_ns: int) -> AlertState:
    """The alert after the command, before it counts as a revision."""
    match command.action:
        case "acknowledge":
            after = _acknowledged(alert, command.by)
        case "false-alarm":
            after = _acknowledged(alert, command.by)
            after = replace(after, false_alarm_by=after.false_alarm_by or command.by)
        case "shelve":
            if command.until_ns is None:
                raise CommandRefused("no-end", _refusal(command, "until_ns is missing, expected an event time"))
            after = replace(alert, shelved_until_ns=command.until_ns if command.until_ns > now_ns else None)
        case "comment":
            if not (command.text or "").strip():
                raise CommandRefused("no-text", _refusal(command, "text is empty, expected words"))
            after = alert
    if command.text and command.text.strip():
        line = CommentLine(command.time_ns, command.by, command.text.strip()[:MOST_COMMENT_CHARACTERS])
        after = replace(after, comments=(*after.comments, line)[-MOST_COMMENTS:])
    return after


def _refusal(command: OperatorCommand, found: str) -> str:
    return f"command {command.command_id} ({command.action}): {found}; alert {command.alert_id} stays as it is"


def _acknowledged(alert: AlertState, by: str) -> AlertState:
    return alert if alert.acknowledged else replace(alert, acknowledged=True, acknowledged_by=by)


def _with_alert(asset: AssetAlerts, newest: ConditionState | None, alert: AlertState) -> AssetAlerts:
    if newest is None:
        return replace(asset, closed={**asset.closed, alert.id: alert})
    condition = replace(newest, alert=alert, shelved_until_ns=alert.shelved_until_ns)
    return replace(asset, conditions={**asset.conditions, alert.condition: condition})

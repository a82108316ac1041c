"""The claims of `twin.alert_command`: what people say of an alert, once each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.twin.test_alert_state import fold, signal
from twin.alert_command import CommandRefused, OperatorCommand, fold_command
from twin.alert_state import MOST_CLOSED, MOST_COMMENTS, AssetAlerts, Folded, fold_signal


def command(action: Any, alert_id: str = "anomaly@10", **more: Any) -> OperatorCommand:
    fields = {"command_id": f"{action}-1", "by": "ada", "time_ns": 1_000_000} | more
    return OperatorCommand(action=action, alert_id=alert_id, **fields)


@pytest.fixture
def active() -> AssetAlerts:
    return fold([signal("raise", 10, 10), signal("keep", 20, 10)])[0]


def after(asset: AssetAlerts, given: OperatorCommand) -> Folded:
    folded = fold_command(asset, given)
    again = fold_command(folded.asset, given)
    assert (again.asset, again.changed, again.normal) == (folded.asset, (), ()), "a redelivered command changed something"
    return folded


def test_acknowledgement_keeps_the_first_name_and_survives_the_clear(active: AssetAlerts) -> None:
    first = after(active, command("acknowledge"))
    assert [(alert.acknowledged, alert.acknowledged_by, alert.revision) for alert in first.changed] == [(True, "ada", 2)]
    second = after(first.asset, command("acknowledge", command_id="other", by="bob"))
    assert second.changed == ()
    _, shown = fold([signal("clear", 40, 10)], second.asset)
    assert [(alert.active, alert.acknowledged_by, alert.revision) for alert in shown] == [(False, "ada", 3)]


def test_a_cleared_and_even_an_older_alert_is_still_acknowledged(active: AssetAlerts) -> None:
    cleared, _ = fold([signal("clear", 40, 10)], active)
    assert after(cleared, command("acknowledge")).changed[0].acknowledged
    followed, _ = fold([signal("raise", 100, 100)], cleared)
    folded = after(followed, command("acknowledge"))
    assert [(alert.id, alert.revision, alert.acknowledged) for alert in folded.changed] == [("anomaly@10", 3, True)]
    assert folded.asset.conditions == followed.conditions


def test_comments_are_kept_in_order_also_those_that_come_with_another_action(active: AssetAlerts) -> None:
    one = after(active, command("comment", text=" valve 3 "))
    two = after(one.asset, command("acknowledge", text="on my way", by="bob"))
    assert [(line.by, line.text) for line in two.changed[0].comments] == [("ada", "valve 3"), ("bob", "on my way")]
    asset = two.asset
    for at in range(MOST_COMMENTS + 5):
        asset = fold_command(asset, command("comment", text=str(at), command_id=f"c{at}")).asset
    alert = asset.find("anomaly@10")
    assert alert is not None
    assert len(alert.comments) == MOST_COMMENTS
    assert alert.comments[-1].text == str(MOST_COMMENTS + 4)


def test_a_shelved_alert_is_quiet_until_the_shelf_ends_then_shows_all_that_grew(active: AssetAlerts) -> None:
    shelved = after(active, command("shelve", until_ns=50)).asset
    quiet, shown = fold([signal("keep", 30, 10, risk=0.9, severity="critical")], shelved)
    assert shown == []
    _, shown = fold([signal("keep", 50, 10)], quiet)
    assert [(alert.shelved_until_ns, alert.severity, alert.risk) for alert in shown] == [(None, "critical", 0.9)]


def test_a_shelf_covers_the_next_alert_of_the_condition_and_ends_by_a_past_end(active: AssetAlerts) -> None:
    shelved = after(active, command("shelve", until_ns=500)).asset
    asset, shown = fold([signal("clear", 40, 10), signal("raise", 100, 100)], shelved)
    assert [(alert.id, alert.active, alert.shelved_until_ns) for alert in shown] == [
        ("anomaly@10", False, 500),
        ("anomaly@100", True, 500),
    ]
    back = after(asset, command("shelve", "anomaly@100", until_ns=0))
    assert back.changed[0].shelved_until_ns is None
    _, shown = fold([signal("raise", 1000, 1000)], asset)
    assert shown[-1].shelved_until_ns is None


def test_a_false_alarm_is_acknowledged_and_its_period_is_normal_up_to_now_then_up_to_its_clear(active: AssetAlerts) -> None:
    marked = after(active, command("false-alarm"))
    assert marked.changed[0].acknowledged
    assert marked.changed[0].false_alarm_by == "ada"
    assert [(period.from_ns, period.to_ns, period.by) for period in marked.normal] == [(10, 20, "ada")]
    cleared = fold_signal(marked.asset, signal("clear", 40, 10))
    assert [(period.from_ns, period.to_ns, period.by) for period in cleared.normal] == [(10, 40, "ada")]
    other_way = after(fold([signal("clear", 40, 10)], active)[0], command("false-alarm"))
    assert [(period.from_ns, period.to_ns) for period in other_way.normal] == [(10, 40)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (command("acknowledge", "nobody"), "unknown-alert"),
        (command("comment", text=" "), "no-text"),
        (command("shelve"), "no-end"),
    ],
)
def test_what_cannot_be_carried_out_says_why_and_what_stays(active: AssetAlerts, given: OperatorCommand, reason: str) -> None:
    with pytest.raises(CommandRefused, match=f"{given.command_id}.*(nothing was changed|stays as it is)") as refused:
        fold_command(active, given)
    assert refused.value.reason == reason


def test_an_alert_that_waits_for_its_on_delay_is_unknown_to_commands() -> None:
    waiting, _ = fold([signal("raise", 10, 10, on_delay_ns=100)])
    with pytest.raises(CommandRefused):
        fold_command(waiting, command("acknowledge"))


def test_commands_given_while_an_onset_returns_are_not_lost() -> None:
    asset, _ = fold([signal("raise", 10, 10), signal("clear", 30, 10), signal("keep", 40, 10, on_delay_ns=20)])
    asset = after(asset, command("comment", text="seen")).asset
    _, shown = fold([signal("keep", 60, 10, on_delay_ns=20)], asset)
    assert [(alert.revision, alert.active, len(alert.comments)) for alert in shown] == [(4, True, 1)]


def test_old_alerts_of_an_asset_are_bounded() -> None:
    asset = AssetAlerts()
    for onset in range(100, 100 * (MOST_CLOSED + 10), 100):
        asset, _ = fold([signal("raise", onset, onset), signal("clear", onset + 30, onset)], asset)
    assert len(asset.closed) == MOST_CLOSED

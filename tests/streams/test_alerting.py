"""The claims of the alerting role, on a real broker: signals in, whole alerts out, once each, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.records import Alert, Feedback
from tests.streams.alerting_run import STEP_NS, AlertingRun, alerting_run, id_of, make_command, make_signal

pytestmark = pytest.mark.kafka


@pytest.fixture
async def run(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[AlertingRun]:
    async with alerting_run(kafka, topic_prefix, tmp_path) as run:
        run.start()
        yield run


def brief(alerts: list[Alert]) -> list[tuple[str, int, str]]:
    return [(alert.id, alert.revision, alert.state) for alert in alerts]


async def test_signals_become_alerts_and_the_same_signals_again_change_nothing(run: AlertingRun) -> None:
    delayed = {"asset": "p2", "on_delay_ns": 2 * STEP_NS}
    signals = [
        make_signal("raise", 1, 1, risk=0.6),
        make_signal("keep", 2, 1, risk=0.95, severity="major"),
        make_signal("raise", 1, 1, **delayed),
        *(make_signal("keep", step, 1, **delayed) for step in (2, 3)),
        *(make_signal("clear", step, 1) for step in (3, 4)),
        make_signal("raise", 1, 1, asset="p3", on_delay_ns=3 * STEP_NS),
        make_signal("clear", 2, 1, asset="p3", on_delay_ns=3 * STEP_NS),
    ]
    await run.signals(signals)
    alerts = await run.settled()
    assert brief([alert for alert in alerts if alert.asset == "p1"]) == [
        (id_of(1), 1, "active"),
        (id_of(1), 2, "active"),
        (id_of(1), 3, "cleared"),
    ]
    last = alerts[-1] if alerts[-1].asset == "p1" else [alert for alert in alerts if alert.asset == "p1"][-1]
    assert (last.severity, last.risk, last.cleared_ns, last.acknowledged) == ("major", 0.95, 4 * STEP_NS, False)
    assert (last.evidence.first_offset, last.evidence.last_offset) == (10, 29), "from the raise to the strongest step"
    assert [(alert.id, alert.updated_ns) for alert in alerts if alert.asset == "p2"] == [(id_of(1, asset="p2"), 3 * STEP_NS)]
    assert not [alert for alert in alerts if alert.asset == "p3"], "on for less than its on-delay"

    await run.signals(signals)
    assert brief(await run.settled()) == brief(alerts)
    keys = {record.key for record in await run.read(run.topics.alerts)}
    assert id_of(1).encode() in keys


async def test_what_people_say_reaches_the_alert_once(run: AlertingRun) -> None:
    await run.signals([make_signal("raise", 1, 1), make_signal("keep", 2, 1)])
    alert = id_of(1)
    await run.until(lambda alerts: len(alerts) == 1)
    said = [
        make_command("acknowledge", alert),
        make_command("comment", alert, text="valve 3"),
        make_command("shelve", alert, until_ns=5 * STEP_NS),
        make_command("false-alarm", alert),
    ]
    for count, command in enumerate(said, start=2):
        await run.command(command)
        found = (await run.until(lambda alerts, count=count: len(alerts) == count))[-1]  # type: ignore[misc]
        await run.command(command)
    assert (found.revision, found.acknowledged_by, found.shelved_until_ns, found.false_alarm) == (5, "ada", 5 * STEP_NS, True)
    assert [(comment.by, comment.text) for comment in found.comments] == [("ada", "valve 3")]

    await run.signals([make_signal("keep", 5, 1), make_signal("clear", 7, 1)])
    alerts = await run.until(lambda alerts: alerts[-1].state == "cleared")
    assert [(one.revision, one.shelved_until_ns, one.state) for one in alerts[5:]] == [(6, None, "active"), (7, None, "cleared")]
    labels = [Feedback.model_validate_json(record.value or b"") for record in await run.read(run.topics.feedback)]
    assert [(label.asset, label.from_ns, label.to_ns, label.label, label.alert_id) for label in labels] == [
        ("p1", STEP_NS, 2 * STEP_NS, "normal", alert),
        ("p1", STEP_NS, 7 * STEP_NS, "normal", alert),
    ]


async def test_poison_goes_to_dead_letter_with_its_reason_and_the_stream_goes_on(run: AlertingRun) -> None:
    poison = [b"", b"{", b"\xff\xfe", b"null", b'{"kind":"raise"}', b"[" * 10_000, make_signal("raise", 1, 1).to_bytes()[:-9]]
    for value in poison:
        await run.producer.send_and_wait(run.topics.signals, value, key=b"p1", partition=0)
        await run.producer.send_and_wait(run.topics.alert_commands, value, key=b"x", partition=1)
    nothing = run.producer.create_batch()
    nothing.append(key=None, value=None, timestamp=None)
    await (await run.producer.send_batch(nothing, run.topics.signals, partition=0))
    await run.producer.send_and_wait(
        run.topics.signals, make_signal("raise", 1, 1).to_bytes(), key=b"p1", partition=0, headers=[("epoch", b"one")]
    )
    await run.command(make_command("acknowledge", "nobody"))
    await run.signals([make_signal("raise", 2, 2)])
    assert brief(await run.settled()) == [(id_of(2), 1, "active")]
    # commands come on a topic of their own: that the signals are done says nothing of them
    refused = await run.refused(2 * len(poison) + 3)
    assert sorted(value or b"" for reason, value in refused if reason == b"undecodable-command") == sorted(poison)
    assert len([value for reason, value in refused if reason == b"undecodable-signal"]) == len(poison) + 2
    unknown = make_command("acknowledge", "nobody")
    assert [value for reason, value in refused if reason == b"unknown-alert"] == [unknown.to_bytes()]


async def test_signals_of_a_former_owner_change_nothing_even_for_assets_the_new_owner_never_mentioned(run: AlertingRun) -> None:
    await run.signals([make_signal("raise", 1, 1)], epoch=7)
    await run.until(lambda alerts: len(alerts) == 1)
    await run.signals([make_signal("keep", 2, 1, severity="critical"), make_signal("raise", 2, 2, asset="1p")], epoch=6)
    await run.signals([make_signal("keep", 3, 1, severity="major")], epoch=7)
    assert [(alert.asset, alert.severity) for alert in await run.settled()] == [("p1", "minor"), ("p1", "major")]


async def test_stops_on_sigterm_and_goes_on_where_it_was(run: AlertingRun) -> None:
    await run.signals([make_signal("raise", 1, 1)])
    await run.until(lambda alerts: len(alerts) == 1)
    await run.end(run.processes[0])
    assert run.processes[0].returncode == 0
    await run.signals([make_signal("raise", 1, 1), make_signal("clear", 3, 1)])
    await run.command(make_command("comment", id_of(1), text="while it was away"))
    run.start()
    alerts = await run.until(lambda alerts: len(alerts) == 3)
    assert {alert.revision for alert in alerts} == {1, 2, 3}
    assert alerts[-1].comments[0].text == "while it was away"
    assert alerts[-1].state == "cleared"


async def test_without_its_topics_it_waits_and_stops_when_told(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async with alerting_run(kafka, topic_prefix, tmp_path) as other:
        run = AlertingRun(kafka, f"{topic_prefix}nowhere.", tmp_path, other.producer)
        process = run.start()
        try:
            await run.said("alerting-waits-for-topics")
            assert process.poll() is None
            await run.end(process)
        finally:
            process.kill()
    assert process.returncode == 0

"""Alerting is killed in the middle of a burst, or shares the work: the alerts are those of an undisturbed run."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from streams.records import Alert, Signal
from tests.streams.alerting_run import AlertingRun, alerting_run, make_signal

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ASSETS = 80


def burst(seed: int) -> list[Signal]:
    """Conditions that come, grow, flap and go, step by step over all assets."""
    rng = random.Random(seed)
    steps: list[list[Signal]] = [[] for _ in range(70)]
    for at in range(ASSETS):
        asset, step = f"pump-{at}", rng.randint(1, 5)
        while step < 50:
            onset, length = step, rng.randint(1, 12)
            for now in range(onset, onset + length):
                kind = "raise" if now == onset else "keep"
                severity = rng.choice(["minor", "minor", "major"])
                steps[now].append(make_signal(kind, now, onset, asset=asset, risk=round(rng.random(), 3), severity=severity))
            step = onset + length + rng.randint(1, 9)
            for now in range(onset + length, min(step, onset + length + 3)):
                steps[now].append(make_signal("clear", now, onset, asset=asset))
    return [one for step_signals in steps for one in step_signals]


def compacted(alerts: list[Alert]) -> dict[str, bytes]:
    """What a subscriber that keeps the highest revision ends with."""
    newest: dict[str, Alert] = {}
    for alert in alerts:
        if alert.id not in newest or alert.revision >= newest[alert.id].revision:
            newest[alert.id] = alert
    return {key: alert.to_bytes() for key, alert in newest.items()}


def revisions(alerts: list[Alert]) -> dict[tuple[str, int], bytes]:
    """Each revision, once; a revision that was published with two contents fails."""
    found: dict[tuple[str, int], bytes] = {}
    for alert in alerts:
        assert found.setdefault((alert.id, alert.revision), alert.to_bytes()) == alert.to_bytes()
    return found


async def undisturbed(kafka: str, prefix: str, home: Path, signals: list[Signal]) -> list[Alert]:
    async with alerting_run(kafka, prefix, home) as run:
        run.start()
        await run.signals(signals)
        return await run.settled()


async def feed(run: AlertingRun, signals: list[Signal], *, within_s: float) -> None:
    for start in range(0, len(signals), 100):
        await run.signals(signals[start : start + 100])
        await asyncio.sleep(within_s / (len(signals) / 100))


async def test_kill_9_in_a_burst_leaves_the_alerts_of_an_undisturbed_run(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    signals = burst(7)
    expected = await undisturbed(kafka, f"{topic_prefix}a.", tmp_path / "a", signals)
    assert len(compacted(expected)) > ASSETS

    async with alerting_run(kafka, f"{topic_prefix}b.", tmp_path / "b") as run:
        process = run.start()
        feeding = asyncio.create_task(feed(run, signals, within_s=2.0))
        for wanted in (50, 150):
            await run.until(lambda alerts, wanted=wanted: len({alert.id for alert in alerts}) >= wanted)  # type: ignore[misc]
            await run.end(process, signal.SIGKILL)
            process = run.start()
        await feeding
        found = await run.settled()
        final = {record.key: record.value for record in await run.read(run.topics.alerts)}
    assert revisions(found) == revisions(expected)
    assert compacted(found) == compacted(expected)
    # what the broker keeps after compaction is the last record of a key: it is the newest revision too
    assert {key: final[key.encode()] for key in compacted(expected)} == compacted(expected)


async def test_processes_that_join_and_leave_share_the_work_without_losing_or_doubling(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    signals = burst(11)
    expected = await undisturbed(kafka, f"{topic_prefix}a.", tmp_path / "a", signals)
    async with alerting_run(kafka, f"{topic_prefix}b.", tmp_path / "b") as run:
        first = run.start()
        feeding = asyncio.create_task(feed(run, signals, within_s=6.0))
        await run.until(lambda alerts: len(alerts) > 20)
        run.start()
        await run.shared_by(2)
        await run.end(first)
        await feeding
        found = await run.settled()
    assert revisions(found) == revisions(expected)

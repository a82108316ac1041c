"""The broker goes away for longer than the group waits for a member, and comes back: alerting goes on by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import KafkaUnavailable
from tests.streams.alerting_run import alerting_run, make_signal

AWAY_S = 15.0


@pytest.mark.kafka
@pytest.mark.slow
async def test_alerting_waits_for_a_broker_that_is_away_and_goes_on(topic_prefix: str, tmp_path: Path) -> None:
    first = EmbeddedKafka(tmp_path / "broker", port=0)  # its own: the broker of the other tests stays
    try:
        await asyncio.to_thread(first.start)
    except KafkaUnavailable as error:
        pytest.skip(f"no broker: {error}")
    second = EmbeddedKafka(tmp_path / "broker", port=int(first.bootstrap.rpartition(":")[2]))
    try:
        async with alerting_run(first.bootstrap, topic_prefix, tmp_path) as run:
            process = run.start()
            await run.signals([make_signal("raise", 1, 1)])
            await run.until(lambda alerts: len(alerts) == 1)
            await asyncio.to_thread(first.stop)
            await asyncio.sleep(AWAY_S)
            assert process.poll() is None
            await asyncio.to_thread(second.start)
            await run.signals([make_signal("keep", 2, 1, severity="major")])
            alerts = await run.until(lambda alerts: len(alerts) == 2)
            assert [(alert.revision, alert.severity) for alert in alerts] == [(1, "minor"), (2, "major")]
            assert process.poll() is None
            assert len(run.log().splitlines()) < 500, "what is the same is said once in a while"
    finally:
        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(second.stop)

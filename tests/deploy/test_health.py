"""`livetwin health`, on a real broker: a member of the group on this machine is well, none is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deploy.health import RoleAway, check
from deploy.topics import ensure_topics
from streams import clients
from streams.topics import Topics


@pytest.mark.kafka
async def test_a_member_on_this_machine_is_well_and_one_that_has_left_is_not(kafka: str, topic_prefix: str) -> None:
    topics, group = Topics(topic_prefix), f"{topic_prefix}processor"
    await ensure_topics(kafka, topics, 2)
    with pytest.raises(RoleAway, match=r"no member on .*, found members on no machine"):
        await check(kafka, group)
    consumer = clients.consumer(kafka, topics.telemetry, group=group, client_id="test")
    await consumer.start()
    try:
        await consumer.getmany(timeout_ms=100)
        assert await check(kafka, group) == 1
    finally:
        await consumer.stop()
    with pytest.raises(RoleAway):
        await check(kafka, group)


def test_a_broker_that_is_away_is_status_1_and_one_line() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVETWIN_")}
    answer = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "health", "historian"],
        env={**environment, "LIVETWIN_KAFKA": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 1
    assert "group livetwin.historian: 127.0.0.1:1 did not answer" in answer.stderr.splitlines()[-1]

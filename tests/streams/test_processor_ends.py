"""A processor that is told to stop while its broker is away ends in a stated time, and nothing is missing afterwards."""

from __future__ import annotations

import os
import signal
import time
from asyncio import to_thread
from pathlib import Path

import pytest

from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import KafkaUnavailable
from streams import clients, processing
from tests.faults import processes
from tests.faults.system import lasting_port
from tests.faults.tail import behind, until_committed
from tests.streams.plant import Plant, readings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS = 600
STATED_S = processing.STILL_S + clients.FLUSH_S + clients.LEAVE_S


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_it_ends_and_the_next_one_goes_on(topic_prefix: str, tmp_path: Path, how: signal.Signals) -> None:
    broker = EmbeddedKafka(tmp_path / "broker", port=lasting_port(), start_timeout_s=300)  # its own: others need theirs
    try:
        await to_thread(broker.start)
    except KafkaUnavailable as error:
        pytest.skip(f"no broker: {error}")
    role = processes.processor(broker.bootstrap, topic_prefix, tmp_path)
    try:
        plant = await Plant.built(broker.bootstrap, topic_prefix)
        group, telemetry = f"{topic_prefix}processor", [plant.topics.telemetry]
        await plant.feed(readings(STEPS)[:, :60])
        role.start(BATCH="7")
        await until_committed(broker.bootstrap, group, telemetry, within_s=120)
        await plant.feed(readings(STEPS)[:, 60:], first=60)
        while await behind(broker.bootstrap, group, telemetry) > 5 * STEPS:
            assert role.running(), role.said()
        assert broker.pid is not None
        os.kill(broker.pid, how)  # while there is more to do, with outputs on their way
        began = time.monotonic()
        assert await role.end(within_s=10 * STATED_S) == 0, role.said()
        print(f"{how.name}: ended after {time.monotonic() - began:.1f} s, stated {STATED_S:g} s")
        if how == signal.SIGSTOP:
            assert "stopped-unsettled" in role.said()
            os.kill(broker.pid, signal.SIGCONT)
        else:
            await to_thread(broker.wait, 60)
            await to_thread(broker.stop)
            await to_thread(broker.start)
        assert await behind(broker.bootstrap, group, telemetry) > 0, "all was done before: the test proved nothing"
        role.start()
        await until_committed(broker.bootstrap, group, telemetry, within_s=120)
        found = await plant.outputs()  # which holds what was written twice against each other
        assert len(found.history) == 6 * (STEPS - 3)
    finally:
        if role.running():
            await role.end()
        await to_thread(broker.stop)

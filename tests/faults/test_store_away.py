"""The process that owns the store stands still: alerts go on as before, and afterwards the history is complete."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from deploy.ports import free_port
from streams import clients
from streams.records import Alert
from tests.faults import processes
from tests.faults.tail import behind, until_committed
from tests.streams.gateway.conftest import await_answer
from tests.streams.plant import ASSETS, Plant, readings, trained

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS = 200


async def first_alert(plant: Plant, asset: str) -> tuple[Alert, float]:
    """The first alert of a twin, and the seconds between its last reading in the log and it."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for record in await clients.read_to_end(plant.bootstrap, plant.topics.alerts):
            alert = Alert.model_validate_json(record.value)
            if alert.asset == asset:
                read = await clients.read_to_end(plant.bootstrap, plant.topics.telemetry)
                place = (alert.evidence.partition, alert.evidence.last_offset)
                (cause,) = [one for one in read if (one.partition, one.offset) == place]
                return alert, (record.timestamp - cause.timestamp) / 1000
        await asyncio.sleep(0.2)
    raise AssertionError(f"no alert of {asset} within 90 s")


async def test_alerts_are_told_while_the_store_stands_still_and_its_history_is_complete_afterwards(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    await plant.promote(trained(), tmp_path)
    port, group = free_port(), f"{topic_prefix}historian"
    gateway = processes.gateway(kafka, topic_prefix, tmp_path, port)
    roles = [gateway, processes.processor(kafka, topic_prefix, tmp_path), processes.alerting(kafka, topic_prefix, tmp_path)]
    values = readings(2 * STEPS, faults=False)
    values[2, 100:150, 0] += 9
    values[4, STEPS + 100 : STEPS + 150, 1] -= 9
    for role in roles:
        role.start()
    try:
        await asyncio.to_thread(await_answer, f"http://127.0.0.1:{port}/readyz", status=200)
        await plant.feed(values[:, :STEPS])
        _, up_s = await first_alert(plant, "p2")
        await until_committed(kafka, f"{topic_prefix}processor", [plant.topics.telemetry], within_s=60)
        await until_committed(kafka, group, [plant.topics.history, plant.topics.alerts], within_s=60)

        gateway.send(signal.SIGSTOP)
        await plant.feed(values[:, STEPS:], first=STEPS)
        _, away_s = await first_alert(plant, "p4")
        await until_committed(kafka, f"{topic_prefix}processor", [plant.topics.telemetry], within_s=60)
        assert gateway.process is not None
        assert psutil.Process(gateway.process.pid).status() == psutil.STATUS_STOPPED
        assert await behind(kafka, group, [plant.topics.history]) > 0
        print(f"reading to alert: {up_s:.2f} s with the store, {away_s:.2f} s without")

        gateway.send(signal.SIGCONT)
        await until_committed(kafka, group, [plant.topics.history, plant.topics.alerts], within_s=90)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for number, asset in enumerate(ASSETS):
                answer = (await client.get(f"/v1/twins/{asset}/history?points=5000")).json()
                (flow,) = [one["value"] for one in answer["channels"] if one["name"] == "flow"]
                np.testing.assert_array_equal(np.float32(flow), values[number, : 2 * STEPS - 3, 0].astype(np.float32))
    finally:
        gateway.send(signal.SIGCONT)
        for role in roles:
            await role.end()

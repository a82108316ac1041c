"""Exactly once by determinism, on a real broker: what a disturbed run leaves behind equals an undisturbed run's."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from models.served import ServedModel
from streams import clients
from tests.streams.plant import Outputs, Plant, readings, trained

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS = 900


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return trained()


@asynccontextmanager
async def processor(plant: Plant, *, batch: int = 97, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A processor process; terminated, and waited for, at the end. What it logs is shown when the test fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.streams.processor_process", plant.bootstrap, plant.topics.prefix, f"{plant.topics.prefix}g",
        env={**os.environ, "OMP_NUM_THREADS": "1", "BATCH": str(batch), **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 120)


async def committed(plant: Plant) -> tuple[int, int]:
    """Records committed by the group, and records there are."""
    reader = clients.consumer(plant.bootstrap, group=f"{plant.topics.prefix}g", client_id="watch")
    await reader.start()
    try:
        partitions = [TopicPartition(plant.topics.telemetry, p) for p in range(3)]
        reader.assign(partitions)
        done = [await reader.committed(partition) or 0 for partition in partitions]
        ends = await reader.end_offsets(partitions)
        return sum(done), sum(ends.values())
    finally:
        await reader.stop()


async def until_done(plant: Plant, share: float = 1.0) -> None:
    for _ in range(800):
        done, end = await committed(plant)
        if done >= end * share:
            return
        await asyncio.sleep(0.15)
    raise AssertionError(f"{done} of {end} records committed, expected {share:.0%}")


_undisturbed: list[Outputs] = []  # the outputs do not depend on the prefix: one run serves both tests


async def undisturbed(kafka: str, prefix: str, model: ServedModel, folder: Path) -> Outputs:
    if _undisturbed:
        return _undisturbed[0]
    plant = await Plant.built(kafka, f"{prefix}calm.")
    await plant.promote(model, folder)
    await plant.feed(readings(STEPS))
    async with processor(plant, batch=500):
        await until_done(plant)
    _undisturbed.append(await plant.outputs())
    return _undisturbed[0]


def same(found: Outputs, expected: Outputs) -> None:
    assert found.history.keys() == expected.history.keys()
    assert found.history == expected.history
    assert found.signals == expected.signals
    assert found.states == expected.states


async def test_outputs_after_kill_9_equal_an_undisturbed_runs(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    expected = await undisturbed(kafka, topic_prefix, model, tmp_path)
    # every step of every twin once but those still open, scored by the version from the first one on, and the faults were seen
    assert len(expected.history) == 6 * (STEPS - 3)
    assert {key[0] for key in expected.signals} >= {"p2", "p4"}  # type: ignore[index]

    seed = random.randrange(10**6)
    print(f"seed {seed}")
    pick = random.Random(seed)
    plant = await Plant.built(kafka, f"{topic_prefix}rough.")
    await plant.promote(model, tmp_path)
    feeding = asyncio.create_task(plant.feed(readings(STEPS)))
    # once where it hurts most, wherever that is in the log; then at random moments
    async with processor(plant, batch=pick.randint(20, 200), DIE_AT_COMMIT="2") as process:
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL
    for share in (0.4, 0.7):
        async with processor(plant, batch=pick.randint(20, 200)) as process:
            await until_done(plant, share)
            await asyncio.sleep(pick.random() * 0.4)
            process.send_signal(signal.SIGKILL)
            await process.wait()
    await feeding
    async with processor(plant):
        await until_done(plant)
    found = await plant.outputs()
    same(found, expected)
    assert found.repeated > 0, "nothing was written twice: the kills hit no batch, the test proved nothing"


async def test_processors_that_join_and_leave_lose_and_double_nothing(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    expected = await undisturbed(kafka, topic_prefix, model, tmp_path)
    plant = await Plant.built(kafka, f"{topic_prefix}moving.")
    await plant.promote(model, tmp_path)
    async with processor(plant):
        await plant.feed(readings(STEPS)[:, :300])
        await until_done(plant, 0.5)
        async with processor(plant):
            await plant.feed(readings(STEPS)[:, 300:600], first=300)
            await until_done(plant)
            await asyncio.sleep(1)
        await plant.feed(readings(STEPS)[:, 600:], first=600)
        await until_done(plant)
    same(await plant.outputs(), expected)

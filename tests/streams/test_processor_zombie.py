"""A processor that was paused while another worked: when it wakes up it changes nothing, and goes on from where the other was."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from models.served import ServedModel
from streams import clients
from streams.checkpoint import TWIN_PREFIX, WRITER_HEADER, mark_key, owner_key
from tests.faults import processes
from tests.faults.tail import until_committed
from tests.streams.plant import Outputs, Plant, readings, trained
from tests.streams.test_processor_exactness import same

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS = 240


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return trained()


async def plant_with(kafka: str, prefix: str, model: ServedModel, folder: Path) -> Plant:
    plant = await Plant.built(kafka, prefix)
    await plant.promote(model, folder)
    return plant


async def done(plant: Plant) -> None:
    await until_committed(plant.bootstrap, f"{plant.topics.prefix}processor", [plant.topics.telemetry], within_s=120)


async def undisturbed(kafka: str, prefix: str, model: ServedModel, folder: Path) -> Outputs:
    """What one processor makes of all readings."""
    plant = await plant_with(kafka, prefix, model, folder)
    await plant.feed(readings(3 * STEPS))
    only = processes.processor(kafka, prefix, folder, "only")
    only.start()
    try:
        await done(plant)
    finally:
        await end_all(only)
    return await plant.outputs()


async def end_all(*roles: processes.Role) -> None:
    """End those that still run, also one that sleeps."""
    for role in roles:
        if role.running():
            role.send(signal.SIGCONT)
            await role.end()


async def test_one_that_slept_through_anothers_whole_life_goes_on_from_where_that_one_was(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    values = readings(3 * STEPS)
    expected = await undisturbed(kafka, f"{topic_prefix}calm.", model, tmp_path)

    rough = await plant_with(kafka, f"{topic_prefix}rough.", model, tmp_path)
    sleeper, other = (processes.processor(kafka, rough.topics.prefix, tmp_path, name) for name in ("sleeper", "other"))
    # it looks after its partitions between two polls: a rebalance that begins and ends within one poll must not pass unseen
    sleeper.start(BATCH_WAIT_MS="5000")
    try:
        await rough.feed(values[:, :STEPS])
        await done(rough)
        sleeper.send(signal.SIGSTOP)
        other.start()
        await rough.feed(values[:, STEPS : 2 * STEPS], first=STEPS)
        await done(rough)  # by the other, once the group has given the sleeper up
        await other.end()  # it leaves the group: the sleeper is given the same partitions as before, at once
        await rough.feed(values[:, 2 * STEPS :], first=2 * STEPS)
        sleeper.send(signal.SIGCONT)
        await done(rough)
    finally:
        await end_all(sleeper, other)
    same(await rough.outputs(), expected)


async def overwritten(plant: Plant) -> bool:
    """Whether a twin of the sleeper stands over its successor's, before a mark of the successor."""
    newest = {(one.partition, one.key): one for one in await clients.read_to_end(plant.bootstrap, plant.topics.checkpoint)}
    for (partition, key), twin in newest.items():
        mark = newest.get((partition, mark_key(partition)))
        if mark is not None and key.startswith(TWIN_PREFIX):
            (writer, by) = (dict(one.headers)[WRITER_HEADER] for one in (twin, mark))
            since = newest[partition, owner_key(by.decode())].offset
            if writer != by and since < twin.offset < mark.offset:
                return True
    return False


async def test_what_one_that_slept_saves_over_the_checkpoints_of_its_successor_misleads_nobody(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    """Its twins are older than the successor's mark: who takes over from both begins at those twins."""
    values = readings(3 * STEPS)
    expected = await undisturbed(kafka, f"{topic_prefix}calm.", model, tmp_path)

    rough = await plant_with(kafka, f"{topic_prefix}rough.", model, tmp_path)
    sleeper, other, third = (
        processes.processor(kafka, rough.topics.prefix, tmp_path, name) for name in ("sleeper", "other", "third")
    )
    sleeper.start(CHECKPOINT_S="3600")  # what it saves, it saves when it hears that its partitions are another's
    try:
        await rough.feed(values[:, :STEPS])
        await done(rough)
        sleeper.send(signal.SIGSTOP)
        other.start(CHECKPOINT_S="0.2")
        await rough.feed(values[:, STEPS : 2 * STEPS], first=STEPS)
        await done(rough)
        sleeper.send(signal.SIGCONT)
        for _ in range(1200):
            if await overwritten(rough):
                break
            await asyncio.sleep(0.1)
        assert await overwritten(rough), sleeper.said()
        for role in (sleeper, other):
            await role.end(signal.SIGKILL)
        third.start()
        await rough.feed(values[:, 2 * STEPS :], first=2 * STEPS)
        await done(rough)
    finally:
        await end_all(sleeper, other, third)
    same(await rough.outputs(), expected)

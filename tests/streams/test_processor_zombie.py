"""A processor that was paused while another worked: when it wakes up it changes nothing, and goes on from where the other was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from models.served import ServedModel
from tests.faults import processes
from tests.faults.tail import until_committed
from tests.streams.plant import Plant, readings, trained
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


async def test_one_that_slept_through_anothers_whole_life_goes_on_from_where_that_one_was(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    values = readings(3 * STEPS)
    calm = await plant_with(kafka, f"{topic_prefix}calm.", model, tmp_path)
    await calm.feed(values)
    only = processes.processor(kafka, calm.topics.prefix, tmp_path, "only")
    only.start()
    try:
        await done(calm)
    finally:
        await only.end()

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
        for role in (sleeper, other):
            if role.running():
                role.send(signal.SIGCONT)
                await role.end()
    same(await rough.outputs(), await calm.outputs())

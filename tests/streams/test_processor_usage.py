"""What scoring takes, as a processor tells it on the real topic."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from models.power import PowerTerms
from streams import clients
from streams.processor import run_processor
from streams.usage import ProcessorUsage, wh_per_million_steps
from streams.usage_report import _watts
from tests.streams.plant import Plant, readings, trained

STEPS = 80


@pytest.mark.kafka
async def test_a_processor_tells_the_steps_it_scored_and_their_energy(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    await plant.promote(trained(), tmp_path)
    await plant.feed(readings(STEPS, faults=False))
    began, stop = time.process_time(), asyncio.Event()
    power = PowerTerms(cpu_watts=36.0 * (psutil.cpu_count() or 1))
    running = asyncio.create_task(
        run_processor(
            bootstrap=kafka,
            topics=plant.topics,
            batch_wait_ms=20,
            group=f"{topic_prefix}processor",
            session_timeout_ms=6_000,
            power=power,
            usage_every_s=0.3,
            stop=stop,
        )
    )
    try:
        async with asyncio.timeout(120):
            found = await told(plant)
            while not (found and 0 < found[-1].scored_steps == await scored(plant)):
                await asyncio.sleep(0.2)
                found = await told(plant)
    finally:
        stop.set()
        await running
    took_s = time.process_time() - began
    newest = found[-1]
    assert newest.scored_steps == await scored(plant) > 0
    assert {one.instance for one in found} == {newest.instance}
    assert 0 < newest.cpu_s <= took_s + 0.1
    assert newest.energy_wh == pytest.approx(newest.cpu_s / 100)  # 36 W a thread
    assert newest.source is not None
    assert wh_per_million_steps([newest]) == pytest.approx(newest.cpu_s / 100 / newest.scored_steps * 1e6)


async def told(plant: Plant) -> list[ProcessorUsage]:
    records = await clients.read_to_end(plant.bootstrap, plant.topics.monitoring)
    return [ProcessorUsage.model_validate_json(record.value) for record in records if record.key.startswith(b"usage/")]


async def scored(plant: Plant) -> int:
    """Steps in the history that a version scored."""
    return sum(bool(isinstance(row, tuple) and row[-1]) for row in (await plant.outputs()).history.values())


async def test_without_a_setting_the_power_comes_from_the_tables_by_another_process() -> None:
    watts, source = await _watts(PowerTerms())
    assert watts is not None
    assert watts > 0
    assert source is not None
    assert source.startswith("estimated: CPU time at ")


def test_a_million_steps_are_told_only_where_power_and_steps_are_known() -> None:
    dark = ProcessorUsage(instance="a", since_ns=0, time_ns=1, scored_steps=10, cpu_s=3600.0)
    lit = dark.model_copy(update={"instance": "b", "watts": 2.0, "scored_steps": 1000})
    assert wh_per_million_steps([]) is None
    assert wh_per_million_steps([dark]) is None
    assert wh_per_million_steps([dark, lit]) == 2000.0
    assert wh_per_million_steps([lit.model_copy(update={"scored_steps": 0})]) is None

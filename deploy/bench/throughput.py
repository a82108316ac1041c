"""Throughput: records a second of the whole job, beside bare consuming and beside consume, decode and fold.

One process each, one after the other, over the same records of the same topic; timed from the first micro-batch to the last. The
processor has met every twin before: claiming a partition for each takes some round trips to the broker, once in a twin's life.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from aiokafka import ConsumerRecord

from deploy.bench.figures import Figure
from deploy.bench.plant import BenchPlant
from deploy.bench.running import running_processor
from streams import clients
from streams.definitions import read_definitions
from streams.folding import Folder

GROUP = "throughput"
BATCH = 8000  # at which both references are fastest; the processor takes twice as many


class Throughput:
    """Rounds of all three by turns, each over a stretch of its own, so that what else the machine does meets all of them.

    The first round is shown and not counted: the broker compiles its code while it runs. Of the others the median counts, and the
    ratios are medians of the rounds' own ratios, so that one lucky round of a reference is not held against an unlucky one.
    """

    def __init__(self, readings_a_step: int) -> None:
        self._what = f"{readings_a_step} {'reading' if readings_a_step == 1 else 'readings'} a step"
        self._rates: dict[str, list[float]] = {"consume": [], "fold": [], "whole": [], "steps": []}

    async def measure(self, plant: BenchPlant) -> None:
        """One round over the newest stretch, records of which nobody of the group has worked off."""
        folder = Folder(await read_definitions(plant.bootstrap, plant.topics))
        found = {"consume": await _consume(plant, lambda _: None), "fold": await _consume(plant, folder.fold)}
        found["whole"], found["steps"] = await _whole_job(plant)
        print(f"bench: {', '.join(f'{name} {rate:,.0f}' for name, rate in found.items())} a second", flush=True)
        for name, rate in found.items():
            self._rates[name].append(rate)

    def figures(self) -> list[Figure]:
        counted = {name: np.asarray(rates[1:]) for name, rates in self._rates.items()}
        middle = {name: round(float(np.median(rates))) for name, rates in counted.items()}

        def beside(measure: str, name: str, reference: str) -> Figure:
            ratio = float(np.median(counted[name] / counted[reference]))
            return Figure(f"{measure}, {self._what}", middle[name], "records/s", middle[reference], ratio)

        return [
            Figure(f"consume alone (aiokafka), {self._what}", middle["consume"], "records/s"),
            beside("consume, decode, fold", "fold", "consume"),
            beside("whole job, outputs acknowledged", "whole", "fold"),
            Figure(f"whole job, closed and scored, {self._what}", middle["steps"], "steps/s"),
        ]


async def _consume(plant: BenchPlant, each: Callable[[list[ConsumerRecord]], object]) -> float:
    consumer = clients.consumer(plant.bootstrap, plant.topics.telemetry, client_id="livetwin-bench", max_poll_records=BATCH)
    await consumer.start()
    try:
        for partition, start in plant.starts.items():
            consumer.seek(partition, start)
        done, before, began = 0, 0, 0.0
        while done < plant.records - plant.met:
            found = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
            records = [record for batch in found.values() for record in batch]
            each(records)
            done += len(records)
            if not before:
                before, began = done, time.perf_counter()
        return (done - before) / (time.perf_counter() - began)
    finally:
        await consumer.stop()


async def meet_twins(plant: BenchPlant) -> None:
    """Have the group that is measured later work off what is there."""
    async with running_processor(plant.bootstrap, plant.topics, GROUP) as processor:
        await processor.until(lambda: processor.records >= plant.records and processor.stats.counts["steps"] > 0)
        await processor.settle()


async def _whole_job(plant: BenchPlant) -> tuple[float, float]:
    """Records and closed steps a second of a processor with its models."""
    async with running_processor(plant.bootstrap, plant.topics, GROUP) as processor:
        await processor.until(lambda: processor.records > 0)
        began, records, steps = time.perf_counter(), processor.records, processor.stats.counts["steps"]
        await processor.until(lambda: processor.records >= plant.records - plant.met)
        await processor.settle()
        took = time.perf_counter() - began
    return (processor.records - records) / took, (processor.stats.counts["steps"] - steps) / took

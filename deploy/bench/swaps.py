"""Swaps: how long a micro-batch waits while the versions of all models are exchanged, under full load.

In:   two trained versions a model, of one structure.
Out:  the pause (from the decision to switch until all partitions score by the new version), and the load meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from deploy.bench.figures import Figure, quantiles
from deploy.bench.plant import BenchPlant, SavedVersion, promote
from deploy.bench.running import running_processor

EVERY_S = 0.1
SWAPS = 100  # so many, where the backlog suffices: of fewer a p99 says nothing


async def measure_swaps(plant: BenchPlant, versions: tuple[list[SavedVersion], list[SavedVersion]]) -> list[Figure]:
    async with running_processor(plant.bootstrap, plant.topics, "swaps") as processor:
        await processor.until(lambda: processor.records > 0)
        promoting = asyncio.create_task(_promote_in_turn(plant, versions))
        began, records = time.perf_counter(), processor.records
        try:
            await processor.until(
                lambda: processor.stats.swaps >= SWAPS or processor.records >= plant.records or promoting.done()
            )
        finally:
            promoting.cancel()
            await asyncio.gather(promoting, return_exceptions=True)
        took, records = time.perf_counter() - began, processor.records - records
        await processor.settle()
    return [
        *quantiles("swap pause of a processor under load", processor.stats.swap_pause_s),
        Figure(f"records/s meanwhile, a promotion every {EVERY_S:g} s", round(records / took), "records/s"),
    ]


async def _promote_in_turn(plant: BenchPlant, versions: tuple[list[SavedVersion], list[SavedVersion]]) -> None:
    for turn in itertools.count(1):
        await promote(plant.bootstrap, plant.topics, versions[turn % 2])
        await asyncio.sleep(EVERY_S)

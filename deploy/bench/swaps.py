"""Swaps: how long a micro-batch waits while the versions of all models are exchanged, under full load.

In:   two trained versions a model, of one structure.
Out:  the pause (from the decision to switch until all partitions score by the new version), and the load meanwhile. Beside it, by
      turns on the same thread: a piece of plain Python that takes as long as a switch when nobody disturbs it. What that takes at
      its p99 is waiting for a core and for Python's lock, not switching.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from deploy.bench.figures import Figure, quantiles
from deploy.bench.plant import BenchPlant, SavedVersion, promote
from deploy.bench.running import running_processor

EVERY_S = 0.1
SWITCH_S = 0.0003  # a switch of four models and eight partitions at its median
SWAPS = 100  # so many, where the backlog suffices: of fewer a p99 says nothing


async def measure_swaps(plant: BenchPlant, versions: tuple[list[SavedVersion], list[SavedVersion]]) -> list[Figure]:
    async with running_processor(plant.bootstrap, plant.topics, "swaps") as processor:
        await processor.until(lambda: processor.records > 0)
        rounds, idle_s = _as_long_as_a_switch()
        held_against: list[float] = []
        promoting = asyncio.create_task(_promote_in_turn(plant, versions))
        computing = asyncio.create_task(_compute_in_turn(rounds, held_against))
        began, records = time.perf_counter(), processor.records
        try:
            await processor.until(
                lambda: processor.stats.swaps >= SWAPS or processor.records >= plant.records or promoting.done()
            )
        finally:
            for task in (promoting, computing):
                task.cancel()
            await asyncio.gather(promoting, computing, return_exceptions=True)
        took, records = time.perf_counter() - began, processor.records - records
        await processor.settle()
    reference = f"plain Python of {idle_s * 1000:.2g} ms, on the same thread"
    control = quantiles(reference, held_against)
    pauses = quantiles("swap pause of a processor under load", processor.stats.swap_pause_s)
    return [
        *(Figure.beside(one.measure, one.value, one.unit, held.value) for one, held in zip(pauses[:2], control[:2], strict=True)),
        pauses[2],
        *control,
        Figure(f"records/s meanwhile, a promotion every {EVERY_S:g} s", round(records / took), "records/s"),
    ]


async def _promote_in_turn(plant: BenchPlant, versions: tuple[list[SavedVersion], list[SavedVersion]]) -> None:
    for turn in itertools.count(1):
        await promote(plant.bootstrap, plant.topics, versions[turn % 2])
        await asyncio.sleep(EVERY_S)


def _compute(rounds: int) -> float:
    began, found = time.perf_counter(), 0
    for one in range(rounds):
        found += one
    return time.perf_counter() - began


def _as_long_as_a_switch() -> tuple[int, float]:
    """Rounds of plain Python that take SWITCH_S where nothing disturbs them, and how long they did, seconds: the best of many."""
    fastest = min(_compute(1000) for _ in range(200))
    rounds = max(1, round(1000 * SWITCH_S / fastest))
    return rounds, rounds / 1000 * fastest


async def _compute_in_turn(rounds: int, took_s: list[float]) -> None:
    while True:
        await asyncio.sleep(EVERY_S / 2)
        took_s.append(_compute(rounds))

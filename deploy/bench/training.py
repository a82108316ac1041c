"""Training beside a processor: what a backlog takes while updates run without a pause, against what it takes alone.

Once on all cores, and once with the processor and the training process on one core, where nothing but priority parts them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import psutil

from deploy.bench.figures import Figure
from deploy.bench.plant import LEARNT_DAYS, MONDAY_NS, SEED, STEP_S, SavedVersion
from deploy.bench.processes import WorkedOff, work_off
from deploy.feeds.water_fleet import water_interfaces
from deploy.feeds.water_plant import simulate
from models.update import UpdateFailed, UpdateJob
from streams.training_worker import TrainingWorker
from twin.types import compile_type


async def measure_training(bootstrap: str, prefix: str, home: Path, versions: list[SavedVersion], days: float) -> list[Figure]:
    """Records a second of one processor process with and without updates of all types beside it."""
    found: list[Figure] = []
    cores: list[int | None] = [None]
    if hasattr(os, "sched_getaffinity"):
        cores.append(min(os.sched_getaffinity(0)))
    for core in cores:
        what = ", on one core" if core is not None else ""

        async def backlog(name: str, *, on_one_core: bool = core is not None) -> WorkedOff:
            return await work_off(
                bootstrap, f"{prefix}{name}.", versions, days=days, readings_a_step=1, processes=1, a_core_each=on_one_core
            )

        alone = await backlog(f"alone{core}")
        async with _updates(home, core) as done:
            beside = await backlog(f"beside{core}")
        rates = [one.records / one.took_s for one in (alone, beside)]
        costs = [1e6 * one.cpu_s / one.records for one in (alone, beside)]
        found += [
            Figure(f"processor alone{what}", round(rates[0]), "records/s"),
            Figure.beside(f"processor, training beside it{what}", round(rates[1]), "records/s", round(rates[0])),
            Figure.beside(f"CPU of the processor, training beside it{what}", round(costs[1], 1), "us/record", round(costs[0], 1)),
            Figure(f"updates in that time{what}", float(len(done)), "1"),
        ]
    return found


@asynccontextmanager
async def _updates(home: Path, core: int | None) -> AsyncIterator[list[str]]:
    """Update one type after the other without a pause, in the trainer's own process; yields what was updated so far."""
    worker, done = TrainingWorker(), list[str]()
    blocks = simulate(LEARNT_DAYS, seed=SEED, step_s=STEP_S, start_ns=MONDAY_NS)
    kinds = itertools.cycle([compile_type(interface) for interface in water_interfaces(STEP_S)])

    async def update() -> None:
        kind = next(kinds)
        exclude = np.zeros(blocks[kind.id].values.shape[:2], np.bool_)
        job = UpdateJob(home, kind, blocks[kind.id], exclude, None, False, 1, alarms_per_twin_day=0.02, seed=SEED, threads=1)
        found = await worker.run(job)
        if isinstance(found, UpdateFailed):
            raise RuntimeError(f"update of {kind.slug} failed: {found.why}; nothing was measured")
        done.append(kind.slug)

    async def on_and_on() -> None:
        while True:
            await update()

    try:
        await update()  # the process is there, and its libraries loaded
        if core is not None:
            psutil.Process(worker.pid).cpu_affinity([core])
        done.clear()
        running = asyncio.create_task(on_and_on())
        yield done
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()
    finally:
        await worker.close()

"""Training beside a processor: what a backlog takes while a trainer updates without a pause, against what it takes alone.

Once on all cores, and once with processor and trainer on one core, where nothing but priority parts them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from deploy.bench.figures import Figure
from deploy.bench.plant import SavedVersion
from deploy.bench.processes import WorkedOff, work_off


async def measure_training(bootstrap: str, prefix: str, home: Path, versions: list[SavedVersion], days: float) -> list[Figure]:
    """Records a second of one processor process with and without a trainer beside it, and what the trainer got."""
    found: list[Figure] = []
    pinned = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
    for one_core in (False, True) if pinned else (False,):
        what = ", on one core" if one_core else ""
        alone, beside = [
            await _worked_off(bootstrap, f"{prefix}{name}{len(found)}.", versions, days, one_core=one_core, home=folder)
            for name, folder in (("alone", None), ("beside", home / f"trainer{len(found)}"))
        ]
        rates = [done.records / done.took_s for done in (alone, beside)]
        costs = [1e6 * done.cpu_s / done.records for done in (alone, beside)]
        found += [
            Figure(f"processor alone{what}", round(rates[0]), "records/s"),
            Figure.beside(f"processor, a trainer beside it{what}", round(rates[1]), "records/s", round(rates[0])),
            Figure.beside(
                f"CPU of the processor, a trainer beside it{what}", round(costs[1], 1), "us/record", round(costs[0], 1)
            ),
            Figure(f"trainer's share of the CPU time of both{what}", round(_share(beside), 3), "1"),
        ]
    return found


def _share(beside: WorkedOff) -> float:
    return beside.cpu_beside_s / (beside.cpu_beside_s + beside.cpu_s)


async def _worked_off(
    bootstrap: str, prefix: str, versions: list[SavedVersion], days: float, *, one_core: bool, home: Path | None
) -> WorkedOff:
    async def trainer() -> asyncio.subprocess.Process:
        assert home is not None
        return await _trainer(bootstrap, prefix, home, one_core=one_core)

    return await work_off(
        bootstrap,
        prefix,
        versions,
        days=days,
        readings_a_step=1,
        processes=1,
        a_core_each=one_core,
        beside=trainer if home is not None else None,
    )


async def _trainer(bootstrap: str, prefix: str, home: Path, *, one_core: bool) -> asyncio.subprocess.Process:
    """The role itself, with an update of some type under way at any time, since none is tried before it serves."""
    told = {"KAFKA": bootstrap, "TOPIC_PREFIX": prefix, "HOME": str(home), "TRAIN_EVERY_S": "0.1"}
    told |= {"SHADOW_STEPS": "0", "CANARY_STEPS": "0", "WATCH_STEPS": "0"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{f"LIVETWIN_{name}": value for name, value in told.items()}}
    command = [sys.executable, "-m", "deploy.cli", "trainer"]
    started = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    if one_core:
        os.sched_setaffinity(started.pid, {min(os.sched_getaffinity(0))})  # whatever it starts inherits it
    return started

"""Processors as processes of their own: how long they take for a backlog, and what it costs them.

They share the partitions, meet the twins and are halted; when the backlog is there they go on together. Timed from there to the
last block on `twin.history`, by its timestamp, so that starting, joining and leaving are not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import psutil
from aiokafka.admin import AIOKafkaAdminClient

from deploy.bench.figures import Figure
from deploy.bench.plant import BenchPlant, SavedVersion, promote
from streams import clients
from streams.history import HistoryBlock

GIVEN_S = 600.0
POLL_S = 0.1
SESSION_MS = 300_000  # nobody may be taken for dead while halted
_PROCESSOR = """
import asyncio, os, sys
bootstrap, prefix, group, session_ms, core = sys.argv[1:]
if core:
    os.sched_setaffinity(0, {int(core)})
from streams.processor import run_processor
from streams.topics import Topics
stop = asyncio.Event()
asyncio.run(run_processor(bootstrap=bootstrap, topics=Topics(prefix), group=group, session_timeout_ms=int(session_ms), stop=stop))
"""


@dataclass(frozen=True, slots=True)
class WorkedOff:
    """A backlog that is done: its plant, all of `twin.history`; and of what was not met before, seconds and CPU seconds."""

    plant: BenchPlant
    blocks: list[HistoryBlock]
    took_s: float
    cpu_s: float
    cpu_beside_s: float  # of what was started beside it

    @property
    def records(self) -> int:
        return self.plant.records - self.plant.met

    @property
    def steps(self) -> int:
        return sum(len(block) for block in self.blocks)


async def work_off(
    bootstrap: str,
    prefix: str,
    versions: list[SavedVersion],
    *,
    days: float,
    readings_a_step: int,
    processes: int,
    a_core_each: bool = False,
    beside: Callable[[], Awaitable[asyncio.subprocess.Process]] | None = None,
) -> WorkedOff:
    """Raises TimeoutError when the backlog is not done, and ChildProcessError when a process ends before it is.

    `beside` starts another process, once the processors have met the twins.
    """
    running: list[asyncio.subprocess.Process] = []
    others: list[asyncio.subprocess.Process] = []
    group = f"{prefix}processes"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def until(reached: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(GIVEN_S):
            while not await reached():
                for one in (*running, *others):
                    if one.returncode is not None:
                        raise ChildProcessError(f"process {one.pid} ended with {one.returncode}; nothing was measured")
                await asyncio.sleep(POLL_S)

    async def meet(plant: BenchPlant) -> None:
        await promote(bootstrap, plant.topics, versions)
        command = [sys.executable, "-c", _PROCESSOR, bootstrap, prefix, group, str(SESSION_MS)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        cores = [str(core) for core in sorted(os.sched_getaffinity(0))] if a_core_each else [""] * processes
        starting = [asyncio.create_subprocess_exec(*command, core, env=environment) for core in cores[:processes]]
        running.extend(await asyncio.gather(*starting))
        await until(lambda: _shared(admin, group, processes))
        await until(lambda: _committed(admin, group, plant.records))
        _signal(running, signal.SIGSTOP)
        if beside is not None:
            others.append(await beside())

    try:
        plant = await BenchPlant.filled(bootstrap, prefix, days=days, readings_a_step=readings_a_step, meet=meet)
        ours, beside_us = [one.pid for one in running], [one.pid for one in others]
        cpu, cpu_beside, began_ms = cpu_s(ours), cpu_s(beside_us), time.time_ns() / 1e6
        _signal(running, signal.SIGCONT)
        await until(lambda: _committed(admin, group, plant.records))
        cpu, cpu_beside = cpu_s(ours) - cpu, cpu_s(beside_us) - cpu_beside
    finally:
        await admin.close()
        for one in (*running, *others):
            if one.returncode is None:
                one.kill()
            await one.wait()
    history = await clients.read_to_end(bootstrap, plant.topics.history)
    blocks = [HistoryBlock.from_bytes(record.value) for record in history]
    return WorkedOff(plant, blocks, (max(record.timestamp for record in history) - began_ms) / 1000, cpu, cpu_beside)


async def measure_processes(bootstrap: str, prefix: str, versions: list[SavedVersion], days: float) -> list[Figure]:
    """Records a second of two processors that share the partitions, beside one: with all cores for both, and with a core each.

    A processor folds on one core and scores on another, so on two cores only the second says what a process more brings.
    """
    found: list[Figure] = []
    pinned = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
    for a_core_each in (False, True) if pinned else (False,):
        what = ", a core each" if a_core_each else ""
        one, two = [
            await work_off(
                bootstrap,
                f"{prefix}{count}{'c' if a_core_each else ''}.",
                versions,
                days=days,
                readings_a_step=1,
                processes=count,
                a_core_each=a_core_each,
            )
            for count in (1, 2)
        ]
        rates = [done.records / done.took_s for done in (one, two)]
        costs = [1e6 * done.cpu_s / done.records for done in (one, two)]
        found += [
            Figure(f"1 processor process{what}", round(rates[0]), "records/s"),
            Figure.beside(f"2 processor processes{what}", round(rates[1]), "records/s", round(rates[0])),
            Figure(f"CPU of 1 processor process{what}", round(costs[0], 1), "us/record"),
            Figure.beside(f"CPU of 2 processor processes{what}", round(costs[1], 1), "us/record", round(costs[0], 1)),
        ]
    return found


def _signal(running: list[asyncio.subprocess.Process], number: signal.Signals) -> None:
    for one in running:
        one.send_signal(number)


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of these processes and of those that they have started and that still run; of one that has ended none."""
    found = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            one = psutil.Process(pid)
            for each in (one, *one.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                    times = each.cpu_times()
                    found += times.user + times.system
    return found


async def _shared(admin: AIOKafkaAdminClient, group: str, members: int) -> bool:
    """Whether so many members hold partitions."""
    (answer,) = await admin.describe_consumer_groups([group])
    _, _, state, _, _, found, *_ = answer.groups[0]
    return bool(state == "Stable" and len(found) == members)


async def _committed(admin: AIOKafkaAdminClient, group: str, records: int) -> bool:
    found = await admin.list_consumer_group_offsets(group)
    return sum(max(int(at.offset), 0) for at in found.values()) >= records

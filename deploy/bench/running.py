"""A processor that runs inside the benchmark's process, and what it has done so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from streams.processor import ProcessorStats, run_processor
from streams.topics import Topics

POLL_S = 0.01
GIVEN_S = 600.0


@dataclass(frozen=True, slots=True)
class RunningProcessor:
    """`run_processor` as a task."""

    task: asyncio.Task[None]
    stop: asyncio.Event
    stats: ProcessorStats

    @property
    def records(self) -> int:
        return self.stats.counts["records"]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for a condition; what ends the processor before is raised, and TimeoutError after GIVEN_S."""
        async with asyncio.timeout(GIVEN_S):
            while not reached():
                await asyncio.wait({self.task}, timeout=POLL_S)
                if self.task.done():
                    self.task.result()
                    return

    async def settle(self) -> None:
        """Stop it: outputs acknowledged, offsets committed, checkpoints written."""
        self.stop.set()
        await self.task


@asynccontextmanager
async def running_processor(bootstrap: str, topics: Topics, group: str) -> AsyncIterator[RunningProcessor]:
    stop, stats = asyncio.Event(), ProcessorStats()
    task = asyncio.create_task(
        run_processor(bootstrap=bootstrap, topics=topics, group=topics.prefix + group, stop=stop, stats=stats)
    )
    try:
        yield RunningProcessor(task, stop, stats)
    finally:
        stop.set()
        await task

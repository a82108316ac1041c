"""A processor tells once a minute what it has scored and taken.

In:   its counts, its CPU time, the power of this machine.
Out:  `ProcessorUsage` on `monitoring`; a minute that can't be told is left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import uuid
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.energy import cpu_seconds
from models.power import PowerTerms, watts_a_cpu_second
from streams.shipping import ProcessorStats
from streams.topics import Topics
from streams.usage import ProcessorUsage
from streams.waiting import pause

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
SCORED: Final = "scored"  # of the processor's counts
_LOOK_S = 60.0

T = TypeVar("T")


class UsageReport:
    """Counts from its making on, over restarts of the loop."""

    def __init__(self, topics: Topics, stats: ProcessorStats, power: PowerTerms, *, every_s: float = EVERY_S) -> None:
        self._topic, self._stats, self._power, self._every_s = topics.monitoring, stats, power, every_s
        self._instance, self._since_ns = uuid.uuid4().hex[:12], time.time_ns()
        self._cpu_s, self._scored = cpu_seconds(), stats.counts[SCORED]
        self._watts: tuple[float | None, str | None] | None = None

    async def run(self, producer: AIOKafkaProducer, stop: asyncio.Event) -> None:
        """Tell every so often, until `stop`."""
        while True:
            await pause(stop, self._every_s)
            if stop.is_set():
                return
            if self._watts is None:
                self._watts = await _unless_stopped(_watts(self._power), stop)
                if self._watts is None:
                    return
            usage = self._usage(*self._watts)
            try:
                await producer.send_and_wait(self._topic, key=f"usage/{self._instance}".encode(), value=usage.to_bytes())
            except KafkaError as error:
                log.info("usage-not-told", extra={"found": repr(error)})

    def _usage(self, watts: float | None, source: str | None) -> ProcessorUsage:
        return ProcessorUsage(
            instance=self._instance,
            since_ns=self._since_ns,
            time_ns=time.time_ns(),
            scored_steps=self._stats.counts[SCORED] - self._scored,
            cpu_s=round(cpu_seconds() - self._cpu_s, 3),
            watts=watts,
            source=source,
        )


async def _unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """What `work` gives; None, and it is cancelled, where `stop` comes first."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


async def _watts(power: PowerTerms) -> tuple[float | None, str | None]:
    """By a process of its own, where tables must be read; it is nice."""
    if power.cpu_watts is not None:
        return watts_a_cpu_second(power)
    try:
        asked = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "models.power", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            told, _ = await asyncio.wait_for(asked.communicate(), _LOOK_S)
        except BaseException:
            asked.kill()
            await asked.wait()
            raise
        found = json.loads(told)
        return float(found["watts"]), str(found["source"])
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        log.warning("power-unknown", extra={"found": repr(error), "now": "CPU time is told without energy"})
        return None, None

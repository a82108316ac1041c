"""What the historian's tests run it on: topics of their own on a real broker, a real store, and sends to both."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from streams import clients
from streams.historian import Historian, HistorianStats
from streams.history import HistoryBlock
from streams.stores.duckdb import DuckDbStore
from streams.stores.port import StoreUnavailable
from streams.topics import Topics

from .stores.blocks import PUMP, SECOND_NS, block

LIMITS = {"max_age_ns": 10**18, "max_bytes": 2**40}


class Wavering(DuckDbStore):
    """A real store that is away, breaks on a twin, or dies after a write, as a test says."""

    away = False
    breaks_on: str | None = None
    after_write: Callable[[], None] | None = None

    def write_history(self, blocks: Sequence[HistoryBlock]) -> None:
        if self.away:
            raise StoreUnavailable("the test took the store away")
        if any(self.breaks_on in one.asset for one in blocks if self.breaks_on):
            raise ArithmeticError(f"can't take {self.breaks_on}")
        super().write_history(blocks)
        if self.after_write is not None:
            self.after_write()


class Rig:
    """Topics of two partitions, a store, and historians on them."""

    def __init__(self, bootstrap: str, topics: Topics, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.store = Wavering(folder / "store.duckdb")

    @contextlib.asynccontextmanager
    async def historian(self, **more: float) -> AsyncIterator[HistorianStats]:
        historian = Historian(
            bootstrap=self.bootstrap, topics=self.topics, store=self.store, group=self.topics.prefix + "h", **LIMITS, **more
        )
        stop = asyncio.Event()
        running = asyncio.create_task(historian.run(stop))
        try:
            yield historian.stats
        finally:
            stop.set()
            await asyncio.wait_for(running, 120)

    async def send(self, topic: str, *values: bytes | None, key: bytes = b"0", partition: int = 0) -> None:
        async with clients.producer(self.bootstrap, client_id="test") as producer:
            for value in values:
                await producer.send(topic, value, key=key, partition=partition)

    async def send_steps(self, steps: Sequence[int], *, partition: int = 0, epoch: int = 1) -> None:
        blocks = [block(PUMP, [f"p{partition}"], [step], seed=step, partition=partition, epoch=epoch) for step in steps]
        await self.send(self.topics.history, *(one.to_bytes() for one in blocks), partition=partition)

    def steps(self, asset: str) -> list[int]:
        found = self.store.history(asset, channels=[], from_ns=0, to_ns=2**62, points=10**6)
        return [time_ns // SECOND_NS for time_ns in found.risk.time_ns]

    async def letters(self) -> list[tuple[bytes, dict[str, str]]]:
        records = await clients.read_to_end(self.bootstrap, self.topics.dead_letter)
        return [(record.value, {name: text.decode() for name, text in record.headers}) for record in records]


async def until(holds: Callable[[], bool], what: str, within_s: float = 120.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"after {within_s} s: {what}"
        await asyncio.sleep(0.05)

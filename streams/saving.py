"""Checkpoints of a running processor: a part of the changed twins between two batches, so that no batch waits for all of them.

In:   the twins of `streams.partitions`, in a moment in which no batch is on its way.
Out:  records on `twin.checkpoint`. A twin's stands behind the outputs that it speaks of, a mark behind its twins.
"""

from __future__ import annotations

import asyncio
import time

from streams.outbox import Outbox
from streams.partitions import Partitions

PART = 500  # twins between two batches: some 40 ms. Fewer would interrupt more batches: each part waits for what is on its way


class Saving:
    """One cycle after the other, `every_s` apart."""

    def __init__(self, partitions: Partitions, outbox: Outbox, topic: str, *, every_s: float) -> None:
        self._partitions, self._outbox, self._topic, self._every_s = partitions, outbox, topic, every_s
        self._done_at = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._done_at >= self._every_s

    async def part(self) -> None:
        """The next part of the cycle."""
        await self._save(anew=False)

    async def all(self) -> None:
        """Every changed twin as it is now, and the marks, acknowledged."""
        done = await self._save(anew=True)
        while not done:
            done = await self._save(anew=False)

    async def _save(self, *, anew: bool) -> bool:
        await self._outbox.acknowledged()
        twins, marks, done = await asyncio.to_thread(self._partitions.checkpoint, PART, anew=anew)
        await self._put(twins)
        if marks:
            await self._outbox.acknowledged()
            await self._put(marks)
        if done:
            await self._outbox.acknowledged()
            self._done_at = time.monotonic()
        return done

    async def _put(self, records: list[tuple[int, bytes, bytes | None]]) -> None:
        for partition, key, value in records:
            self._outbox.put(self._topic, partition, key, value, self._partitions.written_by(partition))
        await self._outbox.ship()

"""Whether a processor keeps what it should forget: its memory after a warm-up against that at the end of a long stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from tests.faults.system import running_system
from tests.faults.tail import until_committed
from tests.streams.plant import ASSETS, readings, trained

WARM_UP = 0.25  # of the records
CHUNK_STEPS = 1_000
ALLOWED_MIB = 24.0


async def run(folder: Path, records: int, say: Callable[[str], None]) -> None:
    """Feed single readings through one real processor. Raises AssertionError when it has grown by more than ALLOWED_MIB."""
    steps = records // len(ASSETS)
    async with running_system(folder, [trained()], gateway=False) as system:
        process = system.roles["processor"].process
        assert process is not None
        memory = psutil.Process(process.pid)
        sizes: list[tuple[float, float]] = []  # share of the stream, MiB
        for first in range(0, steps, CHUNK_STEPS):
            values = readings(CHUNK_STEPS, seed=first)
            await system.plant.feed(values, first=first)
            await until_committed(
                system.plant.bootstrap, f"{system.plant.topics.prefix}processor", [system.plant.topics.telemetry], within_s=120
            )
            sizes.append(((first + CHUNK_STEPS) / steps, memory.memory_info().rss / 2**20))
            say(f"{(first + CHUNK_STEPS) * len(ASSETS):9,d} records  {sizes[-1][1]:6.0f} MiB")
        assert memory.is_running()
        warm = float(np.median([size for share, size in sizes if WARM_UP <= share <= 2 * WARM_UP]))
        end = float(np.median([size for share, size in sizes if share >= 1 - WARM_UP]))
        say(f"after the warm-up {warm:.0f} MiB, at the end {end:.0f} MiB, allowed {warm + ALLOWED_MIB:.0f} MiB")
        assert end <= warm + ALLOWED_MIB, f"the processor grew from {warm:.0f} to {end:.0f} MiB over {records} records"

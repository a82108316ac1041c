"""A processor as a process of its own, so that a test can kill it.

python -m tests.streams.processor_process BOOTSTRAP PREFIX GROUP
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from streams.processor import run_processor
from streams.topics import Topics


async def main(bootstrap: str, prefix: str, group: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_processor(
        bootstrap=bootstrap,
        topics=Topics(prefix),
        group=group,
        stop=stop,
        session_timeout_ms=6_000,
        checkpoint_every_s=0.5,
        batch_max_records=int(os.environ.get("BATCH", "97")),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(*sys.argv[1:4]))

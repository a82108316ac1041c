"""A processor as a process of its own, so that a test can kill it.

python -m tests.streams.processor_process BOOTSTRAP PREFIX GROUP

DIE_AT_COMMIT=n kills it with -9 where a crash is at its worst: outputs acknowledged, their offsets not committed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer

from streams.processor import run_processor
from streams.topics import Topics


def die_at_commit(nth: int) -> None:
    """The process kills itself in place of its nth commit."""
    commits = itertools.count(1)
    commit = AIOKafkaConsumer.commit

    async def commit_or_die(self: AIOKafkaConsumer, *args: Any) -> None:
        if next(commits) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        await commit(self, *args)

    AIOKafkaConsumer.commit = commit_or_die


async def main(bootstrap: str, prefix: str, group: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_processor(
        bootstrap=bootstrap,
        topics=Topics(prefix),
        group=group,
        stop=stop,
        session_timeout_ms=int(os.environ.get("SESSION_MS", "6000")),
        checkpoint_every_s=float(os.environ.get("CHECKPOINT_S", "0.5")),
        batch_max_records=int(os.environ.get("BATCH", "97")),
        batch_wait_ms=int(os.environ.get("BATCH_WAIT_MS", "50")),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if nth := int(os.environ.get("DIE_AT_COMMIT", "0")):
        die_at_commit(nth)
    asyncio.run(main(*sys.argv[1:4]))

"""Does a broker answer? A real metadata request, not an open port."""

from __future__ import annotations

import asyncio
import logging
import socket
from concurrent.futures import ThreadPoolExecutor

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

_TIMEOUT_S = 3.0


async def answers_metadata(bootstrap: str, timeout_s: float = _TIMEOUT_S) -> bool:
    """True when one of the brokers lists itself and at least one broker is known to it."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=round(timeout_s * 1000))
    quiet = logging.getLogger("aiokafka")
    before, quiet.level = quiet.level, logging.CRITICAL  # a refused connection is an answer here, not an error
    try:
        async with asyncio.timeout(timeout_s):
            await client.bootstrap()
            return bool(client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
        quiet.level = before


def answers(bootstrap: str, timeout_s: float = _TIMEOUT_S) -> bool:
    """`answers_metadata` for code without an event loop of its own; quick while nothing listens yet."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout_s):
            pass
    except OSError:
        return False
    with ThreadPoolExecutor(1) as pool:  # a fresh thread has no loop, whatever the caller's has
        return pool.submit(lambda: asyncio.run(answers_metadata(bootstrap, timeout_s))).result()

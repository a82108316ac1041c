"""Processor: run one until told to stop, and wait for a broker that goes away.

In:   where the broker is, and how to batch.
Out:  nothing is lost meanwhile: the loop of `streams.processing` starts anew from what is committed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import KafkaError

from models.power import PowerTerms
from models.weight_sources import WeightSources
from streams.processing import Processor
from streams.shipping import ProcessorStats
from streams.topics import Topics
from streams.usage_report import EVERY_S, UsageReport

log = logging.getLogger(__name__)

TURN_S = 1e-4  # a thread that folds lets the one that scores have its turn: with Python's 5 ms the latter mostly waits
RETRY_S = (0.5, 15.0)  # first and longest wait before the loop starts anew after a broker error


async def run_processor(
    *,
    bootstrap: str,
    topics: Topics,
    batch_max_records: int = 16_000,
    batch_wait_ms: int = 50,
    checkpoint_every_s: float = 30.0,
    group: str = "livetwin-processor",
    session_timeout_ms: int = 10_000,
    weights: WeightSources | None = None,
    skip_missing: bool = False,
    stop: asyncio.Event,
    stats: ProcessorStats | None = None,
    power: PowerTerms | None = None,
    usage_every_s: float = EVERY_S,
) -> None:
    """Run until `stop`.

    A process that died is noticed after `session_timeout_ms`. A broker that goes away is waited for: the loop starts anew
    from what is committed.

    Args:
        weights: where versions are looked for; None: where `models` says, and nowhere else.
        skip_missing: go on where weights that have served are not on this machine.
        power: what people know of this machine's power.
        usage_every_s: wall time between records of what scoring takes, and of how often twins alarm.

    Raises:
        VersionsMissing: they are not, and it may not.
    """
    wait = RETRY_S[0]
    stats = stats or ProcessorStats()
    usage = UsageReport(topics, stats, power or PowerTerms(), every_s=usage_every_s)
    with _two_threads():
        while not stop.is_set():
            processor = Processor(
                bootstrap,
                topics,
                batch_max_records=batch_max_records,
                batch_wait_ms=batch_wait_ms,
                checkpoint_every_s=checkpoint_every_s,
                group=group,
                session_timeout_ms=session_timeout_ms,
                weights=weights or WeightSources(),
                skip_missing=skip_missing,
                stats=stats,
                usage=usage,
                rates_every_s=usage_every_s,
            )
            try:
                await processor.run(stop)
                return
            except KafkaError as error:
                log.warning("broker-away", extra={"found": repr(error), "retry_in_s": wait})
                try:
                    await asyncio.wait_for(stop.wait(), timeout=wait)
                except TimeoutError:
                    wait = min(wait * 2, RETRY_S[1])


@contextmanager
def _two_threads() -> Iterator[None]:
    """Python as it suits two threads that compute: short turns, and imported modules are not searched for garbage."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, TURN_S))
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


__all__ = ["ProcessorStats", "run_processor"]

"""Latency: from the reading that closes a step beyond a limit to the alert on its topic.

Processor and alerting run as in `livetwin up`, alerting as a process of its own. What is measured is the way: broker, processor
with its model, broker, alerting, broker.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaConsumer

from deploy.bench.figures import Figure, quantiles
from deploy.bench.plant import SavedVersion, promote
from deploy.bench.running import running_processor
from deploy.feeds.producer import FeedProducer
from deploy.topics import ensure_topics
from models import version as version_file
from models.training import train
from streams import clients
from streams.records import Alert
from streams.topics import Topics
from twin.block import StepBlock
from twin.fleet import TwinDeclaration
from twin.types import compile_type

VALVES = 300
LEARNT_STEPS = 300
PACE_S = 0.05
GIVEN_S = 60.0
START_S = 1_767_571_200
VALVE = {
    "@id": "dtmi:livetwin:bench:Valve;1",
    "@type": "Interface",
    "samplingPeriod": "PT1S",
    "lateness": "PT0S",
    "onDelay": "PT0S",
    "maxAhead": None,
    "contents": [{"@type": "Telemetry", "name": "pressure", "schema": "double", "highLimit": 10}],
}
_ALERTING = "import sys; from pathlib import Path; from streams.alerting import main; from streams.topics import Topics; \
main(bootstrap=sys.argv[1], topics=Topics(sys.argv[2]), home=Path(sys.argv[3]))"


async def measure_latency(bootstrap: str, prefix: str, home: Path) -> list[Figure]:
    topics = Topics(prefix)
    await ensure_topics(bootstrap, topics, 8)
    version = await asyncio.to_thread(_trained, home)
    await promote(bootstrap, topics, [version])
    alerting = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ALERTING, bootstrap, prefix, str(home), env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    seen = Seen()
    watching = asyncio.create_task(_watch(bootstrap, topics, seen))
    try:
        async with (
            running_processor(bootstrap, topics, "latency"),
            FeedProducer(bootstrap, topics, client_id="livetwin-bench") as producer,
        ):
            declared = [TwinDeclaration(asset=f"valve-{number}", type=str(VALVE["@id"])) for number in range(VALVES + 1)]
            await producer.define([VALVE], declared)
            await _breach(producer, f"valve-{VALVES}")  # the way is warm when its alert has come
            await seen.all_of([f"valve-{VALVES}"])
            closed_at: dict[str, float] = {}
            for number in range(VALVES):
                asset = f"valve-{number}"
                closed_at[asset] = await _breach(producer, asset)
                await asyncio.sleep(PACE_S)
            await seen.all_of(closed_at)
    finally:
        watching.cancel()
        alerting.terminate()
        await asyncio.gather(watching, return_exceptions=True)
        await alerting.wait()
    return quantiles("reading to alert", [seen.at[asset] - given for asset, given in closed_at.items()])


def _trained(folder: Path) -> SavedVersion:
    """A version that knows all valves, from steady readings: twins that no model knows raise nothing."""
    kind = compile_type(VALVE)
    assets = tuple(f"valve-{number}" for number in range(VALVES + 1))
    values = np.random.default_rng(1).normal(5, 0.1, (len(assets), LEARNT_STEPS, 1)).astype(np.float32)
    quality = np.zeros(values.shape, np.uint8)
    block = StepBlock(assets, kind.channel_names, START_S - LEARNT_STEPS, kind.period_ns, values, quality)
    model = train(type=kind, block=block, base=None, number=1, alarms_per_twin_day=0.02, seed=1, threads=1).model
    path = folder / f"{model.version}.safetensors"
    return SavedVersion(model, kind.id, path, version_file.save(model, path))


class Seen:
    """When the first record of each asset's alert came."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._changed = asyncio.Condition()

    async def add(self, asset: str) -> None:
        async with self._changed:
            self.at.setdefault(asset, time.perf_counter())
            self._changed.notify_all()

    async def all_of(self, assets: Collection[str]) -> None:
        """Raises TimeoutError when one of them is missing after GIVEN_S."""
        async with asyncio.timeout(GIVEN_S), self._changed:
            await self._changed.wait_for(lambda: all(asset in self.at for asset in assets))


async def _breach(producer: FeedProducer, asset: str) -> float:
    """A reading beyond the limit, and the one that closes its step; when the latter was given to the producer."""
    await producer.telemetry([{"asset": asset, "time": START_S, "pressure": 20}])
    given = time.perf_counter()
    await producer.telemetry([{"asset": asset, "time": START_S + 1, "pressure": 20}])
    return given


async def _watch(bootstrap: str, topics: Topics, seen: Seen) -> None:
    consumer: AIOKafkaConsumer = clients.consumer(bootstrap, topics.alerts, client_id="livetwin-bench")
    await consumer.start()
    try:
        async for record in consumer:
            await seen.add(Alert.model_validate_json(record.value).asset)
    finally:
        await consumer.stop()

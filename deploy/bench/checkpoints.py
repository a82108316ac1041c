"""What checkpoints cost a processor under load, and what they spare its successor, with ten thousand twins on a broker.

A processor of its own has a load that comes evenly, a reading of every twin in turn; once it saves all twins every few seconds,
once never. A reading's way is from the timestamp of its record to that of the twin's next state; a stall is a time in which
nothing was written to `twin.history`. Then the partitions are taken over here, in a process that knows nothing of them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from itertools import pairwise

import numpy as np
import orjson
from aiokafka import TopicPartition

from deploy.bench.figures import Figure, quantiles
from deploy.bench.scale import INTERFACE, PERIOD_S, START_S
from deploy.topics import ensure_topics
from models.weight_sources import WeightSources
from streams import clients
from streams.checkpoint import TWIN_PREFIX
from streams.definitions import read_definitions
from streams.models_topic import read_models
from streams.partitions import Partitions
from streams.past_versions import PastOf
from streams.serving import Champions, VersionShelf
from streams.topics import Topics

TWINS = 10_000
RECORDS_S = 2_000
LOAD_S = 30
EVERY_S = 5.0  # every twin changes in that time, so each cycle saves all of them
NEVER_S = 86_400.0
PARTITIONS = 8
GIVEN_S = 300.0
_PACE_S = 0.05
_WARM_UP_ROUNDS = 3
_PROCESSOR = """
import asyncio, signal, sys
from streams.processor import run_processor
from streams.topics import Topics
async def main(bootstrap, prefix, every_s):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    group = f"{prefix}processor"
    await run_processor(bootstrap=bootstrap, topics=Topics(prefix), group=group, checkpoint_every_s=float(every_s), stop=stop)
asyncio.run(main(*sys.argv[1:]))
"""


async def measure_checkpoints(bootstrap: str, prefix: str) -> list[Figure]:
    found: list[Figure] = []
    for name, every_s in (("no checkpoints", NEVER_S), (f"checkpoints every {EVERY_S:g} s", EVERY_S)):
        topics = Topics(f"{prefix}{'every' if every_s == EVERY_S else 'never'}.")
        since_ms = await _under_load(bootstrap, topics, every_s)
        ways, stalls = await _seen(bootstrap, topics, since_ms)
        found += quantiles(f"reading to state, {TWINS:,} twins, {name}", ways)[:2]
        found.append(Figure(f"reading to state, longest, {name}", round(1000 * max(ways)), "ms"))
        found.append(Figure(f"nothing written for, longest, {name}", round(1000 * max(stalls)), "ms"))
    return found + await _taken_over(bootstrap, topics)


async def _under_load(bootstrap: str, topics: Topics, every_s: float) -> int:
    """Run a processor, first with all twins as fast as they come, then with an even load; when that began, in ms."""
    await ensure_topics(bootstrap, topics, PARTITIONS)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROCESSOR, bootstrap, topics.prefix, str(every_s))
    feed = _Feed()
    try:
        async with clients.producer(bootstrap, client_id="livetwin-bench") as producer:
            await producer.send_and_wait(topics.definitions, orjson.dumps(INTERFACE), key=f"type/{INTERFACE['@id']}".encode())
            for asset in feed.assets:
                twin = orjson.dumps({"asset": asset, "type": INTERFACE["@id"]})
                await producer.send(topics.definitions, twin, key=f"twin/{asset}".encode())
            await producer.flush()
            for _ in range(_WARM_UP_ROUNDS * TWINS):
                await producer.send(topics.telemetry, *feed.next())
            await producer.flush()
            await _until_committed(bootstrap, topics)
            began = time.time()
            while (passed := time.time() - began) < LOAD_S:
                while feed.sent < _WARM_UP_ROUNDS * TWINS + passed * RECORDS_S:
                    await producer.send(topics.telemetry, *feed.next())
                await asyncio.sleep(_PACE_S)
            await producer.flush()
        await _until_committed(bootstrap, topics)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
    return round(1000 * began)


class _Feed:
    """Readings of all twins in turn."""

    def __init__(self) -> None:
        self.assets = [f"pump-{index:05d}" for index in range(TWINS)]
        self.sent = 0
        self._random = np.random.default_rng(1)

    def next(self) -> tuple[bytes, bytes]:
        """Value and key of the next record."""
        step, index = divmod(self.sent, TWINS)
        self.sent += 1
        values = self._random.uniform(100, 120, 5).tolist()
        names = ("current", "flow", "head", "power", "temperature")
        reading = {"asset": self.assets[index], "time": START_S + step * PERIOD_S, **dict(zip(names, values, strict=True))}
        return orjson.dumps(reading), self.assets[index].encode()


async def _until_committed(bootstrap: str, topics: Topics) -> None:
    consumer = clients.consumer(bootstrap, group=f"{topics.prefix}processor", client_id="livetwin-bench-watch")
    await consumer.start()
    try:
        places = [TopicPartition(topics.telemetry, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        async with asyncio.timeout(GIVEN_S):
            while True:
                done = [await consumer.committed(place) or 0 for place in places]
                if done == [ends[place] for place in places]:
                    return
                await asyncio.sleep(0.2)
    finally:
        await consumer.stop()


async def _seen(bootstrap: str, topics: Topics, since_ms: int) -> tuple[list[float], list[float]]:
    """Seconds from readings to states, and between two writes of history, of what was sent since then."""
    sent = {
        (record.partition, record.offset): record.timestamp
        for record in await clients.read_to_end(bootstrap, topics.telemetry)
        if record.timestamp >= since_ms
    }
    ways = []
    for record in await clients.read_to_end(bootstrap, topics.state):
        began = sent.get((record.partition, orjson.loads(record.value)["offset"]))
        if began is not None:
            ways.append((record.timestamp - began) / 1000)
    last = max(sent.values())
    written = sorted(
        record.timestamp
        for record in await clients.read_to_end(bootstrap, topics.history)
        if since_ms <= record.timestamp <= last
    )
    return ways, [(after - before) / 1000 for before, after in pairwise(written)]


async def _unannounced(_: object) -> None:
    """Nobody else is there to be told."""


async def _taken_over(bootstrap: str, topics: Topics) -> list[Figure]:
    saved: dict[bytes, int] = {}
    for record in await clients.read_to_end(bootstrap, topics.checkpoint):
        if record.key.startswith(TWIN_PREFIX):
            saved[record.key] = len(record.value or b"")
    definitions, view = await read_definitions(bootstrap, topics), await read_models(bootstrap, topics)
    champions = Champions(view, VersionShelf(WeightSources()))
    past = PastOf(view, definitions, champions.shelf, skip_missing=False)
    partitions = Partitions(bootstrap, topics, definitions, view, champions, past)
    consumer = clients.consumer(bootstrap, client_id="livetwin-bench")
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topics.telemetry, number) for number in range(PARTITIONS)])
    finally:
        await consumer.stop()
    at = {place.partition: end for place, end in ends.items()}
    began = time.perf_counter()
    await partitions.take_over(at, at, set(at), 1, _unannounced)
    took_s = time.perf_counter() - began
    return [
        Figure(f"checkpoints of {len(saved):,} twins", round(sum(saved.values()) / 2**20, 1), "MiB"),
        Figure("taken over: read, decompressed, put into arenas", round(took_s, 2), "s"),
    ]

"""InfluxDB stands still while history goes on coming: how much memory does a historian take, and is all there afterwards?

In:   a broker, an `influxd` of its own, `livetwin historian` as a process, history blocks at a rate.
Out:  figures, said line by line; AssertionError where the historian grew by more than ALLOWED_MIB, or a step is lost or wrong.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from deploy.influxd import InfluxDbServer
from deploy.topics import ensure_topics
from streams import clients
from streams.history import HistoryBlock
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_catalog import measurement_of
from streams.stores.influxdb_server import InfluxDb, identifier
from streams.topics import Topics
from tests.faults.processes import Role
from tests.faults.tail import behind, until_committed

ALLOWED_MIB = 16.0
PARTITIONS = 2
ASSETS, STEPS = 50, 8  # a block
CHANNELS = tuple(f"c{number}" for number in range(8))
TYPE = "dtmi:test:Rig;1"
STEP_NS = 1_000_000_000


@dataclass(frozen=True)
class Load:
    """What is fed: before the outage, so that memory has its usual size, and during it, spread over its length."""

    warm_up_mib: float
    outage_mib: float
    outage_s: float


def block(number: int) -> HistoryBlock:
    """The block of this number: its numbers follow from it, and compress little."""
    rng = np.random.default_rng(number)
    rows = ASSETS * STEPS
    shape = (rows, len(CHANNELS))
    first = number // PARTITIONS * STEPS
    partition = number % PARTITIONS
    numbers = [rng.normal(20, 5, shape).astype(np.float32) for _ in range(3)]
    return HistoryBlock(
        type=TYPE,
        channels=CHANNELS,
        partition=partition,
        epoch=1,
        asset=tuple(f"rig-{partition}-{nth}" for nth in range(ASSETS) for _ in range(STEPS)),
        time_ns=np.tile(np.arange(first + 1, first + 1 + STEPS), ASSETS) * STEP_NS,
        values=numbers[0],
        quality=np.zeros(shape, np.uint8),
        expected=numbers[1],
        spread=numbers[2],
        score=rng.random(rows).astype(np.float32),
        risk=rng.random(rows).astype(np.float32),
        version=("1",) * rows,
    )


class Feed:
    """Blocks in order, each to its partition."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap, self._topics = bootstrap, topics
        self.blocks = 0

    async def send(self, mib: float, within_s: float) -> None:
        """So much, evenly over a time; as fast as it goes where that is more."""
        began, sent = time.monotonic(), 0
        async with clients.producer(self._bootstrap, client_id="test") as producer:
            while sent < mib * 2**20:
                one = block(self.blocks)
                payload = one.to_bytes()
                await producer.send(self._topics.history, payload, key=str(one.partition).encode(), partition=one.partition)
                self.blocks += 1
                sent += len(payload)
                await asyncio.sleep(max(0.0, began + within_s * sent / (mib * 2**20) - time.monotonic()))


async def run(bootstrap: str, prefix: str, folder: Path, influxd: Path, load: Load, say: Callable[[str], None]) -> None:
    topics, group = Topics(prefix), f"{prefix}historian"
    await ensure_topics(bootstrap, topics, PARTITIONS)
    server = InfluxDbServer(influxd, folder / "influxd")
    access = server.onboarded()
    settings = {
        "LIVETWIN_KAFKA": bootstrap,
        "LIVETWIN_TOPIC_PREFIX": prefix,
        "LIVETWIN_HOME": str(folder / "home"),
        "LIVETWIN_STORE": f"influxdb:{access.url}",
        "LIVETWIN_INFLUXDB_TOKEN": access.token,
        "LIVETWIN_INFLUXDB_ORG": access.org,
    }
    historian = Role("historian", [sys.executable, "-m", "deploy.cli", "historian"], folder, settings)
    process = historian.start()
    feed = Feed(bootstrap, topics)
    try:
        await feed.send(load.warm_up_mib, 0.0)
        before_mib = await _largest_until(process.pid, until_committed(bootstrap, group, [topics.history], within_s=180))
        server.signal(signal.SIGSTOP)
        try:
            during_mib = await _largest_until(process.pid, feed.send(load.outage_mib, load.outage_s))
            waiting = await behind(bootstrap, group, [topics.history])
        finally:
            server.signal(signal.SIGCONT)
        say(
            f"the store stood still for {load.outage_s:g} s: {waiting} records wait, {load.outage_mib:g} MiB came; "
            f"historian at most {before_mib:.0f} MiB before, {during_mib:.0f} MiB meanwhile, "
            f"allowed {before_mib + ALLOWED_MIB:.0f} MiB"
        )
        assert waiting > 0, "the store took what came"
        assert during_mib <= before_mib + ALLOWED_MIB, f"grew from {before_mib:.0f} to {during_mib:.0f} MiB"
        began = time.monotonic()
        await until_committed(bootstrap, group, [topics.history], within_s=600)
        say(f"caught up after {time.monotonic() - began:.0f} s")
        assert process.poll() is None, historian.said()
        await asyncio.to_thread(_all_there, access.url, access.token, access.org, feed.blocks)
        say(f"{feed.blocks * ASSETS * STEPS} steps, each there once and as it was sent")
    finally:
        if historian.running():
            await historian.end()
        server.stop()


async def _largest_until(pid: int, until: Coroutine[Any, Any, None]) -> float:
    """The largest resident size, MiB, while something is awaited."""
    watched, task = psutil.Process(pid), asyncio.ensure_future(until)
    largest = 0
    while not task.done():
        largest = max(largest, watched.memory_info().rss)
        await asyncio.wait({task}, timeout=0.2)
    task.result()
    return largest / 2**20


def _all_there(url: str, token: str, org: str, blocks: int) -> None:
    """Every step is there, once; of some twins each value."""
    store, server = InfluxDbStore(url, token=token, org=org), InfluxDb(url, token=token, org=org)
    try:
        counted = server.query("livetwin", f'SELECT count("fields") FROM {identifier(measurement_of(TYPE))} GROUP BY "asset"')[0]
        steps = {rows.tags["asset"]: rows.column("count")[0] for rows in counted}
        shares = [len(range(partition, blocks, PARTITIONS)) * STEPS for partition in range(PARTITIONS)]
        assert steps == {f"rig-{partition}-{nth}": shares[partition] for partition in range(PARTITIONS) for nth in range(ASSETS)}
        for partition, nth in ((0, 0), (PARTITIONS - 1, ASSETS - 1)):
            sent = [block(number) for number in range(partition, blocks, PARTITIONS)]
            rows = slice(nth * STEPS, (nth + 1) * STEPS)
            found = store.history(f"rig-{partition}-{nth}", channels=None, from_ns=0, to_ns=2**62, points=10**7)
            assert found.risk.time_ns == [time for one in sent for time in one.time_ns[rows].tolist()]
            for channel, series in enumerate(found.channels):
                np.testing.assert_array_equal(
                    np.float32(series.value), np.concatenate([one.values[rows, channel] for one in sent])
                )
    finally:
        store.close()
        server.close()

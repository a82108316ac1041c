"""This machine as a feed: its readings fit their types, and arrive on a real broker once a second."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import orjson
import psutil
import pytest

from deploy.feeds.host import INTERFACES, run_host
from deploy.feeds.host_readings import HostReadings
from deploy.feeds.interfaces import interface
from deploy.topics import ensure_topics
from streams import clients
from streams.definitions import read_definitions
from streams.topics import Topics
from twin.types import compile_type


def test_readings_fit_the_types_that_are_declared_for_them() -> None:
    kinds = {kind.id: kind for kind in (compile_type(interface(name)) for name in INTERFACES)}
    machine = HostReadings()
    machine.read()
    time.sleep(0.3)
    readings = machine.read()
    declared = {twin.asset: kinds[twin.type] for twin in machine.declarations(frozenset(readings))}
    assert set(declared) == set(readings)
    for asset, channels in readings.items():
        limits = {channel.name: channel for channel in declared[asset].channels}
        for name, value in channels.items():
            low, high = limits[name].minimum, limits[name].maximum
            assert low is None or value >= low
            assert high is None or value <= high
    assert set(readings[machine.computer]) == {"cpu", "load1", "memory", "swap"}


def test_a_busy_program_appears_with_its_share_of_the_processor() -> None:
    machine = HostReadings(clock=time.monotonic)
    machine.read()
    until = time.monotonic() + 5.2
    while time.monotonic() < until:  # this process is the busy one
        sum(range(10_000))
    machine.read()
    time.sleep(0.3)
    programs = {asset: channels for asset, channels in machine.read().items() if asset.startswith("process:")}
    assert any(channels["memory"] > 1 for channels in programs.values())
    assert any(asset.startswith("process:py") for asset in programs)


def test_a_program_is_read_on_while_one_of_its_processes_ends() -> None:
    times = iter(range(100))
    machine = HostReadings(clock=lambda: 6.0 * next(times))  # so each call looks at all processes anew
    busy = "import time\nuntil = time.monotonic() + 60\nwhile time.monotonic() < until: sum(range(1000))"
    runs = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2)]
    try:
        program = "process:" + psutil.Process(runs[0].pid).name().split("/")[0]
        machine.read()
        time.sleep(0.5)
        machine.read()
        time.sleep(0.5)
        assert machine.read()[program]["cpu"] > 0
        runs[1].kill()
        runs[1].wait()
        time.sleep(0.5)
        assert machine.read()[program]["cpu"] > 0
    finally:
        for run in runs:
            run.kill()
            run.wait()


@pytest.mark.kafka
async def test_this_machine_is_fed_once_a_second(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    stop = asyncio.Event()
    feed = asyncio.create_task(run_host(bootstrap=kafka, topics=topics, stop=stop))
    async with asyncio.timeout(120):
        while sum(record.key.startswith(b"host:") for record in await clients.read_to_end(kafka, topics.telemetry)) < 3:
            assert not feed.done()
    stop.set()
    await feed
    seconds: dict[str, list[int]] = {}
    for record in await clients.read_to_end(kafka, topics.telemetry):
        reading = orjson.loads(record.value)
        seconds.setdefault(reading["asset"], []).append(reading["time"])
    definitions = await read_definitions(kafka, topics)
    assert set(seconds) == {twin.asset for twin in definitions.fleet.twins()}
    assert all(definitions.type_of(asset) is not None for asset in seconds)
    computer = next(asset for asset in seconds if asset.startswith("host:"))
    assert seconds[computer] == sorted(set(seconds[computer]))
    assert len(seconds[computer]) >= 3
    contained = definitions.fleet.neighbours(computer)
    assert contained == set(seconds) - {computer}

"""A real alerting process on a real broker, for the tests: start, feed, read back, end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.partitioner import murmur2

from deploy.topics import ensure_topics
from streams import clients
from streams.lag import LagProbe
from streams.records import EPOCH_HEADER, Alert, AlertCommand, ChannelEvidence, Evidence, Signal, alert_id
from streams.topics import Topics

ROOT = Path(__file__).parents[2]
STEP_NS = 60_000_000_000
PARTITIONS = 4

ROLE = """
import logging, pathlib, sys
from streams.alerting import main
from streams.topics import Topics
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
main(bootstrap=sys.argv[1], topics=Topics(sys.argv[2]), home=pathlib.Path(sys.argv[3]))
"""


def make_signal(kind: Any, step: int, onset: int, *, asset: str = "p1", condition: str = "anomaly", **more: Any) -> Signal:
    """A signal at a step of a minute; on-delay none and off-delay two steps unless told."""
    partition = more.pop("partition", place(asset))
    fields: dict[str, Any] = {"severity": "minor", "risk": 0.5, "off_delay_ns": 2 * STEP_NS} | more
    return Signal(
        kind=kind,
        asset=asset,
        type="dtmi:test:pump;1",
        condition=condition,
        onset_ns=onset * STEP_NS,
        time_ns=step * STEP_NS,
        evidence=Evidence(
            channels=[ChannelEvidence(name="flow", seen=9.5, expected=4.2, spread=0.5, contribution=1.0, unit="l/s")],
            model_version="v1",
            weights_sha256="ab" * 32,
            partition=partition,
            first_offset=step * 10,
            last_offset=step * 10 + 9,
        ),
        **fields,
    )


def place(asset: str) -> int:
    """The partition of an asset's telemetry. On purpose not where aiokafka's partitioner would put it."""
    return sum(asset.encode()) % PARTITIONS


def _marks() -> set[str]:
    """New assets, one for each partition of the signals and partition of the inbox that it leads to."""
    found: dict[tuple[int, int], str] = {}
    number = 0
    while len(found) < PARTITIONS**2:
        mark = f"mark{number}-{time.time_ns()}"
        found.setdefault((place(mark), (murmur2(mark.encode()) & 0x7FFFFFFF) % PARTITIONS), mark)
        number += 1
    return set(found.values())


def id_of(onset: int, *, asset: str = "p1", condition: str = "anomaly") -> str:
    return alert_id(asset, condition, onset * STEP_NS)


def make_command(action: Any, alert: str, **more: Any) -> AlertCommand:
    fields: dict[str, Any] = {"command_id": f"{action}-1", "asset": "p1", "by": "ada", "time_ns": 1} | more
    return AlertCommand(action=action, alert_id=alert, **fields)


class AlertingRun:
    """Topics behind one prefix, a producer, and alerting processes."""

    def __init__(self, bootstrap: str, prefix: str, home: Path, producer: Any) -> None:
        self.bootstrap, self.topics, self.home, self.producer = bootstrap, Topics(prefix), home, producer
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "alerting.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", ROLE, self.bootstrap, self.topics.prefix, str(self.home)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stderr=log,
            )
        self.processes.append(process)
        return process

    def log(self) -> str:
        return (self.home / "alerting.log").read_text()

    async def end(self, process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
        """Raises TimeoutExpired when it does not end."""
        process.send_signal(how)
        await asyncio.to_thread(process.wait, 120)

    async def signals(self, signals: Sequence[Signal], *, epoch: int | None = 1) -> None:
        headers = [] if epoch is None else [(EPOCH_HEADER, str(epoch).encode())]
        sent = [
            await self.producer.send(
                self.topics.signals, one.to_bytes(), key=one.asset.encode(), partition=place(one.asset), headers=headers
            )
            for one in signals
        ]
        await asyncio.gather(*sent)

    async def command(self, command: AlertCommand) -> None:
        await self.producer.send_and_wait(self.topics.alert_commands, command.to_bytes(), key=command.alert_id.encode())

    async def read(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        return await clients.read_to_end(self.bootstrap, topic)

    async def alerts(self) -> list[Alert]:
        """Every record, in order."""
        return [Alert.model_validate_json(record.value or b"") for record in await self.read(self.topics.alerts)]

    async def until(self, enough: Callable[[list[Alert]], bool], *, within_s: float = 120.0) -> list[Alert]:
        """The alerts, once they satisfy."""
        deadline = time.monotonic() + within_s
        while not enough(found := await self.alerts()):
            assert time.monotonic() < deadline, f"not within {within_s} s; alerts: {found}\n{self.log()[-4000:]}"
            await asyncio.sleep(0.2)
        return found

    async def refused(self, count: int, *, within_s: float = 120.0) -> list[tuple[bytes, bytes | None]]:
        """Reason and value of what is in dead-letter, once there are so many."""
        deadline = time.monotonic() + within_s
        while len(found := await self.read(self.topics.dead_letter)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} refused within {within_s} s\n{self.log()[-4000:]}"
            await asyncio.sleep(0.2)
        return [(dict(record.headers)["reason"], record.value) for record in found]

    async def said(self, words: str, *, within_s: float = 120.0) -> None:
        """Return once they are in its log."""
        deadline = time.monotonic() + within_s
        while words not in self.log():
            assert time.monotonic() < deadline, f"{words!r} not within {within_s} s\n{self.log()[-4000:]}"
            await asyncio.sleep(0.1)

    async def shared_by(self, processes: int, *, within_s: float = 120.0) -> None:
        """Return once so many share the partitions, as the broker sees it."""
        deadline = time.monotonic() + within_s
        async with LagProbe(self.bootstrap, self.topics) as probe:
            while processes not in [role.members for role in await probe.ask() if role.role == "alerting"]:
                assert time.monotonic() < deadline, f"not {processes} members within {within_s} s\n{self.log()[-4000:]}"
                await asyncio.sleep(0.2)

    async def settled(self, *, within_s: float = 120.0) -> list[Alert]:
        """The alerts, once markers that were sent last have come out: on every way from signals to inbox all before is done."""
        marks = _marks()
        await self.signals([make_signal("raise", 1, 1, asset=mark) for mark in sorted(marks)], epoch=None)
        found = await self.until(lambda alerts: marks <= {alert.asset for alert in alerts}, within_s=within_s)
        return [alert for alert in found if not alert.asset.startswith("mark")]


@asynccontextmanager
async def alerting_run(bootstrap: str, prefix: str, home: Path) -> AsyncIterator[AlertingRun]:
    await ensure_topics(bootstrap, Topics(prefix), PARTITIONS)
    producer = clients.producer(bootstrap, client_id="test")
    await producer.start()
    run = AlertingRun(bootstrap, prefix, home, producer)
    try:
        yield run
    finally:
        for process in run.processes:
            if process.poll() is None:
                process.kill()
                await asyncio.to_thread(process.wait)
        await producer.stop()

"""`livetwin replay` as a user calls it: into DuckDB and InfluxDB, broken off and done again, and what it says when it can't."""

from __future__ import annotations

import asyncio
import re
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.influxd import InfluxDbAddress
from streams import clients
from streams.stores.duckdb import DuckDbStore
from tests.faults.processes import Role
from tests.streams.plant import START, Plant, readings, trained
from tests.streams.processor_role import Machine, done
from twin.types import NS_PER_S

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]
STEPS = 400
PERIOD = ("--from", str(START + 60), "--to", str(START + 360))


@dataclass(frozen=True)
class Ended:
    status: int
    said: str

    @property
    def sha256(self) -> str:
        found = re.search(r"sha256 ([0-9a-f]{64})", self.said)
        assert found is not None, self.said
        return found[1]


@dataclass(frozen=True)
class Replays:
    """Replays of one plant, each a process."""

    plant: Plant
    machine: Machine

    def started(self, *arguments: str, **settings: str) -> Role:
        role = self.machine.command("replay", *arguments)
        role.name = f"replay-{uuid.uuid4().hex[:6]}"
        role.start(**{f"LIVETWIN_{name}": value for name, value in settings.items()})
        return role

    async def ended(self, *arguments: str, **settings: str) -> Ended:
        role = self.started(*arguments, **settings)
        assert role.process is not None
        return Ended(await asyncio.to_thread(role.process.wait, 240), role.log.read_text())


@pytest.fixture
async def replays(kafka: str, topic_prefix: str, tmp_path: Path) -> Replays:
    """A plant whose processor has worked off its telemetry, with two faults in it."""
    plant = await Plant.built(kafka, topic_prefix)
    machine = Machine(plant, tmp_path, "home")
    await plant.promote(trained(), tmp_path)
    machine.role.start()
    try:
        await machine.owns()
        await plant.feed(readings(STEPS))
        await done(plant)
    finally:
        await machine.role.end()
    return Replays(plant, machine)


async def test_replays_into_two_kinds_of_store_broken_off_in_between_give_the_same_bytes(
    replays: Replays, tmp_path: Path, influxdb: InfluxDbAddress
) -> None:
    export = tmp_path / "first.jsonl"
    first = await replays.ended(
        *PERIOD, "--into", f"duckdb:{tmp_path / 'a.duckdb'}", "--export", str(export), "--batch-records", "37"
    )
    assert first.status == 0, first.said
    assert f"replayed {6 * STEPS:,} records (0 refused)" in first.said
    assert f"{6 * 300:,} of the period written" in first.said
    assert export.read_bytes().count(b'"risk"') >= 6 * 300

    second = tmp_path / "b.duckdb"
    broken = replays.started(*PERIOD, "--into", f"duckdb:{second}", "--batch-records", "11")
    while not second.exists():  # killed while it folds, with its store open
        assert broken.running(), broken.said()
        await asyncio.sleep(0.05)
    await broken.end(signal.SIGKILL)
    again = await replays.ended(*PERIOD, "--into", f"duckdb:{second}", "--batch-records", "5000")
    assert (again.status, again.sha256) == (0, first.sha256), again.said

    settings = {
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_ORG": influxdb.org,
        "INFLUXDB_BUCKET": f"again-{uuid.uuid4().hex[:8]}",
    }
    address = f"influxdb:{influxdb.url}"
    setup = replays.machine.command("store", "setup")
    setup.start(LIVETWIN_STORE=address, **{f"LIVETWIN_{name}": value for name, value in settings.items()})
    assert setup.process is not None
    assert await asyncio.to_thread(setup.process.wait, 120) == 0, setup.said()
    third = await replays.ended(*PERIOD, "--into", address, **settings)
    assert (third.status, third.sha256) == (0, first.sha256), third.said

    one = await replays.ended(*PERIOD, "--asset", "p2", "--into", f"duckdb:{tmp_path / 'c.duckdb'}", "--export", str(export))
    assert one.status == 0, one.said
    assert f"{300:,} of the period written" in one.said
    assert set(re.findall(rb'"asset":"(p\d)"', export.read_bytes())) == {b"p2"}


async def test_what_can_not_be_replayed_is_told_and_nothing_is_written(replays: Replays, tmp_path: Path) -> None:
    nobody = await replays.ended("--asset", "p9")
    assert nobody.status == 1
    assert "'p9': no twin of that name is declared or was ever seen" in nobody.said

    backwards = await replays.ended("--from", str(START + 60), "--to", str(START + 60))
    assert backwards.status == 1
    assert "holds nothing" in backwards.said

    held = DuckDbStore(tmp_path / "held.duckdb")  # as the gateway holds its own
    try:
        locked = await replays.ended("--into", f"duckdb:{tmp_path / 'held.duckdb'}")
    finally:
        held.close()
    assert locked.status == 1
    assert "held.duckdb" in locked.said
    assert "PID" in locked.said
    assert "Traceback" not in locked.said

    later = await replays.ended("--from", str(START + 10 * STEPS))
    assert later.status == 1
    assert "no step of the period: the log holds steps from 2023-11-14T22:13:21Z to 2023-11-14T22:19:57Z" in later.said
    assert "retention has dropped nothing" in later.said

    topic = replays.plant.topics.telemetry
    admin = AIOKafkaAdminClient(bootstrap_servers=replays.plant.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, number): RecordsToDelete(before_offset=300) for number in range(3)})
    finally:
        await admin.close()
    short = await replays.ended("--from", str(START))
    assert short.status == 0, short.said
    assert "the period begins before the log" in short.said
    assert "partition 0 before offset 300" in short.said
    gone = await replays.ended("--from", str(START), "--to", str(START + 20))
    assert gone.status == 1
    assert "no step of the period" in gone.said
    assert (await clients.read_to_end(replays.plant.bootstrap, topic))[0].timestamp * 1_000_000 > START * NS_PER_S

"""The historian on a real broker and a real InfluxDB: a server killed while steps come in, what it refuses, a wrong token."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.influxd import InfluxDbServer
from streams.historian import Historian
from streams.history import HistoryBlock
from streams.stores.influxdb import InfluxDbStore
from streams.stores.port import StoreRefused
from streams.topics import Topics

from .historian_rig import LIMITS, Rig, until
from .stores.blocks import PUMP, alert, block

pytestmark = [pytest.mark.kafka, pytest.mark.influxdb]


class InfluxDbRig(Rig):
    """As the other, on a server of its own."""

    def __init__(self, bootstrap: str, topics: Topics, server: InfluxDbServer) -> None:
        self.bootstrap, self.topics, self.server = bootstrap, topics, server
        access = server.onboarded()
        self.store = InfluxDbStore(access.url, token=access.token, org=access.org)  # type: ignore[assignment]


@pytest.fixture
async def influxdb_rig(rig: Rig, influxdb_binary: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    server = InfluxDbServer(influxdb_binary, tmp_path / "influxdb")
    found = InfluxDbRig(rig.bootstrap, rig.topics, server)
    yield found
    found.store.close()
    server.stop()


async def test_a_server_that_is_killed_and_back_has_everything_once(influxdb_rig: InfluxDbRig) -> None:
    rig = influxdb_rig
    async with rig.historian() as stats:
        await rig.send_steps(range(100))
        await until(lambda: stats.rows_written >= 100, "the first steps not written", 60)
        rig.server.kill()
        await rig.send_steps(range(100, 200))
        await rig.send(rig.topics.alerts, alert("a", 1).to_bytes(), alert("a", 2).to_bytes())
        await until(lambda: stats.waiting_for is not None, "it does not wait", 60)
        assert rig.server.url in str(stats.waiting_for)
        await rig.send_steps(range(200, 300))
        rig.server.start()
        await until(lambda: stats.waiting_for is None and sum(stats.lag.values()) == 0 and bool(rig.store.alerts()), "no end", 90)
        await until(lambda: rig.steps("p0") == list(range(300)), "steps are missing", 60)
    assert rig.store.alerts() == [alert("a", 2)]
    expected = block(PUMP, ["p0"], [299], seed=299)
    assert rig.store.latest()[0].version == expected.version[0]
    assert await rig.letters() == []


async def test_a_record_that_the_server_can_not_take_is_a_dead_letter_and_others_are_not(influxdb_rig: InfluxDbRig) -> None:
    rig = influxdb_rig
    long = block(PUMP, ["x" * 70_000], [1], seed=1)
    good = [block(PUMP, ["p1"], [step], seed=step) for step in range(5)]
    async with rig.historian() as stats:
        await rig.send(rig.topics.history, *(one.to_bytes() for one in [*good[:2], long, *good[2:]]))
        await until(lambda: stats.records_refused == 1 and rig.steps("p1") == list(range(5)), "not all done", 60)
    letters = await rig.letters()
    assert [headers["reason"] for _, headers in letters] == ["store"]
    assert HistoryBlock.from_bytes(letters[0][0]).asset == long.asset


async def test_a_token_that_is_wrong_ends_the_historian_and_nothing_is_committed(influxdb_rig: InfluxDbRig) -> None:
    rig = influxdb_rig
    right, rig.store = rig.store, InfluxDbStore(rig.server.url, token="wrong")  # type: ignore[assignment]
    await rig.send_steps(range(3))
    historian = Historian(bootstrap=rig.bootstrap, topics=rig.topics, store=rig.store, group=rig.topics.prefix + "h", **LIMITS)
    with pytest.raises(StoreRefused, match="401"):
        await asyncio.wait_for(historian.run(asyncio.Event()), 120)
    rig.store.close()
    rig.store = right
    async with rig.historian():
        await until(lambda: rig.steps("p0") == [0, 1, 2], "what was read by the wrong token is lost", 60)
    assert await rig.letters() == []

"""The historian on a real broker, with the DuckDB store: everything arrives once, whatever goes away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams import clients
from streams.historian import Historian, HistorianStats, run_historian
from streams.history import HistoryBlock
from streams.records import ModelCommand, models_key
from streams.stores.duckdb import DuckDbStore
from streams.stores.port import StoreUnavailable
from streams.topics import Topics

from .stores.backend import everything
from .stores.blocks import PUMP, SECOND_NS, TANK, alert, block, plain_block, serving

pytestmark = pytest.mark.kafka
LIMITS = {"max_age_ns": 10**18, "max_bytes": 2**40}


class Wavering(DuckDbStore):
    """A real store that is away, breaks on a twin, or dies after a write, as a test says."""

    away = False
    breaks_on: str | None = None
    after_write: Callable[[], None] | None = None

    def write_history(self, blocks: Sequence[HistoryBlock]) -> None:
        if self.away:
            raise StoreUnavailable("the test took the store away")
        if any(self.breaks_on in one.asset for one in blocks if self.breaks_on):
            raise ArithmeticError(f"can't take {self.breaks_on}")
        super().write_history(blocks)
        if self.after_write is not None:
            self.after_write()


class Rig:
    """Topics of two partitions, a store, and historians on them."""

    def __init__(self, bootstrap: str, topics: Topics, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.store = Wavering(folder / "store.duckdb")

    @contextlib.asynccontextmanager
    async def historian(self, **more: float) -> AsyncIterator[HistorianStats]:
        historian = Historian(
            bootstrap=self.bootstrap, topics=self.topics, store=self.store, group=self.topics.prefix + "h", **LIMITS, **more
        )
        stop = asyncio.Event()
        running = asyncio.create_task(historian.run(stop))
        try:
            yield historian.stats
        finally:
            stop.set()
            await asyncio.wait_for(running, 20)

    async def send(self, topic: str, *values: bytes | None, key: bytes = b"0", partition: int = 0) -> None:
        async with clients.producer(self.bootstrap, client_id="test") as producer:
            for value in values:
                await producer.send(topic, value, key=key, partition=partition)

    async def send_steps(self, steps: Sequence[int], *, partition: int = 0, epoch: int = 1) -> None:
        blocks = [block(PUMP, [f"p{partition}"], [step], seed=step, partition=partition, epoch=epoch) for step in steps]
        await self.send(self.topics.history, *(one.to_bytes() for one in blocks), partition=partition)

    def steps(self, asset: str) -> list[int]:
        found = self.store.history(asset, channels=[], from_ns=0, to_ns=2**62, points=10**6)
        return [time_ns // SECOND_NS for time_ns in found.risk.time_ns]

    async def letters(self) -> list[tuple[bytes, dict[str, str]]]:
        records = await clients.read_to_end(self.bootstrap, self.topics.dead_letter)
        return [(record.value, {name: text.decode() for name, text in record.headers}) for record in records]


async def until(holds: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"after {within_s} s: {what}"
        await asyncio.sleep(0.05)


@pytest.fixture
async def rig(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Rig]:
    topics = Topics(topic_prefix)
    needed = {topics.history, topics.alerts, topics.models, topics.dead_letter}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        specs = [spec for spec in topics.specs(2) if spec.name in needed]
        await admin.create_topics(
            [NewTopic(spec.name, spec.partitions or 2, 1, topic_configs=dict(spec.config)) for spec in specs]
        )
    finally:
        await admin.close()
    rig = Rig(kafka, topics, tmp_path)
    yield rig
    rig.store.close()


async def test_history_alerts_and_switches_arrive_in_the_store(rig: Rig) -> None:
    blocks = [block(PUMP, ["p1", "p2"], range(20), seed=1), block(TANK, ["t1"], range(20), seed=2, partition=1)]
    command = ModelCommand(command_id="1", name="tank", action="train", time_ns=1)
    switch = serving("tank", 0, 1, 20, ["1", "2"])
    async with rig.historian() as stats:
        await rig.send(rig.topics.history, *(one.to_bytes() for one in blocks))
        await rig.send(rig.topics.alerts, alert("a", 1).to_bytes(), alert("a", 2).to_bytes(), None)
        await rig.send(rig.topics.models, command.to_bytes(), switch.to_bytes(), key=models_key(switch))
        await until(lambda: stats.rows_written == 60 and bool(rig.store.swaps()) and bool(rig.store.alerts()), "not all written")
        await until(lambda: set(stats.lag.values()) == {0}, f"lag is {stats.lag}")
    assert [twin.asset for twin in rig.store.latest()] == ["p1", "p2", "t1"]
    assert [found.revision for found in rig.store.alerts()] == [2]
    assert rig.store.swaps() == [switch]
    assert stats.last_write_ns is not None
    assert (stats.records_refused, stats.waiting_for) == (0, None)


async def test_what_cant_be_decoded_goes_to_dead_letter_and_the_rest_goes_on(rig: Rig) -> None:
    good = block(PUMP, ["p1"], range(5), seed=1).to_bytes()
    twice = plain_block(PUMP, ["p1"], range(5), channels=("flow", "flow")).to_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 2 :] = bytes(len(good) - len(good) // 2)
    bad = [b"", b"\xff" * 100, good[: len(good) // 2], twice, bytes(damaged), b"{}"]
    async with rig.historian() as stats:
        await rig.send(rig.topics.history, *bad, None, good)
        await rig.send(rig.topics.alerts, b"{", b'{"id": 1}', alert("a", 1).to_bytes())
        await rig.send(rig.topics.models, b"[]", b'{"kind": "serving"}', b'{"kind": "from a newer livetwin"}')
        await until(lambda: rig.steps("p1") == list(range(5)) and bool(rig.store.alerts()), "the good ones are not written")
        await until(lambda: stats.records_refused == 11, f"{stats.records_refused} refused")
    letters = await rig.letters()
    origins = sorted((headers["topic"], int(headers["offset"])) for _, headers in letters)
    expected = [(rig.topics.history, n) for n in range(7)] + [(rig.topics.alerts, 0), (rig.topics.alerts, 1)]
    assert origins == sorted([*expected, (rig.topics.models, 0), (rig.topics.models, 1)])
    assert {headers["reason"] for _, headers in letters} == {"malformed", "channels"}
    values = {(headers["topic"], headers["offset"]): value for value, headers in letters}
    assert values[rig.topics.history, "1"] == b"\xff" * 100


async def test_a_record_that_the_store_breaks_on_is_refused_alone(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.store.breaks_on = "p7"
    blocks = [block(PUMP, [f"p{n}"], range(3), seed=n) for n in range(10)]
    with caplog.at_level(logging.CRITICAL):
        async with rig.historian() as stats:
            await rig.send(rig.topics.history, *(one.to_bytes() for one in blocks))
            await until(lambda: stats.records_refused == 1 and len(rig.store.latest()) == 9, "not all written")
    (letter,) = await rig.letters()
    assert letter[0] == blocks[7].to_bytes()
    assert letter[1]["reason"] == "store"
    assert "can't take p7" in letter[1]["message"]


async def test_a_store_that_is_away_is_waited_for_and_nothing_is_lost(rig: Rig) -> None:
    async with rig.historian() as stats:
        await rig.send_steps(range(10))
        await until(lambda: rig.steps("p0") == list(range(10)), "not written")
        rig.store.away = True
        await rig.send_steps(range(10, 40))
        await until(lambda: stats.writes_failed >= 2, "no write failed")
        await rig.send_steps(range(40, 60))
        await rig.send_steps(range(5), partition=1)
        await until(lambda: stats.lag[rig.topics.history] == 55, f"lag is {stats.lag}")
        assert "took the store away" in str(stats.waiting_for)
        assert rig.steps("p0") == list(range(10))
        rig.store.away = False
        await until(lambda: rig.steps("p0") == list(range(60)) and rig.steps("p1") == list(range(5)), "not caught up")
        await until(lambda: stats.lag[rig.topics.history] == 0 and stats.waiting_for is None, f"{stats}")
    assert stats.rows_written == 65


async def test_stopped_while_the_store_is_away_it_reads_the_batch_again_at_the_next_start(rig: Rig) -> None:
    rig.store.away = True
    async with rig.historian() as stats:
        await rig.send_steps(range(10))
        await until(lambda: stats.writes_failed >= 1, "no write failed")
    rig.store.away = False
    async with rig.historian():
        await until(lambda: rig.steps("p0") == list(range(10)), "not written")


async def test_after_a_pause_it_goes_on_where_it_had_committed(rig: Rig) -> None:
    async with rig.historian():
        await rig.send_steps(range(100))
        await until(lambda: len(rig.steps("p0")) == 100, "not written")
    await rig.send_steps(range(100, 300))
    async with rig.historian() as stats:
        await until(lambda: rig.steps("p0") == list(range(300)), "not caught up")
    assert stats.rows_written == 200


async def test_killed_between_write_and_commit_it_writes_again_and_nothing_changes(rig: Rig) -> None:
    class Killed(BaseException):
        """Ends the historian as a kill does: nothing after the write happens."""

    def die() -> None:
        raise Killed

    rig.store.after_write = die
    await rig.send_steps(range(50))
    group, never = rig.topics.prefix + "h", asyncio.Event()
    with pytest.raises(Killed):
        await run_historian(bootstrap=rig.bootstrap, topics=rig.topics, store=rig.store, group=group, stop=never, **LIMITS)
    before = everything(rig.store)
    assert rig.steps("p0") == list(range(50))
    rig.store.after_write = None
    async with rig.historian() as stats:
        await until(lambda: stats.rows_written == 50, "not written again")
        assert everything(rig.store) == before


async def test_historians_that_join_and_leave_lose_and_double_nothing(rig: Rig) -> None:
    async with rig.historian() as first:
        await rig.send_steps(range(50))
        async with rig.historian() as second:
            await until(lambda: bool(second.lag), "the second did not join")
            for start in range(50, 250, 50):
                await rig.send_steps(range(start, start + 50))
                await rig.send_steps(range(start, start + 50), partition=1)
            await until(lambda: first.records_read > 0 and second.records_read > 0, "they do not share the partitions")
        await rig.send_steps(range(250, 300))
        await until(lambda: rig.steps("p0") == list(range(300)), "partition 0 is not whole", 40)
        await until(lambda: rig.steps("p1") == list(range(50, 250)), "partition 1 is not whole", 40)


async def test_an_older_epoch_in_the_log_changes_nothing(rig: Rig) -> None:
    async with rig.historian() as stats:
        await rig.send_steps(range(10), epoch=2)
        await until(lambda: stats.rows_written == 10, "not written")
        before = everything(rig.store)
        zombie = plain_block(PUMP, ["p0"], range(20), epoch=1, values=np.zeros((20, 2), np.float32))
        await rig.send(rig.topics.history, zombie.to_bytes())
        await until(lambda: stats.records_read == 11, "not read")
        await until(lambda: stats.lag[rig.topics.history] == 0, "not done")
    assert everything(rig.store) == before


async def test_limits_are_enforced_while_it_runs(rig: Rig) -> None:
    LIMIT = {"max_age_ns": 20 * SECOND_NS, "max_bytes": 2**40}
    stop, stats = asyncio.Event(), HistorianStats()
    historian = Historian(
        bootstrap=rig.bootstrap, topics=rig.topics, store=rig.store, group="x", limits_every_s=0.2, stats=stats, **LIMIT
    )
    running = asyncio.create_task(historian.run(stop))
    await rig.send_steps(range(100))
    await until(lambda: rig.steps("p0") == list(range(79, 100)), "nothing was dropped")
    stop.set()
    await running
    assert stats.rows_dropped == 79

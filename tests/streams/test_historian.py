"""The historian on a real broker, with the DuckDB store: everything arrives once, whatever goes away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import numpy as np
import pytest

from streams import clients
from streams.formats.events import decode_event
from streams.historian import Historian, HistorianStats, run_historian
from streams.model_records import ModelCommand, models_key
from tests.streams.formats.wire import Headers, event_headers, structured
from twin.errors import ReadingRefused

from .historian_rig import LIMITS, Rig, until
from .stores.backend import everything
from .stores.blocks import PUMP, SECOND_NS, TANK, alert, block, plain_block, serving

pytestmark = pytest.mark.kafka


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


async def test_what_is_no_event_goes_to_dead_letter_however_it_is_coded(rig: Rig) -> None:
    """Accepted and dead-lettered are what was sent."""
    good = b'{"asset":"p1","time":1767225600,"kind":"log","text":"started"}'
    about = {"subject": "p1", "time": "2026-01-01T00:00:00Z"}
    sent: list[tuple[bytes | None, Headers]] = [
        (good, ()),
        (b"started", event_headers("text/plain", **about)),
        (structured(data={"text": "started"}, **about), (("content-type", b"application/cloudevents+json"),)),
        (b"started", ()),
        (None, ()),
        (good[:-1], event_headers("application/json", **about)),
        (structured(data={"text": 3}, **about), ()),
        (b"\xff\xfe", event_headers("text/plain", **about)),
    ]
    pick = random.Random(5)
    for _ in range(300):
        value, headers = pick.choice(sent[:3])
        damaged = bytearray(value or b"")
        for _ in range(pick.randint(0, 3)):
            damaged[pick.randrange(len(damaged))] = pick.randrange(256)
        sent.append((bytes(damaged[: pick.choice([len(damaged), pick.randrange(len(damaged))])]), headers))
    async with rig.historian() as stats:
        async with clients.producer(rig.bootstrap, client_id="test") as producer:
            for value, headers in sent:
                await producer.send(rig.topics.events, value, key=b"p1", partition=0, headers=list(headers))
        await until(lambda: stats.records_read == len(sent) and stats.lag[rig.topics.events] == 0, f"{stats}")
    letters = await rig.letters()
    refused = sorted(int(headers["offset"]) for _, headers in letters)
    accepted = []
    for offset, (value, headers) in enumerate(sent):
        with contextlib.suppress(ReadingRefused):
            decode_event(value, headers, b"p1")
            accepted.append(offset)
    assert sorted([*accepted, *refused]) == list(range(len(sent)))
    assert {0, 1, 2} <= set(accepted)
    assert {3, 4, 5, 6, 7} <= set(refused)
    assert len(accepted) > 20
    assert len(refused) > 100
    by_offset = {int(headers["offset"]): (value, headers["topic"], headers["reason"]) for value, headers in letters}
    assert by_offset[3] == (b"started", rig.topics.events, "json")


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

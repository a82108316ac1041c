"""The water feed on a real broker: definitions, unbroken event time over restarts, faults by command, ground truth."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from deploy.feeds.water import WaterStepInvalid, run_water
from deploy.feeds.water_state import FeedStateRefused
from deploy.topics import ensure_topics
from streams import clients
from streams.decoding import decode
from streams.definitions import read_definitions
from streams.demo import send_demo_command
from streams.records import DemoCommand, EventRecord
from streams.topics import Topics

STEP_S = 300


def settings(bootstrap: str, topics: Topics, home: Path, stop: asyncio.Event) -> dict[str, object]:
    plant = {"step_s": STEP_S, "speed": 6000, "backfill_days": 1.5, "seed": 1}
    return {"bootstrap": bootstrap, "topics": topics, "home": home, "stop": stop, **plant}


async def events(bootstrap: str, topics: Topics) -> list[EventRecord]:
    return [EventRecord.model_validate_json(record.value) for record in await clients.read_to_end(bootstrap, topics.events)]


async def times(bootstrap: str, topics: Topics) -> dict[str, list[int]]:
    """Asset → event times in seconds, in the order of the log."""
    found: dict[str, list[int]] = {}
    for record in await clients.read_to_end(bootstrap, topics.telemetry):
        reading = decode(record.value)
        assert record.key.decode() == reading.asset
        ns = [reading.time_ns] if isinstance(reading.time_ns, int) else reading.time_ns.tolist()
        found.setdefault(reading.asset, []).extend(moment // 10**9 for moment in ns)
    return found


async def until(condition: Callable[[list[EventRecord]], bool], bootstrap: str, topics: Topics) -> list[EventRecord]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = await events(bootstrap, topics)
        if condition(found):
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"not within 120 s; events so far: {await events(bootstrap, topics)}")


@pytest.mark.kafka
async def test_the_feed_continues_over_restarts_and_writes_the_truth_of_each_fault(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 3)
    started_s = time.time()

    stop = asyncio.Event()
    feed = asyncio.create_task(run_water(**settings(kafka, topics, tmp_path, stop)))
    leak = DemoCommand(fault="leak", asset="junction-101")
    await send_demo_command(kafka, topics, leak)
    await send_demo_command(kafka, topics, DemoCommand(fault="stuck", asset="no-such-asset"))
    await until(lambda found: any(event.label == "leak" for event in found), kafka, topics)
    stop.set()
    await feed

    stop = asyncio.Event()
    feed = asyncio.create_task(run_water(**settings(kafka, topics, tmp_path, stop)))
    before = len(await clients.read_to_end(kafka, topics.telemetry))
    async with asyncio.timeout(120):
        while len(await clients.read_to_end(kafka, topics.telemetry)) == before:
            assert not feed.done()
    await send_demo_command(kafka, topics, leak.model_copy(update={"active": False}))
    await send_demo_command(kafka, topics, DemoCommand(fault="offset", asset="tank-1", channel="colour"))
    refused = ("fault-refused", "tank-1")
    found = await until(lambda found: any((event.code, event.asset) == refused for event in found), kafka, topics)
    stop.set()
    await feed

    truth = [event for event in found if event.kind == "fault"]
    assert [(event.label, event.asset, event.active) for event in truth] == [
        ("leak", "junction-101", True),  # once, although the feed was started twice
        ("leak", "junction-101", False),
    ]
    fed = await times(kafka, topics)
    definitions = await read_definitions(kafka, topics)
    assert set(fed) == {twin.asset for twin in definitions.fleet.twins()}
    assert all(definitions.type_of(asset) is not None for asset in fed)
    assert not definitions.unusable
    assert len({tuple(seconds) for seconds in fed.values()}) == 1
    seconds = next(iter(fed.values()))
    assert all(later - earlier == STEP_S for earlier, later in itertools.pairwise(seconds))
    assert seconds[0] == pytest.approx(started_s - 1.5 * 86_400, abs=2 * STEP_S)
    assert seconds[0] < truth[0].time_ns // 10**9 < truth[1].time_ns // 10**9 <= seconds[-1]
    assert truth[0].time_ns // 10**9 >= started_s - 2 * STEP_S  # the past is fed without faults


@pytest.mark.kafka
async def test_a_plant_without_its_state_goes_on_after_what_was_fed_before(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 3)
    reached = int(time.time()) // STEP_S
    for home in (tmp_path / "first", tmp_path / "second"):
        stop = asyncio.Event()
        feed = asyncio.create_task(run_water(**settings(kafka, topics, home, stop)))
        for _ in range(200):
            await asyncio.sleep(0.1)
            if saved_step(home) > reached + 5:
                break
        stop.set()
        await feed
        reached = saved_step(home)
    for seconds in (await times(kafka, topics)).values():
        assert len(seconds) > 1.5 * 86_400 / STEP_S + 10
        assert seconds == sorted(set(seconds))


def saved_step(home: Path) -> int:
    path = home / "feeds" / "water.json"
    return int(json.loads(path.read_bytes())["step"]) if path.exists() else 0


async def test_a_damaged_state_file_stops_the_start_with_words(tmp_path: Path) -> None:
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / "water.json").write_bytes(orjson.dumps({"version": 99}))
    with pytest.raises(FeedStateRefused, match=r"expected 1.*remove the file"):
        await run_water(**settings("127.0.0.1:1", Topics("none."), tmp_path, asyncio.Event()))


@pytest.mark.parametrize("wrong", [{"step_s": 0.5}, {"step_s": 7}, {"speed": 0}, {"speed": float("nan")}])
async def test_a_step_or_speed_that_can_not_be_run_is_refused(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(WaterStepInvalid, match="nothing was fed"):
        await run_water(**(settings("127.0.0.1:1", Topics("none."), tmp_path, asyncio.Event()) | wrong))

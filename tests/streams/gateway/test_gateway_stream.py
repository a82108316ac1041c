"""Server-sent events: changes arrive, a client can go on where it was, a slow one costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from streams import clients
from streams.gateway.sse import REMEMBERED, EventHub
from streams.records import TwinState
from tests.streams.gateway.conftest import Running
from tests.streams.gateway.plant import NS

ALL = frozenset({"twin", "alert", "model"})


async def frames(stream: AsyncIterator[bytes], count: int) -> list[dict[str, Any]]:
    """The next events, without comments."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            for frame in (await anext(stream)).split(b"\n\n"):
                fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line and not line.startswith(b":"))
                if b"event" in fields:
                    event = {
                        "event": fields[b"event"].decode(),
                        "id": fields[b"id"].decode(),
                        "data": orjson.loads(fields[b"data"]),
                    }
                    found.append(event)
    return found


async def opened(
    hub: EventHub, kinds: frozenset[str] = ALL, asset: str | None = None, last: str | None = None
) -> AsyncIterator[bytes]:
    stream = await hub.stream(kinds, asset, last)
    assert b"retry" in await anext(stream)
    return stream


async def test_a_slow_client_gets_the_newest_of_each_thing_and_holds_no_more() -> None:
    hub = EventHub()
    stream = await opened(hub)
    for step in range(20_000):
        hub.publish("twin", f"p{step % 3}", f"p{step % 3}", lambda step=step: {"step": step})
    (client,) = hub._clients
    assert len(client.pending) == 3
    assert [event["data"]["step"] for event in await frames(stream, 3)] == [19_997, 19_998, 19_999]


async def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    hub = EventHub()
    stream = await opened(hub)
    for number in range(5):
        hub.publish("alert", f"a{number}", "p1", lambda number=number: number)
    seen = await frames(stream, 5)
    await stream.aclose()  # type: ignore[attr-defined]
    assert hub.clients == 0
    again = await hub.stream(ALL, None, seen[2]["id"])
    await anext(again)
    assert [event["data"] for event in await frames(again, 2)] == [3, 4]


async def test_a_client_that_was_away_too_long_is_told_to_read_the_lists_again() -> None:
    hub = EventHub()
    stream = await opened(hub)
    hub.publish("twin", "p1", "p1", lambda: 0)
    (first,) = await frames(stream, 1)
    for number in range(REMEMBERED + 1):
        hub.publish("twin", "p1", "p1", lambda number=number: number)
    for last in (first["id"], "another-run-7", "nonsense"):
        opening = await anext(await hub.stream(ALL, None, last))
        assert b"event: reset" in opening


async def test_a_client_gets_only_what_it_asked_for() -> None:
    hub = EventHub()
    stream = await opened(hub, frozenset({"alert"}), "p1")
    hub.publish("twin", "p1", "p1", lambda: "twin of p1")
    hub.publish("alert", "a2", "p2", lambda: "alert of p2")
    hub.publish("alert", "a1", "p1", lambda: "alert of p1")
    assert [event["data"] for event in await frames(stream, 1)] == ["alert of p1"]


async def test_closing_the_hub_ends_every_stream() -> None:
    hub = EventHub()
    stream = await opened(hub)
    ending = asyncio.create_task(frames(stream, 1))
    await asyncio.sleep(0)
    hub.close()
    with pytest.raises((StopAsyncIteration, RuntimeError)):
        await ending


@pytest.mark.kafka
async def test_a_change_on_the_topic_reaches_a_listener(running: Running) -> None:
    base = running.plant.twins["junction-15"]
    newer = base.model_copy(update={"time_ns": base.time_ns + 300 * NS, "values": {"pressure": 12.5, "demand": 1.0}})
    older = base.model_copy(update={"time_ns": base.time_ns - 300 * NS})
    zombie = newer.model_copy(update={"time_ns": newer.time_ns + 300 * NS, "values": {"pressure": -1.0, "demand": -1.0}})

    async def put(state: TwinState, epoch: bytes) -> None:
        producer = clients.producer(running.bootstrap, client_id="test")
        await producer.start()
        try:
            headers = [("epoch", epoch)]
            await producer.send_and_wait(
                running.topics.state, state.to_bytes(), key=state.asset.encode(), partition=state.partition, headers=headers
            )
        finally:
            await producer.stop()

    async with (
        httpx.AsyncClient(base_url=running.url, timeout=60) as http,
        http.stream("GET", "/v1/stream", params={"kind": "twin", "asset": "junction-15"}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        chunks = answer.aiter_bytes()
        await anext(chunks)
        await put(zombie, b"0")  # an older owner of the partition: changes nothing
        await put(older, b"1")
        await put(newer, b"1")
        (event,) = await frames(chunks, 1)
        assert event["event"] == "twin"
        assert event["data"]["values"] == {"pressure": 12.5, "demand": 1.0}
        assert (await http.get("/v1/twins/junction-15")).json()["values"] == {"pressure": 12.5, "demand": 1.0}
        running.plant.twins["junction-15"] = newer

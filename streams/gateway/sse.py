"""`/v1/stream`: changes of twins, alerts and models as server-sent events.

In:   changes in log order from the follower.
Out:  one stream a client: `event: twin|alert|model`, data as in the lists, `id` to go on from, a comment as heartbeat.
A client that reads slowly gets the newest state of each thing instead of every step; nothing grows with its slowness.
After a gap that can't be filled (`Last-Event-ID` too old, another run) it gets `event: reset`: read the lists again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from streams.gateway.following import Kind
from streams.gateway.problem import ApiError, responses

HEARTBEAT_S = 10.0
REMEMBERED = 5_000
MOST_CLIENTS = 200
MOST_PENDING = 50_000  # things, not events: a fleet larger than this needs a filter

Payload = Callable[[], Any]
KINDS: tuple[Kind, ...] = ("twin", "alert", "model")


class _Client:
    """What one client has still to get: the newest change of each thing."""

    def __init__(self, kinds: frozenset[str], asset: str | None) -> None:
        self.pending: dict[tuple[str, str], tuple[int, Payload]] = {}
        self.kinds = kinds
        self.asset = asset
        self.ready = asyncio.Event()
        self.overrun = False

    def wants(self, kind: str, asset: str | None) -> bool:
        return kind in self.kinds and (self.asset is None or asset is None or asset == self.asset)

    def offer(self, sequence: int, kind: str, key: str, payload: Payload) -> None:
        self.pending.pop((kind, key), None)  # the newest goes to the end: order of ids stays
        self.pending[kind, key] = (sequence, payload)
        if len(self.pending) > MOST_PENDING:
            self.pending.clear()
            self.overrun = True
        self.ready.set()


class EventHub:
    """Hands each change to every client that wants it; remembers the newest for clients that come back."""

    def __init__(self) -> None:
        self._run = f"{time.time_ns():x}"
        self._sequence = 0
        self._clients: set[_Client] = set()
        self._remembered: deque[tuple[int, str, str, str | None, Payload]] = deque(maxlen=REMEMBERED)
        self._closed = False
        self.sent = 0

    @property
    def clients(self) -> int:
        return len(self._clients)

    def publish(self, kind: Kind, key: str, asset: str | None, payload: Payload) -> None:
        """`payload` is called when a client is served, so that a change nobody listens to costs nothing."""
        self._sequence += 1
        self._remembered.append((self._sequence, kind, key, asset, payload))
        for client in self._clients:
            if client.wants(kind, asset):
                client.offer(self._sequence, kind, key, payload)

    def close(self) -> None:
        self._closed = True
        for client in self._clients:
            client.ready.set()

    async def stream(self, kinds: frozenset[str], asset: str | None, last_id: str | None) -> AsyncIterator[bytes]:
        if len(self._clients) >= MOST_CLIENTS:
            raise ApiError(
                503, f"{MOST_CLIENTS} clients listen already, the most this gateway serves; try again later", retry_after_s=30
            )
        client = _Client(kinds, asset)
        opening = b"retry: 2000\n: livetwin\n\n" + self._resume(client, last_id)
        self._clients.add(client)
        return self._serve(client, opening)

    def _resume(self, client: _Client, last_id: str | None) -> bytes:
        if last_id is None:
            return b""
        run, _, number = last_id.partition("-")
        oldest = self._remembered[0][0] if self._remembered else self._sequence + 1
        if run != self._run or not number.isdecimal() or int(number) + 1 < oldest:
            return self._frame(
                "reset", self._sequence, {"why": "the changes since then are not remembered; read the lists again"}
            )
        for sequence, kind, key, asset, payload in self._remembered:
            if sequence > int(number) and client.wants(kind, asset):
                client.offer(sequence, kind, key, payload)
        return b""

    async def _serve(self, client: _Client, opening: bytes) -> AsyncIterator[bytes]:
        try:
            yield opening
            while not self._closed:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await client.ready.wait()
                except TimeoutError:
                    yield b": heartbeat\n\n"
                    continue
                client.ready.clear()
                if client.overrun:
                    client.overrun = False
                    yield self._frame(
                        "reset", self._sequence, {"why": f"more than {MOST_PENDING} changes waited; read the lists again"}
                    )
                taken = list(client.pending.items())
                client.pending.clear()
                for start in range(0, len(taken), 200):
                    frames = [
                        self._frame(kind, sequence, payload()) for (kind, _), (sequence, payload) in taken[start : start + 200]
                    ]
                    self.sent += len(frames)
                    yield b"".join(frames)  # waits while the client's socket is full
        finally:
            self._clients.discard(client)

    def _frame(self, event: str, sequence: int, payload: Any) -> bytes:
        return b"".join(
            (
                b"id: ",
                f"{self._run}-{sequence}".encode(),
                b"\nevent: ",
                event.encode(),
                b"\ndata: ",
                orjson.dumps(payload),
                b"\n\n",
            )
        )


def router(hub: EventHub) -> APIRouter:
    routes = APIRouter(tags=["stream"])

    @routes.get(
        "/v1/stream",
        summary="Changes of twins, alerts and models, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **responses(422, 503)},
    )
    async def stream(
        kind: Annotated[list[Kind] | None, Query(description="only these: twin, alert, model; all when left out")] = None,
        asset: Annotated[str | None, Query(description="only this asset's twin and alerts")] = None,
        last_event_id: Annotated[str | None, Header(description="id of the last event that was seen")] = None,
    ) -> StreamingResponse:
        kinds = frozenset[str](kind or KINDS)
        body = await hub.stream(kinds, asset, last_event_id)
        return StreamingResponse(
            body, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    return routes

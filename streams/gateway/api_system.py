"""/healthz, /readyz, /metrics, /asyncapi.json, /v1/system: is it up, can it answer, what does it do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.responses import Response

from streams import asyncapi
from streams.gateway.gateway import Gateway
from streams.gateway.problem import ApiError, responses
from streams.gateway.times import NS_PER_MS, rfc3339
from streams.stores.port import StoreError
from streams.usage import wh_per_million_steps


class Up(BaseModel):
    status: str
    uptime_s: float


def router(gateway: Gateway, registry: CollectorRegistry, version: str) -> APIRouter:
    routes = APIRouter(tags=["system"])

    @routes.get("/healthz", summary="The process is up", response_model=Up)
    async def healthz() -> dict[str, Any]:
        return {"status": "up", "uptime_s": round(time.time() - gateway.started, 1)}

    @routes.get(
        "/readyz",
        summary="The views have been read to their end and the broker answers",
        response_model=Up,
        responses=responses(503),
    )
    async def readyz() -> dict[str, Any]:
        gateway.need_views()
        status = gateway.follower.status
        if not status.reachable:
            raise ApiError(
                503,
                f"waiting for the broker at {gateway.bootstrap}: {status.problem}; reads go on with what is known",
                retry_after_s=5,
            )
        return {"status": "ready", "uptime_s": round(time.time() - gateway.started, 1)}

    @routes.get("/metrics", summary="For Prometheus", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/asyncapi.json", summary="The contract of every topic, AsyncAPI 3")
    async def asyncapi_json() -> dict[str, Any]:
        states = gateway.follower.partitions(gateway.topics.state) or 1
        return asyncapi.document(bootstrap=gateway.bootstrap, topics=gateway.topics, partitions=states, version=version)

    @routes.get("/v1/system", summary="Roles, how far each is behind, what comes in, views, historian, refused records")
    async def system() -> dict[str, Any]:
        return await overview(gateway)

    return routes


def _scoring(gateway: Gateway) -> dict[str, Any] | None:
    """What the processors that were heard of lately took, all together; None: nothing was heard."""
    heard = gateway.usages()
    if not heard:
        return None
    return {
        "processors": len(heard),
        "scored_steps": sum(one.scored_steps for one in heard),
        "cpu_s": round(sum(one.cpu_s for one in heard), 3),
        "wh_per_million_steps": wh_per_million_steps(heard),
        "sources": sorted({one.source for one in heard if one.source}),
    }


async def overview(gateway: Gateway) -> dict[str, Any]:
    """What the system page shows."""
    views, status, historian = gateway.views, gateway.follower.status, gateway.historian
    try:
        size: int | None = await asyncio.to_thread(gateway.store.size_bytes)
    except StoreError:
        size = None
    return {
        "broker": {"address": gateway.bootstrap, "reachable": status.reachable, "problem": status.problem},
        "views": {"caught_up": status.caught_up, "missing": status.missing, "records": status.records},
        "roles": gateway.roles(),
        "lag": None
        if gateway.lag.newest is None
        else {role.role: {"members": role.members, "records": dict(role.records)} for role in gateway.lag.newest},
        "arrivals": None
        if gateway.arrivals.newest is None
        else [
            {
                "type": one.type,
                "partition": one.partition,
                "twins": one.twins,
                "last_came": rfc3339(one.last_ms * NS_PER_MS),
                "expected_within_s": one.limit_ms / 1000,
                "quiet": one.quiet,
            }
            for one in gateway.arrivals.newest
        ],
        "historian": None
        if historian is None
        else {
            "lag": dict(historian.lag),
            "waiting_for": historian.waiting_for,
            "rows_written": historian.rows_written,
            "last_write_time": rfc3339(historian.last_write_ns) if historian.last_write_ns else None,
        },
        "store_size_bytes": size,
        "twins": len(views.twins),
        "scoring": _scoring(gateway),
        "newest_event_time": None if views.twins.newest_ns is None else rfc3339(views.twins.newest_ns),
        "dead_letters": {
            "count": views.dead_letter_count,
            "newest": [
                {
                    "reason": one.reason,
                    "message": one.message,
                    "topic": one.topic,
                    "partition": one.partition,
                    "offset": one.offset,
                    "key": one.key,
                    "time": rfc3339(one.time_ms * NS_PER_MS),
                }
                for one in reversed(views.dead_letters)
            ],
        },
    }

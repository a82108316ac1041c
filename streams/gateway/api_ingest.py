"""POST /v1/telemetry and /v1/events: the topics' own formats over HTTP.

In:   telemetry as JSON, CloudEvents or Arrow, events as JSON or CloudEvents (`streams/gateway/intake.py`).
Out:  202 with counts when the broker has acknowledged every record; 207 when a part can't be used, naming that part; 400
      when nothing was taken; 503 with Retry-After when the broker is away or too much waits for it already.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from streams.formats import cloud_events
from streams.formats.schemas import CLOUD_EVENT, CLOUD_EVENT_OF_EVENT, COLUMNS, EVENT, SINGLE, TELEMETRY
from streams.gateway.gateway import Gateway
from streams.gateway.intake import MOST_ITEMS, MOST_REFUSED, Intake, Refusal, read_events, read_telemetry
from streams.gateway.problem import ApiError, FieldError, responses


class TelemetryTaken(BaseModel):
    records: int = Field(description="records acknowledged by the broker")
    readings: int = Field(description="times in them")
    assets: int
    items: int = Field(description="items that came")
    refused: list[Refusal] = Field(
        default=[], description=f"items, or parts of them, that were not taken; {MOST_REFUSED} at most"
    )


class EventsTaken(BaseModel):
    records: int = Field(description="events acknowledged by the broker")
    assets: int
    items: int = Field(description="items that came")
    refused: list[Refusal] = Field(default=[], description=f"items that were not taken; {MOST_REFUSED} at most")


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(tags=["telemetry"])

    @routes.post(
        "/v1/telemetry",
        summary="Readings: JSON, CloudEvents, Arrow",
        description=(
            "The formats of the topic `telemetry`, by Content-Type. What can be used is taken; 202: all of it; 207: a part, "
            "and `refused` names the rest; 400: nothing. An Arrow stream is split by partition, so its assets may be any."
        ),
        status_code=202,
        response_model=TelemetryTaken,
        responses={207: {"model": TelemetryTaken, "description": "A part was taken"}, **responses(400, 413, 415, 503)},
        openapi_extra=_body(
            {
                "application/json": {"oneOf": [SINGLE, COLUMNS, _list_of(TELEMETRY)]},
                cloud_events.STRUCTURED: CLOUD_EVENT,
                cloud_events.BATCH: _list_of(CLOUD_EVENT),
                cloud_events.ARROW: {"type": "string", "format": "binary"},
            }
        ),
    )
    async def telemetry(request: Request, response: Response) -> TelemetryTaken:
        body = await request.body()
        partitions = gateway.follower.partitions(gateway.topics.state)  # as many as telemetry
        found = await asyncio.to_thread(read_telemetry, body, request.headers.items(), partitions, gateway.views.words_of)
        await _deliver(gateway, gateway.topics.telemetry, found, response)
        return TelemetryTaken(
            records=len(found.records),
            readings=found.readings,
            assets=len(found.assets),
            refused=found.refused,
            items=found.count,
        )

    @routes.post(
        "/v1/events",
        summary="Log lines, maintenance notes, messages: JSON, CloudEvents",
        description="The formats of the topic `events`, by Content-Type; answers are those of /v1/telemetry.",
        status_code=202,
        response_model=EventsTaken,
        responses={207: {"model": EventsTaken, "description": "A part was taken"}, **responses(400, 413, 415, 503)},
        openapi_extra=_body(
            {
                "application/json": {"oneOf": [EVENT, _list_of(EVENT)]},
                cloud_events.STRUCTURED: CLOUD_EVENT_OF_EVENT,
                cloud_events.BATCH: _list_of(CLOUD_EVENT_OF_EVENT),
            }
        ),
    )
    async def events(request: Request, response: Response) -> EventsTaken:
        found = await asyncio.to_thread(read_events, await request.body(), request.headers.items())
        await _deliver(gateway, gateway.topics.events, found, response)
        return EventsTaken(records=len(found.records), assets=len(found.assets), items=found.count, refused=found.refused)

    return routes


async def _deliver(gateway: Gateway, topic: str, found: Intake, response: Response) -> None:
    """Write what can be used. Raises ApiError 400 where nothing can."""
    if not found.records:
        first = found.refused[0]
        detail = f"{found.count} of {found.count} item(s) can't be used; {first.where}: {first.message}; nothing was taken"
        raise ApiError(400, detail, errors=[FieldError(where=one.where, message=one.message) for one in found.refused])
    await gateway.producer.deliver(topic, found.records)
    if found.refused:
        response.status_code = 207


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": MOST_ITEMS}


def _body(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media: {"schema": schema} for media, schema in schemas.items()}}}

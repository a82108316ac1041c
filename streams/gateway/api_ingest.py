"""POST /v1/telemetry and /v1/events: the topics' own formats over HTTP.

In:   telemetry as JSON, CloudEvents or Arrow (`streams/gateway/intake.py`); events as a JSON object or a list of them.
Out:  202 with counts when the broker has acknowledged every record; 207 when a part of the telemetry can't be used, naming that
      part; 400 when nothing was taken; 503 with Retry-After when the broker is away or too much waits for it already.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from streams.decoding import is_json
from streams.formats import cloud_events
from streams.formats.cloud_events import media_type
from streams.formats.schemas import CLOUD_EVENT, COLUMNS, EVENT, SINGLE, TELEMETRY
from streams.gateway.gateway import Gateway
from streams.gateway.intake import (
    MOST_ITEMS,
    MOST_REFUSED,
    Refusal,
    listed_items,
    read_telemetry,
    where_of,
    without_consequence,
)
from streams.gateway.problem import ApiError, FieldError, responses
from streams.gateway.views import first_problem
from streams.records import EventRecord
from twin.errors import ReadingRefused
from twin.time import parse_time

MOST_ERRORS = 20  # named in one answer


class TelemetryTaken(BaseModel):
    records: int = Field(description="records acknowledged by the broker")
    readings: int = Field(description="times in them")
    assets: int
    items: int = Field(description="items that came")
    refused: list[Refusal] = Field(
        default=[], description=f"items, or parts of them, that were not taken; {MOST_REFUSED} at most"
    )


class EventsTaken(BaseModel):
    records: int
    assets: int


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
        found = await asyncio.to_thread(read_telemetry, body, request.headers.items(), partitions)
        if not found.records:
            first = found.refused[0]
            detail = f"{found.count} of {found.count} item(s) can't be used; {first.where}: {first.message}; nothing was taken"
            raise ApiError(400, detail, errors=[FieldError(where=one.where, message=one.message) for one in found.refused])
        await gateway.producer.deliver(gateway.topics.telemetry, found.records)
        if found.refused:
            response.status_code = 207
        return TelemetryTaken(
            records=len(found.records),
            readings=found.readings,
            assets=len(found.assets),
            refused=found.refused,
            items=found.count,
        )

    @routes.post(
        "/v1/events",
        summary="Log lines, maintenance notes, messages; one or a list",
        status_code=202,
        response_model=EventsTaken,
        responses=responses(400, 413, 415, 503),
        openapi_extra=_body({"application/json": {"oneOf": [EVENT, _list_of(EVENT)]}}),
    )
    async def events(request: Request) -> dict[str, int]:
        items = _items(request.headers.get("content-type", ""), await request.body())
        errors: list[FieldError] = []
        records: list[tuple[bytes, bytes]] = []
        for position, item in enumerate(items):
            try:
                event = check_event(item)
            except ReadingRefused as error:
                errors.append(FieldError(where=where_of(position, item), message=without_consequence(error)))
                continue
            records.append((event.asset.encode(), event.to_bytes()))
        _refuse_all(errors, len(items))
        await gateway.producer.send(gateway.topics.events, records)
        return {"records": len(records), "assets": len({key for key, _ in records})}

    return routes


def check_event(item: Any) -> EventRecord:
    """An event as fed: `time` in any form, or `time_ns`. Raises ReadingRefused."""
    if not isinstance(item, dict):
        raise ReadingRefused("shape", f"a JSON {type(item).__name__} was found, expected an object with asset, time and kind")
    fields = dict(item)
    if "time_ns" not in fields:
        fields["time_ns"] = parse_time(fields.pop("time", None))
    if not fields.get("asset"):
        raise ReadingRefused("asset", f"asset is {str(fields.get('asset'))[:60]!r}, expected a text")
    try:
        return EventRecord.model_validate(fields)
    except ValidationError as error:
        raise ReadingRefused("shape", first_problem(error)) from error


def _items(content_type: str, body: bytes) -> list[Any]:
    """The body as a list. Raises ApiError 400, 415."""
    if not is_json(media_type(content_type)):
        raise ApiError(415, f"Content-Type is {content_type or 'missing'!r}, expected application/json; nothing was taken")
    return listed_items(body)


def _refuse_all(errors: list[FieldError], items: int) -> None:
    if errors:
        first = errors[0]
        detail = f"{len(errors)} of {items} item(s) can't be used; {first.where}: {first.message}; nothing was taken"
        raise ApiError(400, detail, errors=errors[:MOST_ERRORS])


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": MOST_ITEMS}


def _body(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media: {"schema": schema} for media, schema in schemas.items()}}}

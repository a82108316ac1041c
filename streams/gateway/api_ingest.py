"""POST /v1/telemetry and /v1/events: the topics' own formats over HTTP.

In:   a JSON object or a list of them; telemetry single (`time` one time) or in columns (`time` a list).
Out:  202 with counts when the broker has acknowledged every record; 400 naming the item that does not fit: then none was taken.
"""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from streams.decoding import decode
from streams.formats.json_readings import column_values
from streams.formats.readings import Telemetry
from streams.gateway.gateway import Gateway
from streams.gateway.problem import ApiError, FieldError, responses
from streams.gateway.views import first_problem
from streams.records import EventRecord
from twin.errors import ReadingRefused
from twin.time import parse_time

MOST_ITEMS = 50_000
MOST_ERRORS = 20  # named in one answer

_NUMBER = {"type": ["number", "boolean", "null"]}
_TIME = {
    "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
    "description": "RFC 3339, or epoch in s, ms, µs or ns",
}
SINGLE = {
    "type": "object",
    "title": "Reading",
    "required": ["asset", "time"],
    "properties": {"asset": {"type": "string", "minLength": 1, "maxLength": 256}, "time": _TIME},
    "additionalProperties": _NUMBER,
    "examples": [{"asset": "p1", "time": "2026-01-01T00:00:00Z", "flow": 1.2}],
}
COLUMNS = {
    "type": "object",
    "title": "Readings of one asset in columns",
    "required": ["asset", "time"],
    "properties": {
        "asset": {"type": "string", "minLength": 1, "maxLength": 256},
        "time": {"type": "array", "items": _TIME, "minItems": 1, "maxItems": 100_000},
    },
    "additionalProperties": {"type": "array", "items": _NUMBER},
    "examples": [{"asset": "p1", "time": [1767225600, 1767225601], "flow": [1.2, 1.3]}],
}
TELEMETRY = {"oneOf": [SINGLE, COLUMNS]}
_EVENT = {
    "type": "object",
    "title": "Event",
    "required": ["asset", "time", "kind"],
    "properties": {
        "asset": {"type": "string", "minLength": 1},
        "time": _TIME,
        "kind": {"type": "string", "description": "log | maintenance | message | fault"},
        "text": {"type": "string"},
        "code": {"type": ["string", "null"]},
        "label": {"type": ["string", "null"]},
        "active": {"type": ["boolean", "null"]},
    },
}


class TelemetryTaken(BaseModel):
    records: int = Field(description="records acknowledged by the broker")
    readings: int = Field(description="times in them")
    assets: int


class EventsTaken(BaseModel):
    records: int
    assets: int


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(tags=["telemetry"])

    @routes.post(
        "/v1/telemetry",
        summary="Readings: single, in columns, or a list of either",
        status_code=202,
        response_model=TelemetryTaken,
        responses=responses(400, 413, 415, 503),
        openapi_extra=_body(
            {"oneOf": [SINGLE, COLUMNS, {"type": "array", "items": TELEMETRY, "minItems": 1, "maxItems": MOST_ITEMS}]}
        ),
    )
    async def telemetry(request: Request) -> dict[str, int]:
        items = await _items(request)
        errors: list[FieldError] = []
        records: list[tuple[bytes, bytes]] = []
        readings = 0
        for position, item in enumerate(items):
            payload = orjson.dumps(item)
            try:
                asset, count = check_reading(payload)
            except ReadingRefused as error:
                errors.append(FieldError(where=_where(position, items), message=_without_consequence(error)))
                continue
            readings += count
            records.append((asset.encode(), payload))
        _refuse_all(errors, len(items))
        await gateway.producer.send(gateway.topics.telemetry, records)
        return {"records": len(records), "readings": readings, "assets": len({key for key, _ in records})}

    @routes.post(
        "/v1/events",
        summary="Log lines, maintenance notes, messages; one or a list",
        status_code=202,
        response_model=EventsTaken,
        responses=responses(400, 413, 415, 503),
        openapi_extra=_body({"oneOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MOST_ITEMS}]}),
    )
    async def events(request: Request) -> dict[str, int]:
        items = await _items(request)
        errors: list[FieldError] = []
        records: list[tuple[bytes, bytes]] = []
        for position, item in enumerate(items):
            try:
                event = check_event(item)
            except ReadingRefused as error:
                errors.append(FieldError(where=_where(position, items), message=_without_consequence(error)))
                continue
            records.append((event.asset.encode(), event.to_bytes()))
        _refuse_all(errors, len(items))
        await gateway.producer.send(gateway.topics.events, records)
        return {"records": len(records), "assets": len({key for key, _ in records})}

    return routes


def check_reading(payload: bytes) -> tuple[str, int]:
    """Asset and number of times of one telemetry record, decoded as the processor does; stricter: every value is a number.

    Raises ReadingRefused.
    """
    found = decode(payload)
    assert isinstance(found, Telemetry)  # JSON
    if not found.channels:
        raise ReadingRefused("shape", f"{found.asset} has a time and no channel, expected at least one number beside it")
    for name, value in found.channels.items():
        column = value if found.columnar else [value]
        if isinstance(value, list) and not found.columnar:
            raise ReadingRefused("shape", f"{name} is a list and time is not, expected both to be lists, or neither")
        if column_values(column)[1]:
            bad = next((cell for cell in column if not isinstance(cell, int | float | None)), column[0])
            raise ReadingRefused("value", f"{name} is {str(bad)[:60]!r}, expected a finite number or null")
    return found.asset, len(found.time_ns) if not isinstance(found.time_ns, int) else 1


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


async def _items(request: Request) -> list[Any]:
    """The body as a list. Raises ApiError 400, 415."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise ApiError(415, f"Content-Type is {media or 'missing'!r}, expected application/json; nothing was taken")
    body = await request.body()
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}; nothing was taken") from error
    items = found if isinstance(found, list) else [found]
    if not 0 < len(items) <= MOST_ITEMS:
        raise ApiError(400, f"{len(items)} items in the list, expected 1 to {MOST_ITEMS}; nothing was taken")
    return items


def _refuse_all(errors: list[FieldError], items: int) -> None:
    if errors:
        first = errors[0]
        detail = f"{len(errors)} of {items} item(s) can't be used; {first.where}: {first.message}; nothing was taken"
        raise ApiError(400, detail, errors=errors[:MOST_ERRORS])


def _where(position: int, items: list[Any]) -> str:
    item = items[position]
    asset = item.get("asset") if isinstance(item, dict) else None
    return f"item {position}" + (f" (asset {asset[:60]!r})" if isinstance(asset, str) else "")


def _without_consequence(error: ReadingRefused) -> str:
    """What is wrong; the decoder's own ending speaks of the stream, where refused records are kept."""
    return (
        str(error)
        .removesuffix("; kept in dead-letter")
        .removesuffix("; it is kept in dead-letter")
        .removesuffix("; the record is kept in dead-letter")
    )


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

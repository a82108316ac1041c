"""GET /v1/twins, one twin, its history."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from streams.gateway.answers import TwinDetail, TwinList, twin_answer, waiting_twin_answer
from streams.gateway.gateway import Gateway
from streams.gateway.past_units import in_present_units
from streams.gateway.problem import ApiError, not_found, responses
from streams.gateway.times import NS_PER_S, parse_query_time, rfc3339, rfc3339_many
from streams.records import Health, TwinState
from streams.stores.port import ChannelSeries, TwinHistory
from twin.errors import ReadingRefused
from twin.quality import word

DAY_NS = 86_400 * NS_PER_S


class ChannelHistory(BaseModel):
    name: str
    unit: str | None
    time: list[str] = Field(description="end of the last step in each bucket")
    value: list[float | None] = Field(description="mean of the bucket")
    low: list[float | None]
    high: list[float | None]
    expected: list[float | None]
    spread: list[float | None] = Field(description="one standard deviation of what was expected")
    quality: list[str]


class RiskHistory(BaseModel):
    time: list[str]
    risk: list[float]
    score: list[float | None]
    version: list[str]


class HistoryAnswer(BaseModel):
    id: str
    from_: str = Field(alias="from")
    to: str
    channels: list[ChannelHistory]
    risk: RiskHistory


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1/twins", tags=["twins"])
    views = gateway.views

    @routes.get("", summary="Twins as of their last closed step, by id", response_model=TwinList, responses=responses(422, 503))
    async def twins(
        type: Annotated[str | None, Query(description="DTMI, or its short name such as water.tank")] = None,
        health: Annotated[Health | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        gateway.need_views()
        kind = views.definitions.by_slug(type) if type is not None else None
        wanted = kind.id if kind is not None else type
        page: list[TwinState] = []
        following: str | None = None
        for state in views.twins.after(after):
            if (wanted is None or state.type == wanted) and (health is None or state.health == health):
                if len(page) == limit:
                    following = page[-1].asset
                    break
                page.append(state)
        return {"twins": [twin_answer(state, views) for state in page], "next": following}

    @routes.get(
        "/{id:path}/history",
        summary="Channels with the model's expectation, and risk, over event time",
        response_model=HistoryAnswer,
        responses=responses(400, 404, 422, 503),
    )
    async def history(
        id: str,
        channel: Annotated[list[str] | None, Query(description="only these channels; repeat for several")] = None,
        from_: Annotated[
            str | None, Query(alias="from", description="RFC 3339 or epoch; a day before `to` when left out")
        ] = None,
        to: Annotated[
            str | None, Query(description="RFC 3339 or epoch, not included; past the newest step when left out")
        ] = None,
        points: Annotated[int, Query(ge=1, le=5000, description="most buckets; steps as they are when fewer")] = 500,
    ) -> dict[str, Any]:
        gateway.need_views()
        state, declared = views.twins.get(id), views.definitions.fleet.get(id)
        span = await asyncio.to_thread(gateway.store.span, id)
        if state is None and declared is None and span is None:
            raise not_found("twin", id, "/v1/twins")
        newest = max(span[1] if span is not None else 0, state.time_ns if state is not None else 0)
        to_ns = _time("to", to) if to is not None else newest + 1
        from_ns = _time("from", from_) if from_ is not None else max(to_ns - DAY_NS, 0)
        if from_ns >= to_ns:
            raise ApiError(400, f"from is {rfc3339(from_ns)}, expected before to, {rfc3339(to_ns)}; nothing was read")
        dtmi = state.type if state is not None else declared.type if declared is not None else ""
        kind = views.definitions.types.get(dtmi)
        unknown = sorted(set(channel or ()) - set(kind.channel_names)) if kind is not None else []
        if kind is not None and unknown:
            raise ApiError(
                400, f"{id} has no channel {', '.join(unknown)}, expected of {', '.join(kind.channel_names)}; nothing was read"
            )
        found = await asyncio.to_thread(gateway.store.history, id, channels=channel, from_ns=from_ns, to_ns=to_ns, points=points)
        units = views.units(dtmi)
        return _history_answer(in_present_units(found, views.definitions.types, units), from_ns, to_ns, units)

    @routes.get(
        "/{id:path}",
        summary="One twin with its units, properties and relationships",
        response_model=TwinDetail,
        responses=responses(404, 503),
    )
    async def twin(id: str) -> dict[str, Any]:
        gateway.need_views()
        return detail(gateway, id)

    return routes


def detail(gateway: Gateway, asset: str) -> dict[str, Any]:
    """Raises ApiError 404."""
    views = gateway.views
    state, declared = views.twins.get(asset), views.definitions.fleet.get(asset)
    if state is not None:
        answer = twin_answer(state, views)
    elif declared is not None:
        answer = waiting_twin_answer(asset, declared.type, views)
    else:
        raise not_found("twin", asset, "/v1/twins")
    return {
        **answer,
        "units": views.units(answer["type"]),
        "properties": views.definitions.fleet.properties(asset),
        "property_changes": [
            {"time": rfc3339(at_ns), "properties": changed} for at_ns, changed in views.definitions.fleet.changes(asset)
        ],
        "relationships": [edge.model_dump() for edge in declared.relationships] if declared is not None else [],
        "neighbours": sorted(views.definitions.fleet.neighbours(asset)),
        "alerts": [alert.id for alert in views.alerts.of(asset) if alert.state == "active"],
    }


def _time(which: Literal["from", "to"], text: str) -> int:
    try:
        return parse_query_time(text)
    except ReadingRefused as error:
        raise ApiError(
            400, f"{which} is {text[:60]!r}, expected RFC 3339 such as 2026-01-31T12:00:00Z, or epoch; nothing was read"
        ) from error


def _channel_answer(series: ChannelSeries, unit: str | None) -> dict[str, Any]:
    return {
        "name": series.channel,
        "unit": unit,
        "time": rfc3339_many(series.time_ns),
        "value": series.value,
        "low": series.low,
        "high": series.high,
        "expected": series.expected,
        "spread": series.spread,
        "quality": [word(bits) for bits in series.quality],
    }


def _history_answer(found: TwinHistory, from_ns: int, to_ns: int, units: dict[str, str]) -> dict[str, Any]:
    risk = found.risk
    return {
        "id": found.asset,
        "from": rfc3339(from_ns),
        "to": rfc3339(to_ns),
        "channels": [_channel_answer(series, units.get(series.channel)) for series in found.channels],
        "risk": {"time": rfc3339_many(risk.time_ns), "risk": risk.risk, "score": risk.score, "version": risk.version},
    }

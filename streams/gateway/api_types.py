"""GET /v1/types and one type; a twin's values by name and its Thing Description, for clients that know W3C WoT."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from streams.gateway.answers import twin_answer
from streams.gateway.gateway import Gateway
from streams.gateway.problem import not_found, responses
from twin.fleet import TwinDeclaration
from twin.thing_description import describe_twin
from twin.types import TwinType

THING = "application/td+json"


class ChannelAnswer(BaseModel):
    name: str
    unit: str | None
    semantic: str | None = Field(description="semantic type of DTDL's QuantitativeTypes")
    role: str = Field(description="sensor | actuator | counter | state")
    minimum: float | None
    maximum: float | None
    low_limit: float | None
    high_limit: float | None
    codes: dict[str, float] = Field(description="words of an enumeration, and the numbers that stand for them")


class TypeAnswer(BaseModel):
    id: str
    name: str
    short_name: str
    bases: list[str]
    contract: str = Field(description="hash that weights must carry")
    period_s: float
    lateness_s: float
    channels: list[ChannelAnswer]
    properties: list[str]
    relationships: list[str]
    twins: int


class TypeList(BaseModel):
    types: list[TypeAnswer]
    problems: dict[str, str] = Field(description="definitions that are not used as they stand, and why; at most 100")
    next: str | None


class TypeDetail(TypeAnswer):
    interface: dict[str, Any] = Field(description="DTDL, as it was declared")


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["types"])
    views = gateway.views

    @routes.get("/types", summary="Twin types, by id", response_model=TypeList, responses=responses(422, 503))
    async def types(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        gateway.need_views()
        known = sorted(dtmi for dtmi in views.definitions.types if after is None or dtmi > after)
        count = _twins_by_type(gateway)
        return {
            "types": [_type(views.definitions.types[dtmi], count) for dtmi in known[:limit]],
            "problems": dict(list(views.definitions.faults.items())[:100]),
            "next": known[limit - 1] if len(known) > limit else None,
        }

    @routes.get("/types/{id}", summary="One type", response_model=TypeDetail, responses=responses(404, 503))
    async def type_(id: str) -> dict[str, Any]:
        gateway.need_views()
        kind = views.definitions.types.get(id) or views.definitions.by_slug(id)
        if kind is None:
            raise not_found("type", id, "/v1/types")
        return {**_type(kind, _twins_by_type(gateway)), "interface": views.definitions.interfaces[kind.id]}

    @routes.get(
        "/twins/{id:path}/td",
        summary="W3C WoT Thing Description 1.1 of a twin",
        responses={200: {"content": {THING: {}}}, **responses(404, 503)},
        response_class=Response,
    )
    async def thing(id: str, request: Request) -> Response:
        gateway.need_views()
        kind, twin = _kind_of(gateway, id)
        return Response(orjson.dumps(describe_twin(kind, twin, str(request.base_url))), media_type=THING)

    @routes.get("/twins/{id:path}/values", summary="Values and static data of a twin by name", responses=responses(404, 503))
    async def values(id: str) -> dict[str, str | float | bool | None]:
        gateway.need_views()
        return _values(gateway, id)

    @routes.get("/twins/{id:path}/values/{name}", summary="One value of a twin", responses=responses(404, 503))
    async def value(id: str, name: str) -> str | float | bool | None:
        gateway.need_views()
        found = _values(gateway, id)
        if name not in found:
            raise not_found("value", name, f"/v1/twins/{id}/values")
        return found[name]

    return routes


def _kind_of(gateway: Gateway, asset: str) -> tuple[TwinType, TwinDeclaration]:
    views = gateway.views
    declared, state = views.definitions.fleet.get(asset), views.twins.get(asset)
    dtmi = declared.type if declared is not None else state.type if state is not None else None
    kind = views.definitions.types.get(dtmi) if dtmi is not None else None
    if kind is None:
        raise not_found("twin", asset, "/v1/twins")
    twin = declared if declared is not None else TwinDeclaration(asset=asset, type=kind.id)
    return kind, twin.model_copy(update={"properties": views.definitions.fleet.properties(asset)})


def _values(gateway: Gateway, asset: str) -> dict[str, str | float | bool | None]:
    kind, twin = _kind_of(gateway, asset)
    state = gateway.views.twins.get(asset)
    now = twin_answer(state, gateway.views)["values"] if state is not None else {}
    return {**dict.fromkeys(term.name for term in kind.properties), **twin.properties, **dict.fromkeys(kind.channel_names), **now}


def _twins_by_type(gateway: Gateway) -> dict[str, int]:
    count: dict[str, int] = {}
    for twin in gateway.views.definitions.fleet.twins():
        count[twin.type] = count.get(twin.type, 0) + 1
    return count


def _type(kind: TwinType, count: dict[str, int]) -> dict[str, Any]:
    return {
        "id": kind.id,
        "name": kind.display_name,
        "short_name": kind.slug,
        "bases": list(kind.bases),
        "contract": kind.contract,
        "period_s": kind.period_ns / 1e9,
        "lateness_s": kind.lateness_ns / 1e9,
        "channels": [
            {
                **{
                    name: getattr(channel, name)
                    for name in ("name", "unit", "semantic", "role", "minimum", "maximum", "low_limit", "high_limit")
                },
                "codes": dict(channel.codes),
            }
            for channel in kind.channels
        ],
        "properties": [term.name for term in kind.properties],
        "relationships": [term.name for term in kind.relationships],
        "twins": count.get(kind.id, 0),
    }

"""GET /v1/fleet: the graph of twins, asked by type, static data and relationship, and what is wrong with it."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from streams.gateway.fleet_question import MOST_DEPTH, PROPERTY, properties_asked
from streams.gateway.gateway import Gateway
from streams.gateway.problem import ApiError, not_found, responses
from twin import fleet_query
from twin.fleet_query import Direction, FleetQuery
from twin.fleet_reasons import why_nothing

MOST_FAULTS = 100


class FleetTwin(BaseModel):
    id: str
    type: str
    name: str
    distance: int = Field(description="edges from `from`; 0 without it")
    properties: dict[str, str | float | bool]
    health: str | None
    risk: float | None


class FleetEdge(BaseModel):
    source: str
    name: str
    target: str
    dangling: bool = Field(description="nobody has declared the target")
    properties: dict[str, str | float | bool]


class FleetAnswer(BaseModel):
    twins: list[FleetTwin]
    edges: list[FleetEdge] = Field(description="edges that leave twins of this page, to twins that fit the query or to nowhere")
    circles: list[list[str]] = Field(description="twins of the answer that reach themselves, at most 20 circles")
    problems: list[str] = Field(description="what is wrong with the declarations of this page's twins, at most 100")
    why_nothing: list[str] = Field(description="when no twin fits: which condition none meets, and what there is instead")
    total: int
    next: str | None


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1/fleet", tags=["fleet"])
    views = gateway.views

    @routes.get("", summary="The fleet graph", response_model=FleetAnswer, responses=responses(400, 404, 422, 503))
    async def fleet(
        request: Request,
        type: Annotated[str | None, Query(description="DTMI or short name; twins of types that extend it count")] = None,
        relationship: Annotated[str | None, Query(description="only along, or with, edges of this name")] = None,
        from_: Annotated[str | None, Query(alias="from", description="start here and follow relationships")] = None,
        depth: Annotated[
            int | None, Query(ge=0, le=MOST_DEPTH, description="most edges from `from`; any number without it")
        ] = None,
        direction: Annotated[Direction, Query(description="of the edges that are followed")] = "both",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        """Static data is asked as `property.NAME=VALUE`, or `property.NAME=>VALUE` and the like for numbers."""
        gateway.need_views()
        known = {"type", "relationship", "from", "depth", "direction", "limit", "after"}
        unknown = sorted(name for name in request.query_params if name not in known and not name.startswith(PROPERTY))
        if unknown:
            raise ApiError(
                400, f"{', '.join(unknown)}: expected one of {', '.join(sorted(known))} or property.NAME; nothing was read"
            )
        declared, types = views.definitions.fleet, views.definitions.types
        if from_ is not None and from_ not in declared:
            raise not_found("twin", from_, "/v1/fleet")
        query = FleetQuery(type, relationship, from_, depth, direction, properties_asked(request.query_params))
        found = fleet_query.ask(declared, types, query)
        assets = list(found)
        start = bisect_right(assets, after) if after is not None else 0
        page = assets[start : start + limit]
        edges = fleet_query.edges_between(declared, found, relationship)
        on_page = set(page)
        return {
            "twins": [_twin(gateway, asset, found[asset]) for asset in page],
            "edges": [
                {
                    "source": one.source,
                    "name": one.name,
                    "target": one.target,
                    "dangling": one.dangling,
                    "properties": one.properties,
                }
                for one in edges
                if one.source in on_page
            ],
            "circles": fleet_query.circles(edges),
            "problems": fleet_query.faults(declared, types, page)[:MOST_FAULTS],
            "why_nothing": [] if found else why_nothing(declared, types, query),
            "total": len(found),
            "next": page[-1] if page and start + limit < len(assets) else None,
        }

    return routes


def _twin(gateway: Gateway, asset: str, distance: int) -> dict[str, Any]:
    views = gateway.views
    declared, state = views.definitions.fleet.get(asset), views.twins.get(asset)
    return {
        "id": asset,
        "type": declared.type if declared is not None else "",
        "name": views.display_name(asset),
        "distance": distance,
        "properties": views.definitions.fleet.properties(asset),
        "health": state.health if state is not None else None,
        "risk": state.risk if state is not None else None,
    }

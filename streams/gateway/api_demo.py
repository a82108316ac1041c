"""/v1/demo/faults: switch faults of the demo plant on and off; what was asked for and what the plant did."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from streams.gateway.gateway import Gateway
from streams.gateway.problem import responses
from streams.gateway.times import rfc3339
from streams.records import DemoCommand


class FaultAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fault: Literal["leak", "pump-trip", "stuck", "drift", "offset"]
    asset: str = Field(min_length=1, max_length=256)
    channel: str | None = Field(default=None, description="sensor faults: which channel; the first when left out")
    size: float | None = Field(
        default=None, allow_inf_nan=False, description="leak: litres per second; drift: units per hour; offset: units"
    )
    active: bool = True
    by: str = Field(default="operator", min_length=1, max_length=200)


class FaultAnswer(BaseModel):
    fault: str
    asset: str
    channel: str | None
    size: float | None
    active: bool
    by: str


class FaultEvent(BaseModel):
    asset: str
    time: str
    label: str | None
    active: bool | None
    text: str


class FaultList(BaseModel):
    faults: list[FaultAnswer] = Field(description="switched on now")
    events: list[FaultEvent] = Field(description="ground truth, newest first: what the plant did; detection never reads it")


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1/demo/faults", tags=["demo"])

    @routes.get("", summary="Faults that are on, and what the plant did", response_model=FaultList, responses=responses(503))
    async def faults() -> dict[str, Any]:
        gateway.need_views()
        view = gateway.views.faults
        return {
            "faults": [command.model_dump() for command in view.active()],
            "events": [
                {"asset": one.asset, "time": rfc3339(one.time_ns), "label": one.label, "active": one.active, "text": one.text}
                for one in sorted(view.events, key=lambda event: event.time_ns, reverse=True)
            ],
        }

    @routes.post(
        "",
        summary="Switch a fault on or off",
        status_code=202,
        response_model=FaultAnswer,
        responses=responses(400, 404, 422, 503),
    )
    async def switch(asked: FaultAsked) -> dict[str, Any]:
        gateway.need_views()
        return (await gateway.operator.fault(DemoCommand(**asked.model_dump()))).model_dump()

    return routes

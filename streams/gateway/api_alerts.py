"""GET /v1/alerts, and what an operator says of one: acknowledge, shelve, comment, false alarm, label."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from streams.gateway.alert_context import context_of, risks_about
from streams.gateway.answers import AlertDetail, AlertList, alert_answer
from streams.gateway.commands import AlertAction
from streams.gateway.gateway import Gateway
from streams.gateway.problem import ApiError, not_found, responses
from streams.gateway.times import NS_PER_S
from streams.records import Alert, Feedback, Severity
from twin.errors import ReadingRefused
from twin.time import parse_time

DEFAULT_SHELVE_NS = 8 * 3600 * NS_PER_S


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: str = Field(default="operator", min_length=1, max_length=200)
    text: str | None = Field(default=None, max_length=4000)
    command_id: str | None = Field(default=None, min_length=1, max_length=200, description="the same id sent twice counts once")


class Shelving(_Said):
    until: str | int | None = Field(
        default=None, description="event time, RFC 3339 or epoch; eight hours after the alert's last change when left out"
    )


class Commenting(_Said):
    text: str = Field(min_length=1, max_length=4000)


class Labelling(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: str = Field(min_length=1, max_length=100, pattern=r"\S", description="a class of fault, or `normal`: a false alarm")
    by: str = Field(default="operator", min_length=1, max_length=200)


class CommandTaken(BaseModel):
    command_id: str
    alert: str
    action: str


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1/alerts", tags=["alerts"])

    @routes.get("", summary="Alerts, newest onset first", response_model=AlertList, responses=responses(400, 422, 503))
    async def alerts(
        state: Annotated[Literal["active", "cleared"] | None, Query()] = None,
        asset: Annotated[str | None, Query()] = None,
        severity: Annotated[Severity | None, Query()] = None,
        acknowledged: Annotated[bool | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 200,
        after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        gateway.need_views()
        found = gateway.views.alerts.newest_first()
        if after is not None:
            place = _place(after)
            found = [alert for alert in found if (alert.onset_ns, alert.id) < place]
        found = [
            alert
            for alert in found
            if (state is None or alert.state == state)
            and (asset is None or alert.asset == asset)
            and (severity is None or alert.severity == severity)
            and (acknowledged is None or alert.acknowledged == acknowledged)
        ]
        page = found[:limit]
        following = f"{page[-1].onset_ns}:{page[-1].id}" if len(found) > limit else None
        return {"alerts": [alert_answer(alert) for alert in page], "next": following}

    async def say(alert_id: str, action: AlertAction, said: _Said | None, until_ns: int | None = None) -> dict[str, str]:
        gateway.need_views()
        said = said or _Said()
        command = await gateway.operator.alert(
            alert_id, action, by=said.by, text=said.text, until_ns=until_ns, command_id=said.command_id
        )
        return {"command_id": command.command_id, "alert": alert_id, "action": action}

    taken: dict[str, Any] = {"status_code": 202, "response_model": CommandTaken, "responses": responses(400, 404, 422, 503)}

    @routes.post("/{id}:acknowledge", summary="Someone is looking at it", **taken)
    async def acknowledge(id: str, said: _Said | None = None) -> dict[str, str]:
        return await say(id, "acknowledge", said)

    @routes.post("/{id}:shelve", summary="Keep it quiet until an event time", **taken)
    async def shelve(id: str, said: Shelving | None = None) -> dict[str, str]:
        gateway.need_views()
        return await say(id, "shelve", said, _until(said, known(id)))

    @routes.post("/{id}:comment", summary="Add a remark", **taken)
    async def comment(id: str, said: Commenting) -> dict[str, str]:
        return await say(id, "comment", said)

    @routes.post("/{id}:false-alarm", summary="Nothing was wrong: the period counts as normal when the model learns", **taken)
    async def false_alarm(id: str, said: _Said | None = None) -> dict[str, str]:
        return await say(id, "false-alarm", said)

    @routes.post(
        "/{id}:label",
        summary="What it was: later versions tell such faults apart, and learn nothing from the period unless it was normal",
        status_code=202,
        response_model=Feedback,
        responses=responses(404, 422, 503),
    )
    async def label(id: str, said: Labelling) -> Feedback:
        gateway.need_views()
        return await gateway.operator.label(id, said.label.strip(), by=said.by)

    @routes.get(
        "/{id}",
        summary="One alert with its evidence, and what stands beside it in the fleet",
        response_model=AlertDetail,
        responses=responses(404, 503),
    )
    async def alert(id: str) -> dict[str, Any]:
        gateway.need_views()
        found = known(id)
        risks = await risks_about(gateway.views, gateway.store, found)
        return {**alert_answer(found), "context": context_of(gateway.views, found, risks)}

    def known(alert_id: str) -> Alert:
        found = gateway.views.alerts.get(alert_id)
        if found is None:
            raise not_found("alert", alert_id, "/v1/alerts")
        return found

    return routes


def _until(said: Shelving | None, alert: Alert) -> int:
    if said is None or said.until is None:
        return alert.updated_ns + DEFAULT_SHELVE_NS
    try:
        return parse_time(said.until)
    except ReadingRefused as error:
        raise ApiError(
            400, f"until is {str(said.until)[:60]!r}, expected RFC 3339 or epoch; the alert was not shelved"
        ) from error


def _place(after: str) -> tuple[int, str]:
    onset, _, alert_id = after.partition(":")
    if not onset.isdecimal() or not alert_id:
        raise ApiError(400, f"after is {after[:60]!r}, expected `next` of a page before; nothing was read")
    return int(onset), alert_id

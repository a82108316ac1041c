"""GET /v1/models and the card of a version; promote, roll back, train by hand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from streams.gateway.answers import ModelAnswer, ModelList, model_answer
from streams.gateway.card_answer import ModelCard
from streams.gateway.commands import ModelAction
from streams.gateway.gateway import Gateway
from streams.gateway.problem import not_found, responses
from streams.model_card import card, markdown
from streams.model_records import ModelVersion


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: str = Field(default="operator", min_length=1, max_length=200)
    command_id: str | None = Field(default=None, min_length=1, max_length=200, description="the same id sent twice counts once")


class Promotion(_Asked):
    version: str = Field(min_length=1, max_length=200)


class ModelCommandTaken(BaseModel):
    command_id: str
    model: str
    action: str
    version: str | None


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1/models", tags=["models"])

    @routes.get(
        "",
        summary="Models with their champion, and every version with what was decided and why",
        response_model=ModelList,
        responses=responses(422, 503),
    )
    async def models(
        type: Annotated[str | None, Query(description="DTMI, or its short name such as water.tank")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        gateway.need_views()
        known = gateway.views.models.models
        names = [
            name
            for name in sorted(known)
            if (after is None or name > after) and (type is None or type in (name, known[name].type))
        ]
        page = names[:limit]
        following = page[-1] if len(names) > limit else None
        return {"models": [model_answer(known[name], gateway.views.alarm_rates.of(name)) for name in page], "next": following}

    async def ask(name: str, action: ModelAction, asked: _Asked | None, version: str | None = None) -> dict[str, Any]:
        gateway.need_views()
        asked = asked or _Asked()
        command = await gateway.operator.model(name, action, by=asked.by, version=version, command_id=asked.command_id)
        return {"command_id": command.command_id, "model": name, "action": action, "version": version}

    taken: dict[str, Any] = {
        "status_code": 202,
        "response_model": ModelCommandTaken,
        "responses": responses(400, 404, 409, 422, 503),
    }

    @routes.post("/{name}:promote", summary="Let this version serve", **taken)
    async def promote(name: str, asked: Promotion) -> dict[str, Any]:
        return await ask(name, "promote", asked, asked.version)

    @routes.post("/{name}:rollback", summary="Let the version before serve again", **taken)
    async def rollback(name: str, asked: _Asked | None = None) -> dict[str, Any]:
        return await ask(name, "rollback", asked)

    @routes.post("/{name}:train", summary="Train an update now; it serves only if it proves itself", **taken)
    async def train(name: str, asked: _Asked | None = None) -> dict[str, Any]:
        return await ask(name, "train", asked)

    def version_of(name: str, version: str) -> ModelVersion:
        gateway.need_views()
        model = gateway.views.models.get(name)
        if model is None:
            raise not_found("model", name, "/v1/models")
        if version not in model.versions:
            raise not_found(f"version of {name}", version, f"/v1/models/{name}")
        return model.versions[version]

    @routes.get(
        "/{name}/versions/{version}",
        summary="The model card of a version: data, what was left out, gate, structure, cost, software",
        response_model=ModelCard,
        responses=responses(404, 503),
    )
    async def version_card(name: str, version: str) -> dict[str, Any]:
        return card(version_of(name, version))

    @routes.get(
        "/{name}/versions/{version}/card.md",
        summary="The model card of a version as Markdown",
        response_class=PlainTextResponse,
        responses={**responses(404, 503), 200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}},
    )
    async def version_card_text(name: str, version: str) -> PlainTextResponse:
        return PlainTextResponse(markdown(card(version_of(name, version))), media_type="text/markdown; charset=utf-8")

    @routes.get("/{name}", summary="One model", response_model=ModelAnswer, responses=responses(404, 503))
    async def model(name: str) -> dict[str, Any]:
        gateway.need_views()
        found = gateway.views.models.get(name)
        if found is None:
            raise not_found("model", name, "/v1/models")
        return model_answer(found, gateway.views.alarm_rates.of(name))

    return routes

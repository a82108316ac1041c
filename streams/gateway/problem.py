"""Errors as RFC 9457 problem details, everywhere below /v1 and beside it.

In:   exceptions of the routes, of FastAPI's validation, of Kafka and of the store.
Out:  `application/problem+json` that says which thing, what was found, what was expected and what happens now.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from streams.stores.port import StoreError
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    where: str = Field(description="which part of the request: `query.limit`, `body.asset`, `item 3`")
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str = Field(description="path of the request")
    errors: list[FieldError] = []


class ApiError(LivetwinError):
    """An answer other than success. `errors` names the parts of the request that are wrong."""

    def __init__(
        self, status: int, detail: str, *, errors: list[FieldError] | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.retry_after_s = retry_after_s
        self.retriable = retry_after_s is not None


class BrokerAway(ApiError):
    """Kafka did not acknowledge in time; sending the same again is safe."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, detail, retry_after_s=5)


def not_found(what: str, which: str, where: str) -> ApiError:
    return ApiError(404, f"{what} {which!r} is not known; {where} lists those that are")


def problem_response(
    request: Request, status: int, detail: str, *, errors: list[FieldError] | None = None, headers: dict[str, str] | None = None
) -> Response:
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, instance=request.url.path, errors=errors or []
    )
    return Response(orjson.dumps(problem.model_dump()), status, headers, MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: which problems it answers with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Every error of `app` becomes problem details."""

    @app.exception_handler(ApiError)
    async def _api_error(request: Request, error: ApiError) -> Response:
        headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        return problem_response(request, error.status, error.detail, errors=error.errors, headers=headers)

    @app.exception_handler(StoreError)
    async def _store_away(request: Request, error: StoreError) -> Response:
        return problem_response(request, 503, f"the store can't answer now: {error}", headers={"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return problem_response(request, error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        errors = [FieldError(where=".".join(map(str, one["loc"])), message=one["msg"]) for one in error.errors()]
        status = 400 if any(one["type"] == "json_invalid" for one in error.errors()) else 422
        detail = "; ".join(f"{one.where}: {one.message}" for one in errors[:5]) + "; nothing was done"
        return problem_response(request, status, detail, errors=errors)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("request-failed", exc_info=error, extra={"path": request.url.path})
        return problem_response(request, 500, "an error that nobody planned for; the log of the gateway has the details")

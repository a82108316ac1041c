"""No request makes the gateway hold more than a fixed number of bytes.

In:   requests, with or without a Content-Length.
Out:  the request, or 413 as problem details as soon as more than the limit was said or has come.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.problem import problem_response

_PASSED_OVER = 8  # times the limit


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        detail = f"the body is larger than {self._most_bytes:,} bytes; nothing of it was taken; send it in smaller parts"
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most_bytes:
            await _pass_over(receive, _PASSED_OVER * self._most_bytes)
            await problem_response(request, 413, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        came = 0

        async def counting() -> Message:
            nonlocal came
            message = await receive()
            if message["type"] == "http.request":
                came += len(message.get("body", b""))
                if came > self._most_bytes:
                    raise HTTPException(413, detail)  # FastAPI lets it through; the handler makes a problem of it
            return message

        await self._app(scope, counting, send)


async def _pass_over(receive: Receive, most_bytes: int) -> None:
    """Take what still comes and keep nothing: a client that is cut off while it sends does not read the answer."""
    came = 0
    while came <= most_bytes:
        message = await receive()
        came += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return

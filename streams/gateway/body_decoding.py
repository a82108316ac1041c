"""Bodies that come compressed: `Content-Encoding: gzip`, as many agents send by default.

In:   requests.
Out:  the request with its body as it was before it was compressed; 415 for another encoding, 400 for a body that is not what it
      says, 413 for one that is larger than the limit once it is decompressed, all as problem details.
"""

from __future__ import annotations

import zlib

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.problem import problem_response

_GZIP_ONLY = 16 + zlib.MAX_WBITS


class BodyDecoding:
    """ASGI middleware; stands behind what bounds the bytes that come."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive) if scope["type"] == "http" else None
        encoding = request.headers.get("content-encoding", "").strip().lower() if request is not None else ""
        if request is None or encoding in ("", "identity"):
            await self._app(scope, receive, send)
            return
        status: int = 415
        found: bytes | str = f"Content-Encoding is {encoding[:60]!r}, expected gzip or none; nothing was taken"
        if encoding in ("gzip", "x-gzip"):
            try:
                status, found = self._decoded(await request.body())
            except HTTPException as error:  # more came than may
                status, found = error.status_code, error.detail
        if isinstance(found, str):
            await problem_response(request, status, found, headers={"Accept-Encoding": "gzip"})(scope, receive, send)
            return
        headers = MutableHeaders(raw=list(scope["headers"]))
        del headers["content-encoding"]
        headers["content-length"] = str(len(found))
        body: list[Message] = [{"type": "http.request", "body": found, "more_body": False}]

        async def whole() -> Message:
            return body.pop() if body else await receive()

        await self._app({**scope, "headers": headers.raw}, whole, send)

    def _decoded(self, body: bytes) -> tuple[int, bytes | str]:
        """Status and what is wrong, or 200 and the body. Never makes more than the limit."""
        reader = zlib.decompressobj(_GZIP_ONLY)
        try:
            found = reader.decompress(body, self._most_bytes + 1)
        except zlib.error as error:
            return 400, f"the body is no gzip ({error}); nothing was taken"
        if len(found) > self._most_bytes:
            return 413, f"the body is larger than {self._most_bytes:,} bytes once it is decompressed; nothing of it was taken"
        if not reader.eof or reader.unused_data:
            return 400, "the body is not one whole gzip stream; nothing was taken"
        return 200, found

"""The gateway as a whole: one web server with HTTP, SSE and the page, the live views behind it, the historian beside it.

In:   plain arguments from the wiring.
Out:  runs until `stop`, then closes in reverse order of opening.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI, Request
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import compile_path
from starlette.staticfiles import StaticFiles

from streams.gateway import (
    api_alerts,
    api_demo,
    api_fleet,
    api_ingest,
    api_models,
    api_system,
    api_twins,
    api_types,
    metrics,
    page,
    problem,
    sse,
)
from streams.gateway.body_decoding import BodyDecoding
from streams.gateway.body_limit import BodyLimit
from streams.gateway.examples import add_examples
from streams.gateway.gateway import Gateway, assemble
from streams.gateway.problem import ApiError, Problem
from streams.historian import HistorianStats, run_historian
from streams.stores.port import TwinStore
from streams.topics import Topics
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 << 20


class PortTaken(LivetwinError):
    """Another process listens where the gateway should."""


class _Server(uvicorn.Server):
    """Signals belong to the wiring, which sets `stop`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_gateway(
    *,
    bootstrap: str,
    topics: Topics,
    store: TwinStore,
    host: str,
    port: int,
    home: Path,
    historian: bool,
    store_limits: tuple[int, int],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop`. With `historian`, it runs in this process too (DuckDB lets one process own its file).

    Args:
        store_limits: greatest age in nanoseconds of event time, greatest size in bytes.

    Raises:
        PortTaken: someone else listens on host:port; nothing was started.
    """
    listening = _listen(host, port)
    gateway = assemble(bootstrap=bootstrap, topics=topics, home=home, store=store)
    app = create_app(gateway, host=host)
    # a page's or a client's open stream must not hold up the end
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        ws_max_size=4 << 20,
        server_header=False,
    )
    server = _Server(config)
    async with AsyncExitStack() as opened:
        opened.callback(listening.close)
        opened.push_async_callback(gateway.producer.close)
        await opened.enter_async_context(_running("views", lambda: gateway.follower.run(stop), stop))
        await opened.enter_async_context(_running("lag", lambda: gateway.lag.run(stop), stop))
        await opened.enter_async_context(_running("arrivals", lambda: gateway.arrivals.run(stop), stop))
        if historian:
            gateway.historian = HistorianStats()
            await opened.enter_async_context(_running("historian", lambda: _historian(gateway, store_limits, stop), stop))
        address = listening.getsockname()
        log.info("gateway-listening", extra={"address": f"http://{address[0]}:{address[1]}/"})
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        gateway.hub.close()
        server.should_exit = True
        stop.set()
        await serving


def create_app(gateway: Gateway, *, host: str) -> FastAPI:
    """All routes, and the page below them."""
    version = _version()
    app = FastAPI(
        title="livetwin",
        version=version,
        summary="Live digital twins that keep learning",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    problem.install(app)
    registry = metrics.registry(gateway)
    for router in (
        api_types.router(gateway),  # before the twins: below one of them stand its description and its values
        api_twins.router(gateway),
        api_fleet.router(gateway),
        api_alerts.router(gateway),
        api_models.router(gateway),
        api_ingest.router(gateway),
        api_demo.router(gateway),
        api_system.router(gateway, registry, version),
        sse.router(gateway.hub),
    ):
        app.include_router(router)
    _describe_answers(app)
    _refuse_the_rest(app)
    if _is_loopback(host):  # a page elsewhere must not reach this machine by a name that it points here
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", host], www_redirect=False)
    app.add_middleware(BodyDecoding, most_bytes=MAX_BODY_BYTES)
    app.add_middleware(BodyLimit, most_bytes=MAX_BODY_BYTES)  # outside of the one before
    app.add_middleware(metrics.RequestMetrics, registry=registry)
    # weights for processors on other machines (LIVETWIN_WEIGHTS)
    app.mount("/weights", StaticFiles(directory=gateway.home / "models", check_dir=False))
    page.mount(app, gateway)
    return app


def _describe_answers(app: FastAPI) -> None:
    """Put the schema of problem details where the routes refer to it, and only there; and the examples."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            made = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= made.pop("$defs", {})
            schemas["Problem"] = made
            for operations in document["paths"].values():
                for operation in operations.values():
                    found = operation["responses"].get("422")
                    if found is not None and "application/json" in found.get("content", {}):
                        found["content"] = {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            add_examples(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _refuse_the_rest(app: FastAPI) -> None:
    """Unknown paths below /v1, and known ones with another method, answer with a problem, not with the page's 404."""
    known = [
        (compile_path(path)[0], {method.upper() for method in operations}) for path, operations in app.openapi()["paths"].items()
    ]

    @app.api_route(
        "/v1/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], include_in_schema=False
    )
    async def refuse(request: Request, rest: str) -> None:
        allowed = sorted({method for pattern, methods in known if pattern.match(request.url.path) for method in methods})
        if allowed:
            raise ApiError(405, f"{request.method} {request.url.path}: expected {' or '.join(allowed)}; nothing was done")
        raise ApiError(404, f"{request.url.path} is not known; /openapi.json lists what is")


async def _historian(gateway: Gateway, limits: tuple[int, int], stop: asyncio.Event) -> None:
    assert gateway.historian is not None
    await run_historian(
        bootstrap=gateway.bootstrap,
        topics=gateway.topics,
        store=gateway.store,
        group=f"{gateway.topics.prefix}historian",
        max_age_ns=limits[0],
        max_bytes=limits[1],
        stop=stop,
        stats=gateway.historian,
    )


@asynccontextmanager
async def _running(name: str, run: Callable[[], Awaitable[None]], stop: asyncio.Event) -> AsyncIterator[None]:
    """A task beside the server. When it fails, it is said and tried again: the page goes on answering meanwhile."""

    async def again() -> None:
        while not stop.is_set():
            try:
                await run()
            except Exception:
                log.exception("task-failed", extra={"task": name, "retry_in_s": 2})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await stop.wait()

    task = asyncio.create_task(again(), name=name)
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(15):
                await asyncio.shield(task)
        if not task.done():
            log.error("task-cancelled", extra={"task": name, "after_s": 15})
            task.cancel()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        owner = next(
            (one.pid for one in _connections() if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN), None
        )
        by = f" by process {owner}" if owner else ""
        raise PortTaken(
            f"the gateway can't listen on {host}:{port}, taken{by} ({error.strerror}); nothing was started; "
            "stop that process or set LIVETWIN_GATEWAY_PORT"
        ) from error
    listening.listen(512)
    listening.setblocking(False)
    return listening


def _connections() -> list[Any]:
    try:
        return list(psutil.net_connections("tcp"))
    except psutil.AccessDenied:
        return []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version() -> str:
    try:
        return metadata.version("livetwin")
    except metadata.PackageNotFoundError:
        return "0+source"

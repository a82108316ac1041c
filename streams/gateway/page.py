"""The page: which address shows what, on NiceGUI beside the API. Everything it loads comes from this process.

In:   the FastAPI app and the gateway.
Out:  pages below /, their assets below /assets.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from nicegui import ui
from starlette.staticfiles import StaticFiles

from streams.gateway import page_alerts, page_demo, page_fleet, page_model_card, page_models, page_system, page_twin
from streams.gateway.gateway import Gateway
from streams.gateway.page_shell import FAVICON, STATIC


def mount(app: FastAPI, gateway: Gateway) -> None:
    """Add the page to `app`. NiceGUI keeps its own app, so a process has one gateway."""
    app.mount("/assets", StaticFiles(directory=STATIC), name="assets")

    @ui.page("/")
    def fleet(request: Request) -> None:
        page_fleet.build(gateway, request)

    @ui.page("/twin")
    def twin(request: Request, asset: str = "") -> None:
        page_twin.build(gateway, request, asset)

    @ui.page("/alerts")
    def alerts(request: Request, id: str = "") -> None:
        page_alerts.build(gateway, request, id)

    @ui.page("/models")
    def models(request: Request) -> None:
        page_models.build(gateway, request)

    @ui.page("/model")
    def model_card(request: Request, name: str = "", version: str = "") -> None:
        page_model_card.build(gateway, request, name, version)

    @ui.page("/demo")
    def demo(request: Request, asset: str = "") -> None:
        page_demo.build(gateway, request, asset)

    @ui.page("/system")
    def system(request: Request) -> None:
        page_system.build(gateway, request)

    ui.run_with(
        app,
        title="livetwin",
        favicon=FAVICON,
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=20,
    )

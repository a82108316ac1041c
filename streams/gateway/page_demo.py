"""The demo: break something in the simulated plant and watch whether its twins notice."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastapi import Request
from nicegui import ui

from streams.gateway.gateway import Gateway
from streams.gateway.page_html import Html, chip, empty, esc, link, small, table, twin_href
from streams.gateway.page_shell import explain, markup, panel, set_content, shell
from streams.gateway.page_words import Tone, clock
from streams.gateway.problem import ApiError
from streams.records import DemoCommand
from streams.wording import number, unit

Fault = Literal["leak", "pump-trip", "stuck", "drift", "offset"]

_FAULTS: Final[dict[Fault, tuple[str, str, str]]] = {  # fault → (title, what it does, unit of its size)
    "leak": ("Leak", "Water escapes at a junction: pressure drops there and around it.", "litres per second"),
    "pump-trip": ("Pump trip", "A pump stops although it should run.", ""),
    "stuck": ("Stuck sensor", "A sensor repeats its last value.", ""),
    "drift": ("Drifting sensor", "A sensor slowly walks away from the truth.", "units per hour"),
    "offset": ("Sensor offset", "A sensor is off by a fixed amount.", "units"),
}
_OF_SENSORS: Final = ("stuck", "drift", "offset")
_PLANT: Final = "dtmi:livetwin:water:"
_ON: Final = Tone("critical", "◆", "On", "", "")
_OFF: Final = Tone("calm", "●", "Off", "", "")
_TRUTH_SHOWN: Final = 30


def build(gateway: Gateway, request: Request, asset: str) -> None:
    subtitle = "Break something in the simulated water network, and watch its twins"
    with shell(gateway, request, active="demo", title="Demo", subtitle=subtitle):
        explain(
            "What happens when you switch a fault on",
            "The demo plant is a real hydraulic simulation (EPANET) of a town's water network, running faster than life. A fault "
            "changes the physics or a sensor, nothing else: the plant's telemetry simply shows it. What you switch on is "
            "written down "
            "as <b>ground truth</b>, which detection never reads.",
            "Within some steps the twin's risk should rise on the <a href='/'>fleet page</a>, and an <a "
            "href='/alerts'>alert</a> should "
            "name the right channel. Twins that are still learning raise nothing: wait until most read OK.",
        )
        DemoPage(gateway).build(asset)


class DemoPage:
    """The form and the two lists below it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._fault: Fault = "leak"
        self._seen: tuple[Any, ...] | None = None

    def build(self, asset: str) -> None:
        with ui.element("div").classes("lt-stack"):
            self._empty = markup("", classes="lt-panel")
            with ui.element("div") as self._form, panel("Switch on a fault"), ui.element("div").classes("lt-body lt-stack"):
                self._build_form()
            with ui.element("div").classes("lt-two even"):
                with panel("On now"):
                    self._active = ui.element("div").classes("lt-list")
                with panel("Ground truth", note="what the plant did"):
                    self._truth = markup("")
        self._choose("leak")
        if asset in self._asset.options:
            self._asset.set_value(asset)
        self._tick()
        ui.timer(1.0, self._tick)

    def _build_form(self) -> None:
        titles = {name: title for name, (title, _, _) in _FAULTS.items()}
        kinds = ui.toggle(titles, value="leak", on_change=lambda event: self._choose(event.value)).classes("lt-seg wrap")
        kinds.props('unelevated no-caps toggle-color="lt-chosen" toggle-text-color="lt-chosen-ink" aria-label="Kind of fault"')
        self._words = markup("", classes="lt-soft")
        with ui.element("div").classes("lt-row"):
            self._asset = ui.select({}, with_input=True, label="Asset", on_change=self._fill_channels)
            self._asset.props("outlined dense options-dense").classes("lt-grow")
            self._channel = ui.select({}, label="Channel").props("outlined dense options-dense").classes("lt-field")
            self._size = (
                ui.number(label="Size", min=0, placeholder="default").props("outlined dense stack-label").classes("lt-field")
            )
            self._switch = (
                ui.button("Switch on", on_click=self._switch_on, color=None).props("flat no-caps").classes("lt-btn primary")
            )

    # ── the form ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _choose(self, fault: Fault) -> None:
        self._fault = fault
        _, words, size_unit = _FAULTS[fault]
        set_content(self._words, esc(words))
        self._size.set_visibility(bool(size_unit))
        self._size.props(f'label="Size, {size_unit}"')
        self._channel.set_visibility(fault in _OF_SENSORS)
        self._fill_assets()

    def _fill_assets(self) -> None:
        """Assets of the plant that the fault can happen to."""
        views = self._gateway.views
        plant = [twin for twin in views.definitions.fleet.twins() if twin.type.startswith(_PLANT)]
        wanted = {"leak": "junction", "pump-trip": "pump"}.get(self._fault, "")
        found = {twin.asset: twin.name or twin.asset for twin in plant if wanted in twin.type.lower()}
        if found != self._asset.options:
            middle = list(found)[len(found) // 2] if found else None
            self._asset.set_options(found, value=self._asset.value if self._asset.value in found else middle)
        self._fill_channels()
        self._switch.set_enabled(bool(found))
        self._form.set_visibility(bool(plant))
        self._empty.set_visibility(not plant)
        how = "Start it with <code>livetwin up --demo water</code> or <code>livetwin feed water</code>; its assets appear here."
        set_content(self._empty, empty("The demo plant is not running", how))

    def _fill_channels(self) -> None:
        kind = self._gateway.views.definitions.type_of(str(self._asset.value or ""))
        channels = kind.channels if kind is not None else ()
        options = {one.name: f"{one.name} ({unit(one.unit)})" if one.unit else one.name for one in channels}
        if options != self._channel.options:
            self._channel.set_options(options, value=next(iter(options), None))

    async def _switch_on(self) -> None:
        if self._asset.value:
            channel = str(self._channel.value) if self._fault in _OF_SENSORS and self._channel.value else None
            size = float(self._size.value) if self._size.value is not None and _FAULTS[self._fault][2] else None
            await self._send(DemoCommand(fault=self._fault, asset=str(self._asset.value), channel=channel, size=size))

    async def _send(self, command: DemoCommand) -> None:
        try:
            await self._gateway.operator.fault(command)
        except ApiError as error:
            ui.notify(error.detail, type="negative", timeout=8000)
            return
        ui.notify(f"{_FAULTS[command.fault][0]} at {command.asset}: switched {'on' if command.active else 'off'}.", type="info")

    # ── the lists ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        views = self._gateway.views
        seen = (views.faults.revision, views.definitions.revision)
        if seen == self._seen:
            return
        if self._seen is None or self._seen[1] != seen[1]:
            self._fill_assets()
        self._seen = seen
        self._fill_active()
        set_content(self._truth, self._truth_table())

    def _fill_active(self) -> None:
        self._active.clear()
        active = self._gateway.views.faults.active()
        with self._active:
            if not active:
                markup("Nothing is broken on purpose.", classes="lt-small lt-soft")
            for command in active:
                with ui.element("div").classes("lt-row"):
                    size = f"{number(command.size)} {_FAULTS[command.fault][2]}" if command.size is not None else ""
                    where = " · ".join(part for part in (command.channel, size) if part)
                    name = link(twin_href(command.asset), self._gateway.views.display_name(command.asset))
                    line = f"{chip(_ON, _FAULTS[command.fault][0])}{name}{small(where, 'lt-muted')}"
                    markup(f'<span class="lt-row">{line}</span>').style("flex:1 1 auto")
                    off = command.model_copy(update={"active": False})
                    button = ui.button("Switch off", on_click=lambda off=off: self._send(off), color=None)
                    button.props("flat no-caps").classes("lt-btn small")

    def _truth_table(self) -> str:
        views = self._gateway.views
        newest = sorted(views.faults.events, key=lambda event: event.time_ns, reverse=True)[:_TRUTH_SHOWN]
        if not newest:
            return f'<div class="lt-body">{small("The plant has not reported any fault yet.")}</div>'
        rows = [
            (
                clock(one.time_ns, seconds=False),
                Html(link(twin_href(one.asset), views.display_name(one.asset))),
                one.label or one.text,
                Html(chip(_ON if one.active else _OFF, "began" if one.active else "ended")),
            )
            for one in newest
        ]
        return table(("Event time (UTC)", "Asset", "Fault", "What"), rows)

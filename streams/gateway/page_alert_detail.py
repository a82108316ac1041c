"""One alert, open beside the list: its evidence, what stands beside it, and what an operator can say of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from streams.gateway.alert_context import context_of, risks_about
from streams.gateway.commands import AlertAction
from streams.gateway.gateway import Gateway
from streams.gateway.page_alert_parts import beside, evidence, remarks
from streams.gateway.page_html import chip, esc, link, twin_href
from streams.gateway.page_shell import markup, set_content
from streams.gateway.page_words import SEVERITY, condition
from streams.gateway.problem import ApiError
from streams.gateway.times import NS_PER_S

_SHELVE_HOURS: Final = {1: "1 hour", 8: "8 hours", 24: "1 day", 168: "1 week"}
_DONE: Final[dict[AlertAction, str]] = {
    "acknowledge": "Acknowledged",
    "shelve": "Shelved",
    "comment": "Remark added",
    "false-alarm": "Marked as false alarm",
}


class AlertDetail:
    """The panel of one visitor; empty until an alert is opened."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._id: str | None = None
        self._risks: tuple[str, dict[str, float]] | None = None  # of the neighbours of the alert with this id

    def build(self) -> None:
        with (
            ui.dialog().props("position=right full-height") as self._dialog,
            ui.element("div").classes("lt-dialog"),
            ui.element("div").classes("lt-stack").style("padding:18px 20px 28px"),
        ):
            with ui.element("div").classes("lt-row").style("flex-wrap:nowrap;align-items:flex-start"):
                self._title = markup("").style("flex:1 1 auto;min-width:0")
                ui.button("Close", on_click=self._dialog.close, color=None).props("flat no-caps").classes("lt-btn small")
            with ui.element("div").classes("lt-row") as self._buttons:
                self._acknowledge = self._button("Acknowledge", lambda: self._say("acknowledge"), "primary")
                self._false_alarm = self._button("False alarm", lambda: self._say("false-alarm"))
                with ui.button("Shelve…", color=None).props("flat no-caps").classes("lt-btn"), ui.menu():
                    for hours, word in _SHELVE_HOURS.items():
                        ui.menu_item(f"for {word} of event time", on_click=lambda hours=hours: self._shelve(hours))
            self._evidence = markup("", classes="lt-stack")
            with ui.element("div").classes("lt-row"):
                self._remark = ui.input(placeholder="Add a remark").classes("lt-grow")
                self._remark.props('outlined dense maxlength=4000 aria-label="Remark"')
                self._remark.on("keydown.enter", self._say_remark)
                self._button("Comment", self._say_remark)
            with ui.element("div").classes("lt-row"):
                self._label = ui.input(placeholder="What was it? A leak, a stuck sensor … or normal").classes("lt-grow")
                self._label.props('outlined dense maxlength=100 aria-label="Label"')
                self._label.on("keydown.enter", self._say_label)
                self._button("Label", self._say_label)
        self._dialog.on("hide", self._closed)

    def _button(self, text: str, act: Callable[[], Awaitable[None]], look: str = "") -> ui.button:
        return ui.button(text, on_click=act, color=None).props("flat no-caps").classes(f"lt-btn {look}")

    def open(self, alert_id: str) -> None:
        self._id = alert_id
        self.fill()
        self._dialog.open()
        ui.timer(0.01, self._read_risks, once=True)

    async def _read_risks(self) -> None:
        """The store may take a while or be away: the rest is shown meanwhile."""
        alert = self._gateway.views.alerts.get(self._id or "")
        if alert is not None:
            self._risks = alert.id, await risks_about(self._gateway.views, self._gateway.store, alert)
            self.fill()

    def _closed(self) -> None:
        self._id = None

    def fill(self) -> None:
        """Show the alert as it is now; nothing when none is open."""
        if self._id is None:
            return
        alert = self._gateway.views.alerts.get(self._id)
        self._buttons.set_visibility(alert is not None)
        if alert is None:
            set_content(self._title, "<h2>This alert is not known (any more)</h2>")
            set_content(self._evidence, "")
            return
        self._acknowledge.set_enabled(not alert.acknowledged)
        self._false_alarm.set_enabled(not alert.false_alarm)
        name = link(twin_href(alert.asset), self._gateway.views.display_name(alert.asset))
        set_content(
            self._title, f"{chip(SEVERITY[alert.severity])}<h2 style='margin-top:4px'>{name}: {esc(condition(alert))}</h2>"
        )
        risks = self._risks[1] if self._risks is not None and self._risks[0] == alert.id else {}
        context = context_of(self._gateway.views, alert, risks)
        set_content(self._evidence, evidence(alert) + beside(alert, context) + remarks(alert))

    # ── what the visitor says ───────────────────────────────────────────────────────────────────────────────────────

    async def _say(self, action: AlertAction, *, text: str | None = None, until_ns: int | None = None) -> None:
        if self._id is None:
            return
        try:
            await self._gateway.operator.alert(self._id, action, by="operator", text=text, until_ns=until_ns)
        except ApiError as error:
            ui.notify(error.detail, type="negative", timeout=8000)
            return
        ui.notify(f"{_DONE[action]}. It shows here as soon as alerting has taken it.", type="info")

    async def _say_remark(self) -> None:
        text = str(self._remark.value or "").strip()
        if text:
            self._remark.set_value("")
            await self._say("comment", text=text)

    async def _say_label(self) -> None:
        label = str(self._label.value or "").strip()
        if self._id is None or not label:
            return
        try:
            await self._gateway.operator.label(self._id, label, by="operator")
        except ApiError as error:
            ui.notify(error.detail, type="negative", timeout=8000)
            return
        self._label.set_value("")
        ui.notify(f"Labelled {label}. The next version learns from it.", type="info")

    async def _shelve(self, hours: int) -> None:
        alert = self._gateway.views.alerts.get(self._id or "")
        if alert is not None:
            newest_ns = max(self._gateway.views.twins.newest_ns or 0, alert.updated_ns)
            await self._say("shelve", until_ns=newest_ns + hours * 3600 * NS_PER_S)

"""One alert, open beside the list: its evidence, and what an operator can say of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from streams.gateway.commands import AlertAction
from streams.gateway.gateway import Gateway
from streams.gateway.page_html import Content, Html, chip, code, esc, facts, link, risk_bar, small, table, twin_href
from streams.gateway.page_shell import markup, set_content
from streams.gateway.page_words import SEVERITY, clock, condition, duration, number, unit
from streams.gateway.problem import ApiError
from streams.gateway.times import NS_PER_S
from streams.records import Alert

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
        self._dialog.on("hide", self._closed)

    def _button(self, text: str, act: Callable[[], Awaitable[None]], look: str = "") -> ui.button:
        return ui.button(text, on_click=act, color=None).props("flat no-caps").classes(f"lt-btn {look}")

    def open(self, alert_id: str) -> None:
        self._id = alert_id
        self.fill()
        self._dialog.open()

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
        set_content(self._evidence, _evidence(alert))

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

    async def _shelve(self, hours: int) -> None:
        alert = self._gateway.views.alerts.get(self._id or "")
        if alert is not None:
            newest_ns = max(self._gateway.views.twins.newest_ns or 0, alert.updated_ns)
            await self._say("shelve", until_ns=newest_ns + hours * 3600 * NS_PER_S)


def state_words(alert: Alert) -> str:
    """HTML: active or cleared, and what was said of it."""
    words: list[str] = [alert.state]
    if alert.acknowledged:
        words.append("acknowledged")
    if alert.false_alarm:
        words.append("false alarm")
    if alert.shelved_until_ns is not None:
        words.append(f"shelved until {clock(alert.shelved_until_ns, seconds=False)}")
    return esc(", ".join(words))


def _evidence(alert: Alert) -> str:
    evidence = alert.evidence
    channels = table(
        ("Channel", "Seen", "Expected", "Unit", "Share"),
        (
            (
                one.name,
                number(one.seen),
                number(one.expected) + (f" ± {number(one.spread, 2)}" if one.spread is not None else ""),
                unit(one.unit),
                f"{one.contribution:.0%}",
            )
            for one in evidence.channels
        ),
        right=(1, 2, 4),
    )
    still = f"still active, {duration(alert.updated_ns - alert.onset_ns)} long at its last change"
    rows: list[tuple[str, Content]] = [
        ("State", Html(state_words(alert))),
        ("Since", f"{clock(alert.onset_ns)} UTC"),
        ("Until", f"{clock(alert.cleared_ns)} UTC" if alert.cleared_ns is not None else still),
        ("Highest risk", Html(risk_bar(alert.risk))),
        ("Model version", Html(code(evidence.model_version)) if evidence.model_version else "none: a limit of the type"),
        ("Weights", Html(code((evidence.weights_sha256 or "–")[:16]))),
        ("From the log", f"partition {evidence.partition}, offsets {evidence.first_offset:,} to {evidence.last_offset:,}"),
        ("Alert id", Html(f"{code(alert.id)}, revision {alert.revision}")),
    ]
    if alert.acknowledged_by:
        rows.insert(1, ("Acknowledged by", alert.acknowledged_by))
    remarks = "".join(
        f"<div><b>{esc(one.by)}</b> {small(clock(one.time_ns), 'lt-muted')}<br>{esc(one.text)}</div>" for one in alert.comments
    )
    said = f"<div class='lt-stack' style='gap:6px'><h3>Remarks</h3>{remarks}</div>" if remarks else ""
    return f"<div><h3>Evidence, strongest channel first</h3>{channels}</div>{facts(rows)}{said}"

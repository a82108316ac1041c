"""Alerts: what is wrong, since when; one of them open beside the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import Request
from nicegui import events, ui

from streams.gateway.gateway import Gateway
from streams.gateway.page_alert_detail import AlertDetail
from streams.gateway.page_alert_parts import state_words
from streams.gateway.page_html import alert_href, chip, empty, risk_bar
from streams.gateway.page_shell import explain, markup, set_content, shell
from streams.gateway.page_words import SEVERITY, clock, headline
from streams.records import Alert, Severity

_RANK: Final[dict[Severity, int]] = {"critical": 5, "major": 4, "minor": 3, "warning": 2, "indeterminate": 1}
_COLUMNS: Final[list[dict[str, Any]]] = [
    {"name": "severity", "label": "Severity", "field": "severity", "align": "left", "sortable": True},
    {"name": "asset", "label": "Asset", "field": "asset", "align": "left", "sortable": True},
    {"name": "what", "label": "What", "field": "what", "align": "left"},
    {"name": "onset", "label": "Since (UTC)", "field": "onset", "align": "left", "sortable": True},
    {"name": "state", "label": "State", "field": "state", "align": "left", "sortable": True},
    {"name": "risk", "label": "Highest risk", "field": "risk", "align": "left", "sortable": True},
]
_OPEN_LINK: Final = (
    '<q-td :props="props"><a :href="props.row.href" @click.prevent.stop="$parent.$emit(\'open\', props.row.id)">'
    "{{ props.row.asset }}</a></q-td>"
)


def build(gateway: Gateway, request: Request, alert_id: str) -> None:
    with shell(gateway, request, active="alerts", title="Alerts", subtitle="Twins that stayed strange, with the evidence"):
        explain(
            "How alerts work, and what the buttons do",
            "A twin whose risk stays high for several steps raises <b>one</b> alert. It names the strongest channels with "
            "what was "
            "<b>seen</b> and what was <b>expected</b>, the model version that said so, and the offsets in Kafka from which "
            "that can be "
            "computed again. Open an alert to see all of it, and which neighbours move too, what happened close in time, and how "
            "earlier alerts that looked like it ended.",
            "<b>Acknowledge</b>: someone is looking at it. <b>Shelve</b>: quiet until later. <b>False alarm</b>: nothing was "
            "wrong; the "
            "period counts as normal when the model learns next. An alert clears by itself when the twin has been normal for "
            "a while.",
        )
        AlertsPage(gateway).build(alert_id)


class AlertsPage:
    """State of one visitor's list: filter, sort, page."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._state: str | None = "active"
        self._severity: str | None = None
        self._text = ""
        self._seen: tuple[Any, ...] | None = None
        self._detail = AlertDetail(gateway)

    def build(self, alert_id: str) -> None:
        with ui.element("section").classes("lt-panel"):
            self._build_filters()
            self._empty = markup("")
            paging = {"rowsPerPage": 25, "page": 1, "sortBy": "onset", "descending": True, "rowsNumber": 0}
            self._table = ui.table(rows=[], columns=_COLUMNS, row_key="id", pagination=paging).classes("lt-qtable lt-clickable")
            self._table.props('flat :rows-per-page-options="[25,50,100]" binary-state-sort')
            self._table.add_slot("body-cell-asset", _OPEN_LINK)
            for name in ("severity", "state", "risk"):
                self._table.add_slot(f"body-cell-{name}", f'<q-td :props="props"><span v-html="props.row.{name}"></span></q-td>')
            self._table.on("request", self._request)
            self._table.on("open", lambda event: self._detail.open(str(event.args)))
            self._table.on("rowClick", lambda event: self._detail.open(str(event.args[1]["id"])))
        self._detail.build()
        self._tick()
        if alert_id:
            self._detail.open(alert_id)
        ui.timer(1.0, self._tick)

    def _build_filters(self) -> None:
        with ui.element("div").classes("lt-bar"):
            states = ui.toggle({"active": "Active", "cleared": "Cleared", "all": "All"}, value="active").classes("lt-seg")
            states.props('unelevated no-caps toggle-color="lt-chosen" toggle-text-color="lt-chosen-ink" aria-label="State"')
            states.on_value_change(lambda event: self._filter(state=None if event.value == "all" else event.value))
            ui.space()
            find = ui.input(placeholder="Find by asset").classes("lt-field")
            find.props('outlined dense clearable debounce=250 aria-label="Find alerts of an asset"')
            find.on_value_change(lambda event: self._filter(text=(event.value or "").strip().lower()))
            severities = {"": "All severities"} | {name: tone.word for name, tone in SEVERITY.items()}
            chosen = ui.select(severities, value="", on_change=lambda event: self._filter(severity=event.value or None))
            chosen.props('outlined dense options-dense aria-label="Filter by severity"').classes("lt-field")

    def _filter(self, **changed: str | None) -> None:
        for name, value in changed.items():
            setattr(self, f"_{name}", value)
        self._table.pagination["page"] = 1
        self._fill()

    def _request(self, event: events.GenericEventArguments) -> None:
        asked = event.args["pagination"]
        self._table.pagination.update(
            {key: asked[key] for key in ("page", "rowsPerPage", "sortBy", "descending") if key in asked}
        )
        self._fill()

    def _tick(self) -> None:
        views = self._gateway.views
        seen = (views.alerts.revision, views.definitions.revision, len(views.twins) == 0)
        if seen != self._seen:
            self._seen = seen
            self._fill()
            self._detail.fill()

    def _fill(self) -> None:
        views = self._gateway.views
        found = [alert for alert in views.alerts.newest_first() if self._fits(alert)]
        page = self._table.pagination
        order: dict[str, Callable[[Alert], Any]] = {
            "severity": lambda one: (_RANK[one.severity], one.onset_ns),
            "asset": lambda one: views.display_name(one.asset).lower(),
            "state": lambda one: (one.state, one.acknowledged),
            "risk": lambda one: one.risk,
        }
        found.sort(key=order.get(page["sortBy"] or "", lambda one: one.onset_ns), reverse=bool(page["descending"]))
        size = page["rowsPerPage"] or 25
        start = (page["page"] - 1) * size
        page["rowsNumber"] = len(found)
        self._table.rows = [self._row(alert) for alert in found[start : start + size]]
        self._table.set_visibility(bool(found))
        self._table.update()
        set_content(self._empty, "" if found else self._nothing())

    def _fits(self, alert: Alert) -> bool:
        name = self._gateway.views.display_name(alert.asset)
        return (
            (self._state is None or alert.state == self._state)
            and (self._severity is None or alert.severity == self._severity)
            and (not self._text or self._text in alert.asset.lower() or self._text in name.lower())
        )

    def _nothing(self) -> str:
        if self._text or self._severity or self._state == "cleared":
            return empty("", "No alert fits this filter.")
        twins = len(self._gateway.views.twins)
        if not twins:
            return empty(
                "Nothing to watch yet", 'No twin has sent readings. The <a href="/">fleet page</a> says how to feed them.'
            )
        if all(state.health == "learning" for state in self._gateway.views.twins.after()):
            words = f"All {twins:,} twins are learning what is normal. Alerts begin once their first model serves."
            return empty("Still learning", words)
        words = f'None of {twins:,} twins has an active alert. On the <a href="/demo">demo page</a> you can break something.'
        return empty("All quiet", words)

    def _row(self, alert: Alert) -> dict[str, Any]:
        return {
            "id": alert.id,
            "href": alert_href(alert.id),
            "severity": chip(SEVERITY[alert.severity]),
            "asset": self._gateway.views.display_name(alert.asset),
            "what": headline(alert),
            "onset": clock(alert.onset_ns, seconds=False),
            "state": state_words(alert),
            "risk": risk_bar(alert.risk),
        }

"""The table of all twins: filtered, sorted and paged here, so that ten thousand twins cost a page of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nicegui import events, ui

from streams.gateway.gateway import Gateway
from streams.gateway.page_html import chip, risk_bar, twin_href
from streams.gateway.page_shell import markup
from streams.gateway.page_words import HEALTH, HEALTH_MEANING, WAITING, clock, health_of, quality_words
from streams.records import TwinState
from streams.wording import number, unit

_COLUMNS: Final[list[dict[str, Any]]] = [
    {"name": "name", "label": "Twin", "field": "name", "align": "left", "sortable": True},
    {"name": "type", "label": "Type", "field": "type", "align": "left", "sortable": True},
    {"name": "health", "label": "Health", "field": "health", "align": "left", "sortable": True},
    {"name": "risk", "label": "Risk", "field": "risk", "align": "left", "sortable": True},
    {"name": "values", "label": "Values now", "field": "values", "align": "left"},
    {"name": "time", "label": "Event time (UTC)", "field": "time", "align": "left", "sortable": True},
]
_CELLS: Final = {
    "name": '<a :href="props.row.href">{{ props.row.name }}</a>',
    "health": '<span v-html="props.row.health"></span>',
    "risk": '<span v-html="props.row.risk"></span>',
}
_RANK: Final = {"alarm": 5, "warning": 4, "silent": 3, "learning": 2, "ok": 1, WAITING: 0}
_VALUES: Final = 3  # of a twin in its row

Entry = tuple[str, TwinState | None]


class TwinsTable:
    """Filter, sort and page of one visitor."""

    def __init__(self, gateway: Gateway, *, health: str | None, text: str, on_change: Callable[[], None]) -> None:
        self._gateway = gateway
        self._on_change = on_change
        self.health = health
        self.text = text  # that is searched, in small letters
        self._states: dict[str, TwinState | None] = {}

    def build(self) -> None:
        with ui.element("section").classes("lt-panel") as self._panel:
            with ui.element("div").classes("lt-bar"):
                markup("Twins", tag="h2")
                ui.space()
                find = ui.input(placeholder="Find by name", value=self.text).classes("lt-field")
                find.props('outlined dense clearable debounce=250 aria-label="Find a twin by name"')
                find.on_value_change(lambda event: self._find((event.value or "").strip().lower()))
            paging = {"rowsPerPage": 25, "page": 1, "sortBy": "risk", "descending": True, "rowsNumber": 0}
            self._table = ui.table(rows=[], columns=_COLUMNS, row_key="id", pagination=paging).classes("lt-qtable lt-fleet")
            self._table.props('flat :rows-per-page-options="[25,50,100]" binary-state-sort')
            for name, cell in _CELLS.items():
                self._table.add_slot(f"body-cell-{name}", f'<q-td :props="props">{cell}</q-td>')
            self._table.on("request", self._request)

    def show_health(self, health: str | None) -> None:
        self.health = health
        self._show()

    def fill(self, states: dict[str, TwinState | None]) -> None:
        """Show a page of these twins; the browser hears of it only when a row of it changed."""
        self._states = states
        self._panel.set_visibility(bool(states))
        found = [one for one in states.items() if self._fits(*one)]
        page = self._table.pagination
        order = self._order(page["sortBy"])
        found.sort(key=order, reverse=bool(page["descending"]))
        size = page["rowsPerPage"] or 25
        start = (page["page"] - 1) * size
        rows = [self._row(asset, state) for asset, state in found[start : start + size]]
        if rows != self._table.rows or page.get("rowsNumber") != len(found):
            page["rowsNumber"] = len(found)
            self._table.rows = rows
            self._table.update()

    # ── what the visitor does ───────────────────────────────────────────────────────────────────────────────────────

    def _find(self, text: str) -> None:
        self.text = text
        self._show()

    def _show(self) -> None:
        self._table.pagination["page"] = 1
        self.fill(self._states)
        self._on_change()

    def _request(self, event: events.GenericEventArguments) -> None:
        asked = event.args["pagination"]
        self._table.pagination.update(
            {key: asked[key] for key in ("page", "rowsPerPage", "sortBy", "descending") if key in asked}
        )
        self.fill(self._states)

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fits(self, asset: str, state: TwinState | None) -> bool:
        name = self._gateway.views.display_name(asset)
        return (self.health is None or health_of(state) == self.health) and (
            not self.text or self.text in asset.lower() or self.text in name.lower()
        )

    def _order(self, column: str | None) -> Callable[[Entry], Any]:
        views = self._gateway.views
        orders: dict[str, Callable[[Entry], Any]] = {
            "name": lambda one: views.display_name(one[0]).lower(),
            "type": lambda one: (views.type_name(self._type_of(*one)), one[0]),
            "health": lambda one: (_RANK[health_of(one[1])], one[0]),
            "time": lambda one: one[1].time_ns if one[1] is not None else 0,
        }
        return orders.get(column or "", lambda one: (one[1].risk if one[1] is not None else -1.0, _RANK[health_of(one[1])]))

    def _type_of(self, asset: str, state: TwinState | None) -> str:
        if state is not None:
            return state.type
        declared = self._gateway.views.definitions.fleet.get(asset)
        return declared.type if declared is not None else ""

    def _row(self, asset: str, state: TwinState | None) -> dict[str, Any]:
        views = self._gateway.views
        health = health_of(state)
        dtmi = self._type_of(asset, state)
        units = views.units(dtmi)
        values = list(state.values.items())[:_VALUES] if state is not None else []
        poor = quality_words(state.quality) if state is not None else ""
        return {
            "id": asset,
            "name": views.display_name(asset),
            "href": twin_href(asset),
            "type": views.type_name(dtmi),
            "health": chip(HEALTH[health], title=HEALTH_MEANING[health]),
            "risk": "–" if state is None else risk_bar(state.risk),
            "values": " · ".join(f"{name} {number(value)} {unit(units.get(name))}".strip() for name, value in values)
            + (f" ({poor})" if poor else ""),
            "time": clock(state.time_ns) if state is not None else "–",
        }

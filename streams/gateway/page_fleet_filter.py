"""The fleet page's question to the graph: by type, relationship, static data, and around a chosen twin.

In:   a `FleetQuery` from the address, the visitor's choices.
Out:  which twins fit, in words how many or why none; the page hears of each change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from nicegui import ui

from streams.gateway.fleet_question import address_of, parameters_of
from streams.gateway.gateway import Gateway
from streams.gateway.page_html import Html, empty, esc, link, note, small
from streams.gateway.page_shell import markup, set_content
from twin import fleet_query
from twin.fleet_query import FleetQuery
from twin.fleet_reasons import why_nothing

_NEARNESS: Final = {"": "Any distance", "0": "Itself alone", "1": "1 step away", "2": "2 steps", "3": "3 steps", "5": "5 steps"}
_WAYS: Final = {"both": "Either way", "out": "Along the arrows", "in": "Against the arrows"}
_OFFERED: Final = 30  # twins, while a name is typed
_SIGN: Final = re.compile(r"^(>=|<=|>|<)")
_FIELD: Final = "outlined dense options-dense"


class FleetFilter:
    """One visitor's question. `fitting` is None while nothing is asked."""

    def __init__(self, gateway: Gateway, query: FleetQuery, told: list[str], on_change: Callable[[], None]) -> None:
        self._gateway = gateway
        self._on_change = on_change
        self._told = told
        self._found: dict[str, int] | None = None
        self._found_of: tuple[int, FleetQuery] | None = None
        self._offered: int | None = None  # revision of the definitions
        self.query = query

    @property
    def asked(self) -> bool:
        return bool(parameters_of(self.query))

    def build(self) -> None:
        with ui.element("section").classes("lt-panel").props('aria-label="Filter of the fleet"') as self.panel:
            with ui.element("div").classes("lt-bar"):
                markup("Show", tag="h2")
                self._type = self._select("Filter by type", self.query.type, lambda value: self._ask(type=value))
                self._relationship = self._select(
                    "Filter by relationship", self.query.relationship, lambda value: self._ask(relationship=value)
                )
                self._build_near()
                self._build_property()
            with ui.element("div").classes("lt-bar") as self._bar:
                self._clauses = ui.element("div").classes("lt-row")
                ui.button("Show all", on_click=self._clear, color=None).classes("lt-btn small").props("flat no-caps")
                self._count = markup("").props('role="status"')
            self._answer = markup("", classes="lt-body")
        self._show()

    def fitting(self) -> dict[str, int] | None:
        """Twins that fit with their distance; asked anew when the fleet or the question changed."""
        if not self.asked:
            return None
        views = self._gateway.views
        of = (views.definitions.revision, self.query)
        if self._found is None or self._found_of != of:
            self._found = fleet_query.ask(views.definitions.fleet, views.definitions.types, self.query)
            self._found_of = of
        return self._found

    def fill(self, shown: int) -> None:
        """Say how many fit, or why none does."""
        views = self._gateway.views
        fleet, types = views.definitions.fleet, views.definitions.types
        self._offer()
        told = "".join(note("watch", esc(line)) for line in self._told)
        if self.asked:
            json = link(address_of("/v1/fleet", parameters_of(self.query)), "as JSON")
            set_content(self._count, small(Html(f"{shown:,} of {len(fleet):,} declared twins fit, {json}")))
            if not shown:
                told += empty("No twin fits", *(esc(line) for line in why_nothing(fleet, types, self.query)))
        set_content(self._answer, told)
        self._answer.set_visibility(bool(told))

    # ── what can be chosen ──────────────────────────────────────────────────────────────────────────────────────────

    def _select(self, label: str, value: str | None, chosen: Callable[[str | None], None]) -> ui.select:
        options = {"": "", value or "": value or ""}
        made = ui.select(options, value=value or "", on_change=lambda event: chosen(event.value or None))
        made.props(f'{_FIELD} aria-label="{label}"').classes("lt-field")
        return made

    def _build_near(self) -> None:
        near = ui.input(placeholder="Around twin …", value=self.query.start or "").classes("lt-field")
        near.props('outlined dense clearable debounce=400 list="lt-near" aria-label="Around this twin, by id or name"')
        near.on_value_change(lambda event: self._near((event.value or "").strip()))
        self._near_input, self._near_names = near, markup("", tag="datalist").props('id="lt-near"')
        depth = "" if self.query.depth is None else str(self.query.depth)
        self._depth = ui.select(
            _NEARNESS | ({} if depth in _NEARNESS else {depth: f"{depth} steps"}),
            value=depth,
            on_change=lambda event: self._ask(depth=int(event.value) if event.value else None),
        )
        self._depth.props(f'{_FIELD} aria-label="How far from it"').classes("lt-field")
        self._way = ui.select(_WAYS, value=self.query.direction, on_change=lambda event: self._ask(direction=event.value))
        self._way.props(f'{_FIELD} aria-label="Which way relationships are followed"').classes("lt-field")

    def _build_property(self) -> None:
        self._property = self._select("Static data to filter by", None, lambda value: self._show())
        self._wanted = ui.input(placeholder="value, or >40").classes("lt-field")
        self._wanted.props('outlined dense aria-label="Wanted: a value, or a comparison such as >40"')
        self._wanted.on("keydown.enter", self._add_property)
        self._add = ui.button("Add", on_click=self._add_property, color=None).classes("lt-btn").props("flat no-caps")

    def _offer(self) -> None:
        """What the fleet has, as choices. A choice from the address stays, known or not."""
        views = self._gateway.views
        if self._offered != views.definitions.revision:
            self._offered = views.definitions.revision
            twins = views.definitions.fleet.twins()
            types = {kind.slug: kind.display_name for _, kind in sorted(views.definitions.types.items())}
            if self.query.type in views.definitions.types:
                types.pop(views.definitions.types[self.query.type].slug)
                types[self.query.type] = views.type_name(self.query.type)
            edges = sorted({edge.name for one in twins for edge in one.relationships})
            held = sorted({name for one in twins for name in views.definitions.fleet.properties(one.asset)})
            _set_options(self._type, "All types", types, self.query.type)
            _set_options(self._relationship, "Any relationship", dict(zip(edges, edges, strict=True)), self.query.relationship)
            _set_options(self._property, "Static data …", dict(zip(held, held, strict=True)), self._property.value or None)

    # ── what the visitor does ───────────────────────────────────────────────────────────────────────────────────────

    def _near(self, text: str) -> None:
        """An id, or the name of a twin; while it is typed, offer those that begin or go on like it."""
        fleet = self._gateway.views.definitions.fleet
        named = [one for one in fleet.twins() if text.lower() in one.asset.lower() or text.lower() in (one.name or "").lower()]
        offers = (f'<option value="{esc(one.asset)}">{esc(one.name or "")}</option>' for one in named[:_OFFERED])
        set_content(self._near_names, "".join(offers) if text else "")
        exact = [one.asset for one in named if (one.name or "").lower() == text.lower()]
        start = text if text in fleet or len(exact) != 1 else exact[0]
        self._ask(start=start or None)

    def _add_property(self) -> None:
        name, wanted = self._property.value, (self._wanted.value or "").strip()
        if name and wanted:
            self._property.value, self._wanted.value = "", ""
            self._ask(properties={**self.query.properties, name: wanted})

    def _drop_property(self, name: str) -> None:
        self._ask(properties={one: wanted for one, wanted in self.query.properties.items() if one != name})

    def _clear(self) -> None:
        self.query = FleetQuery()
        self._type.value = self._relationship.value = self._depth.value = self._near_input.value = ""
        self._way.value = "both"
        self._ask()

    def _ask(self, **changed: Any) -> None:
        self.query = replace(self.query, **changed)
        self._told = []
        self._show()
        self._on_change()

    def _show(self) -> None:
        """Only what makes sense now: the distance needs a twin, a value a name."""
        for of_start in (self._depth, self._way):
            of_start.set_visibility(self.query.start is not None)
        self._wanted.set_visibility(bool(self._property.value))
        self._add.set_visibility(bool(self._property.value))
        self._clauses.clear()
        self._clauses.set_visibility(bool(self.query.properties))
        self._bar.set_visibility(self.asked)
        with self._clauses:
            for name, wanted in self.query.properties.items():
                said = f"{name} {wanted if _SIGN.match(wanted) else f'= {wanted}'}"
                button = ui.button(f"{said}  ✕", on_click=lambda _, name=name: self._drop_property(name), color=None)
                button.classes("lt-btn small").props("flat no-caps")
                button.props["aria-label"] = f"Remove {said}"  # as it is: in a string of props a quote would end it


def _set_options(select: ui.select, nothing: str, known: dict[str, str], chosen: str | None) -> None:
    options = {"": nothing} | known
    if chosen is not None and chosen not in options:
        options[chosen] = chosen
    if options != select.options:
        select.set_options(options, value=chosen or "")

"""The fleet: how many twins are how healthy, the map, what needs attention, the table of all twins."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import events, ui

from streams.gateway import chart_fleet
from streams.gateway.fleet_question import address_of, parameters_of, read_question
from streams.gateway.gateway import Gateway
from streams.gateway.page_fleet_filter import FleetFilter
from streams.gateway.page_fleet_table import TwinsTable
from streams.gateway.page_html import Html, alert_href, chip, code, empty, entry, esc, glyph, risk_bar, row, small, twin_href
from streams.gateway.page_shell import Look, explain, markup, panel, set_content, shell
from streams.gateway.page_words import HEALTH, HEALTH_MEANING, SEVERITY, WAITING, clock, headline, health_of
from streams.records import TwinState
from twin.fleet_query import FleetQuery

_ATTENTION: Final = 6  # entries
_A_LITTLE_UNUSUAL: Final = 0.15  # risk
_CHOOSE_AGAIN_S: Final = 15.0  # which of a fleet larger than the map are drawn
_SHAPES: Final = {"circle": "●", "roundRect": "■", "triangle": "▲", "diamond": "◆", chart_fleet.DOWN: "▼", "arrow": "➤"}
_RAMP: Final = (
    ("learning", "learning"),
    ("calm", "risk below 0.3"),
    ("watch", "0.3–0.5"),
    ("high", "0.5–0.8"),
    ("critical", "0.8 and more, or alarm"),
)

States = dict[str, TwinState | None]


def build(gateway: Gateway, request: Request) -> None:
    subtitle = "Every asset's live twin, and how far it is from normal"
    with shell(gateway, request, active="fleet", title="Fleet", subtitle=subtitle) as look:
        explain(
            "New here? What a digital twin is, and what this page shows",
            "A <b>digital twin</b> is a live copy of one real thing (a tank, a pump, a server), fed by its telemetry. "
            "livetwin keeps "
            "one for every asset that sends readings: its last values, their quality, and a <b>model</b> that has learnt how "
            "this "
            "asset normally behaves.",
            "At every step the model says what it <i>expected</i>. How far the readings are from that becomes the "
            "<b>risk</b>, from "
            "0 to 1. A twin that stays strange for several steps raises an <b>alert</b> that names what was seen and what "
            "was expected.",
            "<b>Learning</b> means the model has not seen enough yet to judge. It keeps learning afterwards too: updates "
            "that prove "
            "themselves are swapped in while it runs.",
        )
        FleetPage(gateway, look, request.query_params).build(str(request.base_url).rstrip("/"))


class FleetPage:
    """State of one visitor's view."""

    def __init__(self, gateway: Gateway, look: Look, parameters: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._look = look
        self._filter = FleetFilter(gateway, *read_question(parameters), on_change=self._asked)
        health, text = parameters.get("health"), parameters.get("find", "").strip().lower()
        self._table = TwinsTable(gateway, health=health if health in HEALTH else None, text=text, on_change=self._keep_address)
        self._seen: tuple[Any, ...] | None = None
        self._drawn: chart_fleet.FleetMap | None = None
        self._drawn_of: tuple[int, int, FleetQuery] | None = None
        self._drawn_at = 0.0

    def build(self, address: str) -> None:
        with ui.element("div").classes("lt-stack"):
            with ui.element("div").classes("lt-tiles").props('role="group" aria-label="Filter the table by health"'):
                self._tiles = {health: self._tile(health) for health in ("alarm", "warning", "ok", "learning", "silent", WAITING)}
            self._filter.build()
            self._empty = markup(_how_to_feed(address, self._gateway), classes="lt-panel")
            with ui.element("div").classes("lt-two") as self._two:
                self._build_map()
                with ui.element("section").classes("lt-panel"):
                    with ui.element("header"):
                        markup("Needs attention", tag="h2")
                        markup('<a class="lt-small" href="/alerts">all alerts</a>', tag="span")
                    self._attention = markup("", classes="lt-list")
            self._table.build()
        self._look.on_change(self._redraw)
        ui.timer(1.0, self._tick)
        self._tick()

    def _build_map(self) -> None:
        with panel("Map") as controls:
            with controls:
                self._map_note = markup("", tag="span", classes="lt-small lt-muted")
            self._chart = ui.echart({"series": []}, on_point_click=self._open).classes("lt-map")
            self._chart.props('role="img" aria-label="Map of the fleet; the table below lists the same twins"')
            with ui.element("div").classes("lt-body").style("padding-top:0"):
                self._legend = markup("")

    def _tile(self, health: str) -> tuple[ui.element, ui.html]:
        with ui.element("button").classes(f"lt-tile lt-tone {HEALTH[health].css}").props('type="button"') as button:
            content = markup("")
            ui.tooltip(HEALTH_MEANING[health])
        button.on("click", lambda: self._filter_health(health))
        return button, content

    def _filter_health(self, health: str) -> None:
        self._table.show_health(None if self._table.health == health else health)
        self._fill_tiles(self._states())

    def _open(self, event: events.EChartPointClickEventArguments) -> None:
        if event.data_type == "node" and event.name:
            ui.navigate.to(twin_href(event.name))

    def _asked(self) -> None:
        self._keep_address()
        self._seen = None
        self._tick()

    def _keep_address(self) -> None:
        """The address names what is shown, so that it can be kept and handed on."""
        kept = parameters_of(self._filter.query)
        kept |= {"health": self._table.health} if self._table.health is not None else {}
        kept |= {"find": self._table.text} if self._table.text else {}
        ui.navigate.history.replace(address_of("/", kept))

    # ── what the stream does ────────────────────────────────────────────────────────────────────────────────────────

    def _states(self) -> States:
        """Every twin that is declared or has a state; those that fit, where the visitor asks for some."""
        views = self._gateway.views
        fitting = self._filter.fitting()
        if fitting is not None:
            return {asset: views.twins.get(asset) for asset in fitting}
        states: States = dict.fromkeys(one.asset for one in views.definitions.fleet.twins())
        states.update((state.asset, state) for state in views.twins.after())
        return states

    def _tick(self) -> None:
        views = self._gateway.views
        seen = (views.twins.revision, views.alerts.revision, views.definitions.revision)
        if seen == self._seen:
            return
        self._seen = seen
        states = self._states()
        anything = bool(states) or self._filter.asked
        self._empty.set_visibility(not anything)
        self._filter.panel.set_visibility(anything)
        self._filter.fill(len(states))
        self._two.set_visibility(bool(states))
        self._fill_tiles(states)
        self._fill_map(states)
        self._fill_attention(states)
        self._table.fill(states)

    def _redraw(self) -> None:
        self._drawn = None
        self._seen = None
        self._tick()

    def _fill_tiles(self, states: States) -> None:
        count = Counter(health_of(state) for state in states.values())
        for health, (button, content) in self._tiles.items():
            tone = HEALTH[health]
            set_content(content, f'<div class="lt-k">{glyph(tone)}{tone.word}</div><div class="lt-v">{count[health]:,}</div>')
            button.set_visibility(health != WAITING or count[health] > 0)
            button.props(f'aria-pressed="{"true" if self._table.health == health else "false"}"')

    def _fill_map(self, states: States) -> None:
        views = self._gateway.views
        query = self._filter.query
        now_of = (views.definitions.revision, len(states), query)
        too_many = len(states) > chart_fleet.MOST_NODES and time.monotonic() - self._drawn_at > _CHOOSE_AGAIN_S
        if self._drawn is None or now_of != self._drawn_of or too_many:
            declared = (one for one in views.definitions.fleet.twins() if one.asset in states)
            drawn = chart_fleet.choose(declared, states, query.relationship)
            changed = self._drawn != drawn
            self._drawn, self._drawn_of, self._drawn_at = drawn, now_of, time.monotonic()
            if changed:
                self._chart.options.clear()
                self._chart.options.update(chart_fleet.option(drawn, states, self._look.dark))
                self._chart.update()
                self._describe_map(drawn)
                return
        points = chart_fleet.node_points(self._drawn, states, self._look.dark)
        series = self._chart.options["series"][0]
        if points != series["data"]:
            series["data"] = points
            self._chart.update()

    def _describe_map(self, drawn: chart_fleet.FleetMap) -> None:
        views = self._gateway.views
        kinds = ""
        for place, dtmi in enumerate(drawn.types[: len(chart_fleet.SYMBOLS)]):
            shape = _SHAPES[chart_fleet.SYMBOLS[place]]
            kinds += f'<span><span class="lt-g lt-muted" aria-hidden="true">{shape}</span>{esc(views.type_name(dtmi))}</span>'
        ramp = ""
        for css, word in _RAMP:
            ramp += f'<span class="lt-tone {css}"><span class="lt-g" aria-hidden="true">⬤</span>{word}</span>'
        legend = f'<div class="lt-legend">{kinds}</div><div class="lt-legend" style="margin-top:6px">{ramp}</div>'
        set_content(self._legend, legend)
        edges = (
            f"{len(drawn.edges):,} {'relationship' if len(drawn.edges) == 1 else 'relationships'}"
            if drawn.edges
            else "no relationships among them"
        )
        shown = "1 twin" if len(drawn.nodes) == 1 else f"{len(drawn.nodes):,} twins"
        if drawn.left_out:
            shown = f"the {len(drawn.nodes):,} riskiest of {len(drawn.nodes) + drawn.left_out:,} twins"
        set_content(self._map_note, f"{shown}, {edges}")

    def _fill_attention(self, states: States) -> None:
        views = self._gateway.views
        gravest = list(SEVERITY).index
        among = (alert for alert in views.alerts.active() if alert.asset in states or not self._filter.asked)
        active = sorted(among, key=lambda alert: (alert.acknowledged, gravest(alert.severity)))
        entries = []
        for alert in active[:_ATTENTION]:
            since = f"since {clock(alert.onset_ns, seconds=False)}" + (" · acknowledged" if alert.acknowledged else "")
            title = row(chip(SEVERITY[alert.severity]), f"<b>{esc(views.display_name(alert.asset))}</b>")
            entries.append(entry(alert_href(alert.id), title, small(headline(alert)), small(since, "lt-muted")))
        known = {alert.asset for alert in active}
        unusual = (
            state
            for state in states.values()
            if state is not None and state.asset not in known and state.risk >= _A_LITTLE_UNUSUAL
        )
        for state in heapq.nlargest(max(0, _ATTENTION - len(entries)), unusual, key=lambda one: one.risk):
            title = row(f"<b>{esc(views.display_name(state.asset))}</b>", risk_bar(state.risk))
            entries.append(
                entry(
                    twin_href(state.asset),
                    title,
                    small("no alert yet" if state.risk >= 0.5 else "no alert; a little unusual", "lt-muted"),
                )
            )
        if not entries:
            learning = sum(state is not None and state.health == "learning" for state in states.values())
            words = (
                "Every twin shown behaves as its model expects."
                if self._filter.asked
                else "Every twin behaves as its model expects."
            )
            if learning:
                who = "1 twin is" if learning == 1 else f"{learning:,} twins are"
                words = f"{who} still learning what is normal; nothing is raised until a first model serves."
            entries.append(f"<div>{small(words)}</div>")
        set_content(self._attention, "".join(entries))


def _how_to_feed(address: str, gateway: Gateway) -> str:
    reading = '{"asset": "pump-1", "time": "2026-01-01T00:00:00Z", "flow": 1.2}'
    commands = (
        f"curl -H \"Content-Type: application/json\" \\\n  -d '{reading}' \\\n  {address}/v1/telemetry\n\n"
        "livetwin feed readings.csv\nlivetwin feed host        # this machine's own telemetry\nlivetwin feed water       # "
        "the demo plant"
    )
    text = empty(
        "Waiting for the first readings",
        "No asset has sent anything yet. A twin appears by itself a few steps after its first reading. Feed it from any "
        "Kafka client, "
        "over HTTP, from a file, or start the demo plant:",
    )
    where = f"Kafka at {esc(gateway.bootstrap)}, topic {code(gateway.topics.telemetry)}, JSON keyed by asset."
    more = f'<pre class="lt-code">{esc(commands)}</pre><p>{small(Html(where), "lt-muted")}</p></div>'
    return text.removesuffix("</div>") + more

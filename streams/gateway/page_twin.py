"""One twin: values now, trends with what the model expected, risk, alerts and swaps on the time axis, neighbours."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from streams.gateway import chart_twin
from streams.gateway.gateway import Gateway
from streams.gateway.page_html import code, empty, esc, note
from streams.gateway.page_shell import Look, explain, markup, panel, set_content, shell
from streams.gateway.page_twin_parts import LEGEND, about, last_spreads, marked, summary, twin_alerts, values_now
from streams.gateway.past_units import in_present_units
from streams.gateway.times import NS_PER_S
from streams.stores.port import StoreError, TwinHistory

_HOUR: Final = 3600 * NS_PER_S
_PERIODS: Final = {
    "Hour": _HOUR,
    "6 hours": 6 * _HOUR,
    "Day": 24 * _HOUR,
    "3 days": 72 * _HOUR,
    "Week": 168 * _HOUR,
    "Month": 744 * _HOUR,
}
_POINTS: Final = 360
_READ_EVERY_S: Final = 2.0  # the historian writes about twice a second; the values above the chart are live at once


def build(gateway: Gateway, request: Request, asset: str) -> None:
    views = gateway.views
    name = views.display_name(asset) or "Twin"
    subtitle = "Live twin: what it shows, what its model expected, how strange that is"
    with shell(gateway, request, active="fleet", title=name, subtitle=subtitle) as look:
        if asset not in views.definitions.fleet and views.twins.get(asset) is None:
            which = f"No asset with the id {code(asset)} is known." if asset else "Choose a twin on the fleet page."
            text = empty(
                "No such twin", f"{which} A twin appears a few steps after its first reading.", '<a href="/">To the fleet</a>'
            )
            markup(text, classes="lt-panel")
            return
        explain(
            "How to read this page",
            "The <b>blue line</b> is what the sensor said. The dashed <b>green line</b> is what the model expected one step "
            "ahead; the "
            "<b>green band</b> around it is three times its usual error: readings leave it rarely while all is normal.",
            "<b>Risk</b> below turns how strange the latest steps are into a number from 0 to 1; the dotted line at 0.5 is "
            "where an "
            "alert is near. A <b>red area</b> is an alert, a <b>violet line</b> the moment another model version took over, a "
            "<b>mark</b> on the line a reading of poor quality (its shape says why), which no model learns from.",
        )
        TwinPage(gateway, look, asset).build()


class TwinPage:
    """State of one visitor's view of one twin."""

    def __init__(self, gateway: Gateway, look: Look, asset: str) -> None:
        self._gateway = gateway
        self._look = look
        self._asset = asset
        self._period_ns = 24 * _HOUR
        self._channels: list[str] | None = None
        self._history: TwinHistory | None = None
        self._range = (0, 1)
        self._read: tuple[Any, ...] | None = None
        self._seen: tuple[Any, ...] | None = None
        self._reading = asyncio.Lock()

    def build(self) -> None:
        kind = self._gateway.views.definitions.type_of(self._asset)
        names = list(kind.channel_names) if kind is not None else []
        if kind is not None and kind.period_ns < 60 * NS_PER_S:
            self._period_ns = _HOUR
        with ui.element("div").classes("lt-stack"):
            self._summary = markup("", classes="lt-row")
            self._values = markup("", classes="lt-channels")
            with panel("Trends") as controls:
                with controls:
                    self._build_controls(names)
                self._notice = markup("")
                height = chart_twin.height(max(1, min(len(names), chart_twin.MOST_CHANNELS)))
                self._chart = ui.echart({"series": []}).style(f"height:{height}px;width:100%").props('role="img"')
                markup(LEGEND, classes="lt-body")
            with panel("Readings of poor quality in this period", note="shown, but no model learns from them or judges them"):
                self._marked = markup("")
            with ui.element("div").classes("lt-two"):
                with panel("Alerts of this twin"):
                    self._alerts = markup("", classes="lt-list")
                with panel("About"), ui.element("div").classes("lt-body"):
                    self._about = markup("")
        self._look.on_change(self._draw)
        self._tick_live()
        ui.timer(1.0, self._tick_live)
        ui.timer(0.05, self._tick_history, once=True)
        ui.timer(_READ_EVERY_S, self._tick_history)

    def _build_controls(self, names: list[str]) -> None:
        if len(names) > chart_twin.MOST_CHANNELS:
            self._channels = names[: chart_twin.MOST_CHANNELS]
            chosen = ui.select(
                names, multiple=True, value=self._channels, on_change=lambda event: self._choose_channels(event.value)
            )
            chosen.props(f'outlined dense options-dense max-values={chart_twin.MOST_CHANNELS} aria-label="Channels drawn"')
            chosen.classes("lt-field")
        shown = next(name for name, span in _PERIODS.items() if span == self._period_ns)
        periods = ui.toggle(list(_PERIODS), value=shown, on_change=lambda event: self._choose_period(event.value)).classes(
            "lt-seg wrap"
        )
        periods.props(
            'unelevated no-caps toggle-color="lt-chosen" toggle-text-color="lt-chosen-ink" aria-label="Period of event time"'
        )

    def _choose_period(self, name: str) -> None:
        self._period_ns = _PERIODS[name]
        self._read_now()

    def _choose_channels(self, names: list[str]) -> None:
        self._channels = names or None
        self._read_now()

    def _read_now(self) -> None:
        self._read = None
        ui.timer(0.01, self._tick_history, once=True)

    # ── live ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick_live(self) -> None:
        views = self._gateway.views
        state = views.twins.get(self._asset)
        seen = (state, views.alerts.revision, views.definitions.revision, self._history is None)
        if seen != self._seen:
            self._seen = seen
            kind = views.definitions.types.get(state.type) if state is not None else None
            set_content(self._summary, summary(state))
            set_content(self._values, values_now(state, kind, last_spreads(self._history)))
            set_content(self._alerts, twin_alerts(views.alerts.of(self._asset)))
            set_content(self._about, about(views, self._asset, state))

    # ── history ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tick_history(self) -> None:
        """Read the store when there is something new; one read at a time."""
        state = self._gateway.views.twins.get(self._asset)
        wanted = (self._period_ns, self._channels, state.time_ns if state is not None else None)
        kept_ns = self._history.risk.time_ns[-1] if self._history is not None and self._history.risk.time_ns else 0
        complete = state is None or kept_ns >= state.time_ns
        if (wanted == self._read and complete) or self._reading.locked():
            return
        async with self._reading:
            try:
                found = await self._read_store(state.time_ns if state is not None else 0)
            except StoreError as error:
                told = note("watch", f"The store can't answer now: {esc(str(error))}. Trying again.")
                set_content(self._notice, f'<div class="lt-body">{told}</div>')
                return
            if not found:
                told = empty("", "Nothing is kept of this twin yet. Trends appear after its first closed steps.")
                set_content(self._notice, told)
                return
            self._read = wanted
            set_content(self._notice, "")
            self._draw()

    async def _read_store(self, newest_state_ns: int) -> bool:
        """Whether there is anything to draw. Raises StoreError."""
        store = self._gateway.store
        span = await asyncio.to_thread(store.span, self._asset)
        newest = max(span[1] if span is not None else 0, newest_state_ns)
        if newest == 0:
            return False
        from_ns, to_ns = newest - self._period_ns, newest + 1
        if span is not None:  # a young twin fills the width, not a corner of it
            from_ns = max(from_ns, min(span[0], newest - self._period_ns // 50))
        self._history = await asyncio.to_thread(
            store.history, self._asset, channels=self._channels, from_ns=from_ns, to_ns=to_ns, points=_POINTS
        )
        self._range = (from_ns, to_ns)
        return True

    def _draw(self) -> None:
        if self._history is None:
            return
        views = self._gateway.views
        state, declared = views.twins.get(self._asset), views.definitions.fleet.get(self._asset)
        units = views.units(state.type if state is not None else declared.type if declared is not None else "")
        history = in_present_units(self._history, views.definitions.types, units)
        options = chart_twin.option(history, views.alerts.of(self._asset), units, *self._range, dark=self._look.dark)
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.style(f"height:{chart_twin.height(min(len(history.channels), chart_twin.MOST_CHANNELS))}px")
        self._chart.props["aria-label"] = chart_twin.describe(history, units)
        self._chart.update()
        set_content(self._marked, marked(history))

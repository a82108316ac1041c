"""One twin over event time: each channel with the model's expected band, and the risk below, on one time axis.

In:   history from the store, alerts of the twin.
Out:  an ECharts option: a grid a channel, the risk last; alerts as areas, model swaps as lines, bad quality as marks. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.gateway.chart_fleet import ESCAPE
from streams.gateway.page_words import QUALITY
from streams.gateway.times import NS_PER_MS
from streams.records import Alert
from streams.stores.port import ChannelSeries, RiskSeries, TwinHistory
from streams.wording import number, unit
from twin.quality import word

GRID_HEIGHT: Final = 132
RISK_HEIGHT: Final = 96
_GAP: Final = 44
_TOP: Final = 34
BAND_SPREADS: Final = 3.0
MOST_CHANNELS: Final = 10
MOST_MARKS: Final = 36  # of poor quality along the time axis

Marks = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Palette:
    ink: str
    soft: str
    line: str
    panel: str
    seen: str
    band: str
    expected: str
    bad: str
    risk: str
    alert: str
    swap: str


LIGHT: Final = Palette(
    "#171a1f",
    "#6b7480",
    "#e6e9ee",
    "#ffffff",
    "#1c63c7",
    "rgba(43,138,102,.17)",
    "#2b8a66",
    "#a86a00",
    "#c4501b",
    "rgba(194,47,60,.11)",
    "#5b5fc7",
)
DARK: Final = Palette(
    "#e7eaef",
    "#8590a0",
    "#242b35",
    "#1b212a",
    "#6ea8fe",
    "rgba(79,192,141,.17)",
    "#4fc08d",
    "#e5ac3f",
    "#f08a4b",
    "rgba(244,112,122,.15)",
    "#9a9df5",
)


def height(channels: int) -> int:
    """Pixels of the whole chart."""
    return _TOP + channels * (GRID_HEIGHT + _GAP) + RISK_HEIGHT + 34


def option(
    history: TwinHistory, alerts: Sequence[Alert], units: dict[str, str], from_ns: int, to_ns: int, *, dark: bool
) -> dict[str, Any]:
    palette = DARK if dark else LIGHT
    channels = history.channels[:MOST_CHANNELS]
    grids: list[dict[str, Any]] = []
    titles: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    marks = _marks(history.risk, alerts, from_ns, to_ns, palette, named=False)
    top = _TOP
    for place, channel in enumerate(channels):
        short = unit(units.get(channel.channel))
        grids.append({"left": 58, "right": 22, "top": top, "height": GRID_HEIGHT})
        titles.append(_title(channel.channel + (f"  {short}" if short else ""), top, palette))
        series += _channel_series(channel, place, marks, palette)
        top += GRID_HEIGHT + _GAP
    risk_place = len(channels)
    grids.append({"left": 58, "right": 22, "top": top, "height": RISK_HEIGHT})
    titles.append(_title("risk  0 normal, 1 certain", top, palette))
    series.append(
        _risk_series(history.risk, risk_place, _marks(history.risk, alerts, from_ns, to_ns, palette, named=True), palette)
    )
    count = risk_place + 1
    return {
        "animation": False,
        "backgroundColor": "transparent",
        "title": titles,
        "grid": grids,
        "xAxis": [_time_axis(place, place == risk_place, from_ns, to_ns, palette) for place in range(count)],
        "yAxis": [_value_axis(place, place == risk_place, palette) for place in range(count)],
        "axisPointer": {"link": [{"xAxisIndex": "all"}], "lineStyle": {"color": palette.soft, "type": "dashed"}},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "transitionDuration": 0,
            "backgroundColor": palette.panel,
            "borderColor": palette.line,
            "textStyle": {"color": palette.ink, "fontSize": 12},
            ":formatter": _TOOLTIP.replace("CHANNELS", json.dumps([one.channel for one in channels])),
        },
        "series": series,
    }


def _title(text: str, top: int, palette: Palette) -> dict[str, Any]:
    return {"text": text, "left": 12, "top": top - 27, "textStyle": {"color": palette.ink, "fontSize": 12.5, "fontWeight": 600}}


def _time_axis(place: int, last: bool, from_ns: int, to_ns: int, palette: Palette) -> dict[str, Any]:
    return {
        "type": "time",
        "gridIndex": place,
        "min": from_ns // NS_PER_MS,
        "max": to_ns // NS_PER_MS,
        "axisLine": {"lineStyle": {"color": palette.line}},
        "axisTick": {"show": False},
        "axisLabel": {"show": last, "color": palette.soft, "fontSize": 11, "hideOverlap": True},
        "splitLine": {"show": True, "lineStyle": {"color": palette.line}},
        "splitNumber": 6,
    }


def _value_axis(place: int, risk: bool, palette: Palette) -> dict[str, Any]:
    bounds: dict[str, Any] = {"min": 0, "max": 1, "interval": 0.5} if risk else {"scale": True, "splitNumber": 3}
    return {
        "type": "value",
        "gridIndex": place,
        "axisLabel": {"color": palette.soft, "fontSize": 11},
        "splitLine": {"lineStyle": {"color": palette.line}},
        **bounds,
    }


def _channel_series(channel: ChannelSeries, place: int, marks: Marks, palette: Palette) -> list[dict[str, Any]]:
    """Lower edge (not seen), band on top of it, expected, seen, marks of bad quality."""
    times = [time_ns // NS_PER_MS for time_ns in channel.time_ns]
    lower: list[list[Any]] = []
    band: list[list[Any]] = []
    for time_ms, expected, spread in zip(times, channel.expected, channel.spread, strict=True):
        known = expected is not None and spread is not None
        lower.append([time_ms, _round(expected - BAND_SPREADS * spread) if known else None])  # type: ignore[operator]
        band.append([time_ms, _round(2 * BAND_SPREADS * spread) if known else None])  # type: ignore[operator]
    axes = {"xAxisIndex": place, "yAxisIndex": place}
    where = {**axes, "type": "line", "showSymbol": False, "silent": True}
    stack = {"stack": f"band{place}", "stackStrategy": "all", "lineStyle": {"opacity": 0}}
    return [
        {**where, **stack, "name": "low", "data": lower},
        {**where, **stack, "name": "band", "data": band, "areaStyle": {"color": palette.band}},
        {**where, "name": "expected", "data": _points(times, channel.expected), **_line(palette.expected, 1, "dashed")},
        {**where, "name": "seen", "data": _points(times, channel.value), "z": 4, **_line(palette.seen, 1.6, "solid"), **marks},
        {
            **axes,
            "name": "quality",
            "type": "scatter",
            "symbolSize": 8,
            "data": _bad(times, channel),
            "color": palette.bad,
            "z": 5,
        },
    ]


def _bad(times: list[int], channel: ChannelSeries) -> list[dict[str, Any]]:
    """A mark a reading of poor quality; of a long stretch only some show, or they would hide the line."""
    found: list[dict[str, Any]] = []
    run, before = 0, ""
    every = max(1, len(times) // MOST_MARKS)
    for time_ms, value, bits in zip(times, channel.value, channel.quality, strict=True):
        quality = word(bits)
        run = run + 1 if quality == before else 0
        before = quality
        if bits and value is not None:
            symbol = "none" if run % every else QUALITY[quality].symbol
            found.append({"value": [time_ms, _round(value)], "quality": QUALITY[quality].word, "symbol": symbol})
    return found


def _line(colour: str, width: float, kind: str) -> dict[str, Any]:
    return {"color": colour, "lineStyle": {"color": colour, "width": width, "type": kind}}


def _risk_series(risk: RiskSeries, place: int, marks: Marks, palette: Palette) -> dict[str, Any]:
    threshold = {"yAxis": 0.5, "lineStyle": {"color": palette.soft, "type": "dotted"}, "label": {"show": False}}
    line = {**marks["markLine"], "data": [*marks["markLine"]["data"], threshold]}
    return {
        "name": "risk",
        "type": "line",
        "step": "end",
        "xAxisIndex": place,
        "yAxisIndex": place,
        "showSymbol": False,
        "silent": True,
        "data": [[time_ns // NS_PER_MS, round(value, 3)] for time_ns, value in zip(risk.time_ns, risk.risk, strict=True)],
        "lineStyle": {"color": palette.risk, "width": 1.5},
        "color": palette.risk,
        "areaStyle": {"color": palette.risk, "opacity": 0.12},
        "markLine": line,
        "markArea": marks["markArea"],
    }


def swaps(risk: RiskSeries) -> list[tuple[int, str]]:
    """Event times from which on another version scored this twin.

    >>> swaps(RiskSeries([1, 2, 3, 4], [0, 0, 0, 0], [None] * 4, ["", "a", "a", "b"]))
    [(2, 'a'), (4, 'b')]
    """
    found: list[tuple[int, str]] = []
    before = risk.version[0] if risk.version else ""
    for time_ns, version in zip(risk.time_ns, risk.version, strict=True):
        if version and version != before:
            found.append((time_ns, version))
        before = version or before
    return found


def _marks(risk: RiskSeries, alerts: Sequence[Alert], from_ns: int, to_ns: int, palette: Palette, *, named: bool) -> Marks:
    """Alerts as areas and swaps as lines; named where the risk is drawn, as long as the names have room."""
    swapped = swaps(risk)[-40:]
    lines: list[dict[str, Any]] = []
    for time_ns, version in swapped:
        label = {
            "show": named and len(swapped) <= 8,
            "formatter": version.split("-")[0],
            "color": palette.swap,
            "fontSize": 10,
            "position": "end",
            "align": "left",
            "distance": 2,
        }
        lines.append({"xAxis": time_ns // NS_PER_MS, "label": {**label, "rotate": 0}})
    areas: list[list[dict[str, Any]]] = []
    for alert in alerts:
        end_ns = alert.cleared_ns or to_ns
        if end_ns >= from_ns and alert.onset_ns <= to_ns:
            areas.append([{"xAxis": max(alert.onset_ns, from_ns) // NS_PER_MS}, {"xAxis": min(end_ns, to_ns) // NS_PER_MS}])
    style = {"silent": True, "symbol": "none", "animation": False, "label": {"show": False}}
    return {
        "markLine": {**style, "lineStyle": {"color": palette.swap, "width": 1, "type": "solid", "opacity": 0.65}, "data": lines},
        "markArea": {**style, "itemStyle": {"color": palette.alert}, "data": areas},
    }


def _points(times: list[int], values: Sequence[float | None]) -> list[list[Any]]:
    return [[time_ms, _round(value)] for time_ms, value in zip(times, values, strict=True)]


def _round(value: float | None) -> float | None:
    """Six significant digits: no chart shows more, and the page's messages stay small."""
    return None if value is None else float(f"{value:.6g}")


_TOOLTIP: Final = (
    "all => { const text = "
    + ESCAPE
    + "; const show = v => v === null || v === undefined ? '–' : Number(Number(v).toPrecision(5)).toLocaleString('en');"
    " const when = new Date(all[0].axisValue).toISOString().replace('T', ' ').slice(0, 19);"
    " const grids = {}; for (const p of all) (grids[p.axisIndex] ||= {})[p.seriesName] = p;"
    " let out = when + ' UTC';"
    " const names = CHANNELS;"
    " for (const [place, g] of Object.entries(grids)) {"
    "  if (g.risk) { out += '<br>risk <b>' + show(g.risk.value[1]) + '</b>'; continue; }"
    "  if (g.seen) out += '<br>' + text(names[place]) + ' <b>' + show(g.seen.value[1]) + '</b>';"
    "  if (g.expected && g.expected.value[1] !== null) out += ' · expected ' + show(g.expected.value[1]);"
    "  if (g.band && g.band.value[1]) out += ' ± ' + show(g.band.value[1] / 2);"
    "  if (g.quality) out += ' · ' + text(g.quality.data.quality);"
    " } return out; }"
)


def describe(history: TwinHistory, units: dict[str, str]) -> str:
    """One sentence for those who can't see the chart."""
    parts = []
    for channel in history.channels:
        known = [value for value in channel.value if value is not None]
        if known:
            short = unit(units.get(channel.channel))
            parts.append(f"{channel.channel} from {number(min(known))} to {number(max(known))} {short}".strip())
    top = max(history.risk.risk, default=0.0)
    return f"Trends: {'; '.join(parts) or 'nothing kept yet'}; highest risk {top:.2f}"

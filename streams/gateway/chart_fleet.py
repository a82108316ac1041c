"""The map of the fleet: assets as nodes where they lie, relationships as edges, coloured by health and risk.

In:   declarations, live states.
Out:  an ECharts option. At most MOST_NODES are drawn: the riskiest first, then the rest by id.
Pure.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from streams.gateway.fleet_layout import clustered, connected
from streams.gateway.page_html import risk_tone
from streams.gateway.page_words import HEALTH, health_of
from streams.records import TwinState
from twin.fleet import TwinDeclaration

MOST_NODES: Final = 600
FEW: Final = 40
MOST_FORCED: Final = 150  # a force layout of more is slow, and a hairball; of parts that do not hang together, it leaves the map
MOST_LABELS: Final = 6
_RISK_COLOURS: Final = {  # tone → (light, dark)
    "calm": ("#2b8a66", "#4fc08d"),
    "watch": ("#c98a12", "#e5ac3f"),
    "high": ("#c4501b", "#f08a4b"),
    "critical": ("#c22f3c", "#f4707a"),
}
_SCALE: Final = 1000.0  # ECharts rounds edges in the units of the coordinates: normalised ones would collapse
DOWN: Final = "path://M0,0L10,0L5,9Z"
SYMBOLS: Final = ("circle", "roundRect", "triangle", "diamond", DOWN, "arrow")


@dataclass(frozen=True, slots=True)
class Node:
    asset: str
    label: str
    kind: int  # position of its type in the list of types drawn
    x: float | None
    y: float | None


@dataclass(frozen=True, slots=True)
class FleetMap:
    """What is drawn, before colours."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str, str], ...]  # source, target, relationship
    types: tuple[str, ...]  # DTMIs, by number of assets
    left_out: int
    placed: bool  # every node has coordinates


def choose(
    declared: Iterable[TwinDeclaration], states: Mapping[str, TwinState | None], relationship: str | None = None
) -> FleetMap:
    """Which assets are drawn and where; with `relationship`, only edges of that name."""
    known = list(declared)
    twins = {one.asset: one for one in known}
    for asset, state in states.items():
        if asset not in twins and state is not None:
            twins[asset] = TwinDeclaration(asset=asset, type=state.type)
    chosen = list(twins.values())
    if len(chosen) > MOST_NODES:
        chosen = heapq.nlargest(MOST_NODES, chosen, key=lambda one: _risk(states.get(one.asset)))
    count: dict[str, int] = {}
    for one in chosen:
        count[one.type] = count.get(one.type, 0) + 1
    types = tuple(sorted(count, key=lambda kind: (-count[kind], kind)))
    nodes = tuple(
        Node(one.asset, one.name or one.asset, types.index(one.type), _coordinate(one, "x"), _coordinate(one, "y"))
        for one in sorted(chosen, key=lambda one: one.asset)
    )
    drawn = {node.asset for node in nodes}
    edges = tuple(
        (one.asset, edge.target, edge.name)
        for one in chosen
        for edge in one.relationships
        if edge.target in drawn and relationship in (None, edge.name)
    )
    nodes = _beside_the_map(nodes)
    placed = bool(nodes) and all(node.x is not None and node.y is not None for node in nodes)
    if not placed and len(nodes) > FEW:
        assets, pairs = [node.asset for node in nodes], [(source, target) for source, target, _ in edges]
        if len(nodes) > MOST_FORCED or not connected(assets, pairs):
            places = clustered(assets, pairs)
            nodes, placed = tuple(replace(node, x=places[node.asset][0], y=places[node.asset][1]) for node in nodes), True
    return FleetMap(nodes, edges, types, len(twins) - len(nodes), placed)


def _risk(state: TwinState | None) -> float:
    return -1.0 if state is None else state.risk


def _coordinate(declared: TwinDeclaration, name: str) -> float | None:
    value = declared.properties.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _beside_the_map(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Twins without a place, in rows below those that have one: a newcomer must not scatter the map."""
    fixed = [node for node in nodes if node.x is not None and node.y is not None]
    loose = [node for node in nodes if node.x is None or node.y is None]
    if not fixed or not loose:
        return nodes
    xs, ys = [node.x or 0.0 for node in fixed], [node.y or 0.0 for node in fixed]
    width, height = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0
    a_row = max(12, math.ceil(math.sqrt(len(loose) * 4)))
    rows = {
        node.asset: (min(xs) + width * (place % a_row) / a_row, min(ys) - height * (0.06 + 0.05 * (place // a_row)))
        for place, node in enumerate(loose)
    }
    return tuple(node if node.asset not in rows else Node(node.asset, node.label, node.kind, *rows[node.asset]) for node in nodes)


def colour(state: TwinState | None, dark: bool) -> str:
    """Learning, silent and waiting have their own colour; the others are coloured by risk."""
    health = health_of(state)
    if state is None or health in ("learning", "silent"):
        return HEALTH[health].colour(dark)
    tone = risk_tone(max(state.risk, 0.8 if health == "alarm" else 0.3 if health == "warning" else 0.0))
    return _RISK_COLOURS[tone][1 if dark else 0]


def _named(drawn: FleetMap, states: Mapping[str, TwinState | None]) -> set[str]:
    """Those that are worth a label on the map: all of a handful, else the few riskiest that are not OK."""
    if len(drawn.nodes) <= 2 * MOST_LABELS:
        return {node.asset for node in drawn.nodes}
    loud = [node.asset for node in drawn.nodes if health_of(states.get(node.asset)) in ("alarm", "warning")]
    return set(heapq.nlargest(MOST_LABELS, loud, key=lambda asset: _risk(states.get(asset))))


def _quartile(drawn: FleetMap) -> float:
    """From here on to the right a label stands left of its node, so that it stays on the map."""
    places = [node.x for node in drawn.nodes if node.x is not None]
    return min(places) + 0.75 * (max(places) - min(places)) if places else 0.0


def node_points(drawn: FleetMap, states: Mapping[str, TwinState | None], dark: bool) -> list[dict[str, Any]]:
    """The part of the option that changes with every step."""
    points = []
    named = _named(drawn, states)
    middle = _quartile(drawn)
    base = 13 if len(drawn.nodes) <= 60 else 10 if len(drawn.nodes) <= 200 else 7
    ink, panel = ("#e7eaef", "#14181f") if dark else ("#171a1f", "#ffffff")
    for node in drawn.nodes:
        state = states.get(node.asset)
        health = health_of(state)
        loud = health in ("alarm", "warning")
        side = "left" if node.x is not None and node.x > middle else "right"
        tone = HEALTH[health]
        fill = colour(state, dark)
        point: dict[str, Any] = {
            "id": node.asset,
            "name": node.asset,
            "symbol": SYMBOLS[node.kind % len(SYMBOLS)],
            "symbolSize": base * (1.7 if health == "alarm" else 1.5 if health == "warning" else 1.25 if node.kind else 1.0),
            "value": "–" if state is None else round(state.risk, 2),
            "word": tone.word,
            "title": node.label,
            "itemStyle": {
                "color": panel if health in ("silent", "waiting") else fill,
                "borderColor": fill if health in ("silent", "waiting") else panel,
                "borderWidth": 1.5,
            },
            "z": 3 if loud else 2,
            "label": {
                "show": node.asset in named,
                "formatter": node.label,
                "position": side,
                "color": ink,
                "fontSize": 11,
                "fontWeight": 600,
                "textBorderColor": panel,
                "textBorderWidth": 3,
            },
        }
        if drawn.placed and node.x is not None and node.y is not None:
            point["x"], point["y"] = node.x * _SCALE, -node.y * _SCALE
        points.append(point)
    return points


_TOOLTIP: Final = (
    "p => p.dataType === 'edge' ? echartsText(p.data.source) + ' ' + echartsText(p.data.how) + ' ' + echartsText(p.data.target)"
    " : '<b>' + echartsText(p.data.title) + '</b><br>' + p.data.word + ' · risk ' + p.data.value"
)
ESCAPE: Final = "(t => String(t).replace(/[&<>\"]/g, c => ({'&':'&amp;','<':'&lt;','>':'&gt;','\"':'&quot;'})[c]))"


def option(drawn: FleetMap, states: Mapping[str, TwinState | None], dark: bool) -> dict[str, Any]:
    few = len(drawn.nodes) <= FEW
    line, ink, panel = ("#3a4352", "#e7eaef", "#1b212a") if dark else ("#c3cad4", "#171a1f", "#ffffff")
    return {
        "animation": False,
        "backgroundColor": "transparent",
        "tooltip": {
            "confine": True,
            ":formatter": _TOOLTIP.replace("echartsText", ESCAPE),
            "backgroundColor": panel,
            "borderColor": line,
            "textStyle": {"color": ink, "fontSize": 12},
        },
        "series": [
            {
                "type": "graph",
                "layout": "none" if drawn.placed else "force",
                "left": 36, "right": 60, "top": 26, "bottom": 26,
                "preserveAspect": True,
                "roam": True,
                "scaleLimit": {"min": 0.7, "max": 12},
                "force": {
                    "repulsion": 450 if few else 130, "edgeLength": [70, 150] if few else [30, 70], "gravity": 0.15,
                    "layoutAnimation": False,
                },
                "cursor": "pointer",
                "edgeSymbol": ["none", "arrow"] if len(drawn.nodes) <= 200 else ["none", "none"],
                "edgeSymbolSize": 5,
                "lineStyle": {"color": line, "width": 1.1, "opacity": 0.9, "curveness": 0},
                "labelLayout": {"hideOverlap": True},
                "emphasis": {"focus": "adjacency", "label": {"show": True}, "scale": 1.2},
                "data": node_points(drawn, states, dark),
                "edges": [{"source": source, "target": target, "how": how} for source, target, how in drawn.edges],
            }
        ],
    }  # fmt: skip

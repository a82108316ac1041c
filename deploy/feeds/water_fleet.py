"""The water network as a fleet: its twin types, its assets, which feeds which, where they lie on the map.

In:   the network file that ships with `wntr`; which junctions, pipes, pumps and tanks are assets.
Out:  DTDL interfaces and `TwinDeclaration`s for the `definitions` topic.
Relationships `feeds` follow the pipes in the direction in which water flows on an average day; what is no asset
(a junction without customers, a side pipe) is passed through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deploy.feeds.hydraulics import M_PER_FT, net3, section
from deploy.feeds.interfaces import interface, sampled
from deploy.feeds.water_plant import JUNCTION, PIPE, PUMP, TANK, WaterPlant
from twin.fleet import Relationship, TwinDeclaration

_MM_PER_INCH = 25.4
_FILES = {JUNCTION: "water.junction", TANK: "water.tank", PUMP: "water.pump", PIPE: "water.pipe"}
_PUMP_NAMES = {"10": "Lake pump", "335": "River pump"}
_WORDS = {JUNCTION: "Junction", TANK: "Tank", PIPE: "Main"}

Properties = dict[str, str | float | bool]


def water_interfaces(step_s: int) -> list[dict[str, Any]]:
    """The four types, with the sampling period of this plant."""
    return [sampled(interface(name), step_s) for name in _FILES.values()]


def water_declarations(layout: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]) -> list[TwinDeclaration]:
    """Every asset of the plant with its properties and with what it feeds."""
    network = net3()
    kinds = {asset: kind for kind, (assets, _) in layout.items() for asset in assets}
    targets = _targets(network, frozenset(kinds))
    properties = _properties(network)
    return [
        TwinDeclaration(
            asset=asset,
            type=kind,
            name=_name(kind, asset),
            relationships=tuple(Relationship(name="feeds", target=target) for target in targets[asset]),
            properties=properties[asset],
        )
        for asset, kind in kinds.items()
    ]


def _name(kind: str, asset: str) -> str:
    number = asset.split("-")[1]
    return f"{_PUMP_NAMES[number]} {number}" if kind == PUMP else f"{_WORDS[kind]} {number}"


def _links(network: str) -> list[tuple[str, str, str]]:
    """(element, from node, to node) of every pipe and pump."""
    pipes = [(f"pipe-{row[0]}", row[1], row[2]) for row in section(network, "PIPES")]
    return pipes + [(f"pump-{row[0]}", row[1], row[2]) for row in section(network, "PUMPS")]


def _node_names(network: str) -> dict[str, str]:
    """EPANET id → element name. Pipes, tanks and junctions may share ids in the file, elements do not."""
    words = (("junction", "JUNCTIONS"), ("tank", "TANKS"), ("source", "RESERVOIRS"))
    return {row[0]: f"{word}-{row[0]}" for word, name in words for row in section(network, name)}


def _targets(network: str, assets: frozenset[str]) -> dict[str, list[str]]:
    """Asset → assets that its water reaches next."""
    nodes = _node_names(network)
    against = _flowing_against_the_drawing()
    following: dict[str, list[str]] = {}
    for element, start, end in _links(network):
        before, after = (end, start) if element in against else (start, end)
        following.setdefault(nodes[before], []).append(element)
        following.setdefault(element, []).append(nodes[after])
    return {asset: _next_assets(asset, following, assets) for asset in assets}


def _next_assets(asset: str, following: Mapping[str, Sequence[str]], assets: frozenset[str]) -> list[str]:
    found: set[str] = set()
    seen = {asset}
    waiting = deque(following.get(asset, ()))
    while waiting:
        element = waiting.popleft()
        if element in seen:
            continue
        seen.add(element)
        if element in assets:
            found.add(element)
        else:
            waiting.extend(following.get(element, ()))
    return sorted(found)


def _flowing_against_the_drawing() -> frozenset[str]:
    """Pipes whose water flows from the second node to the first, on average over a working day."""
    plant = WaterPlant(1800, seed=0, start_ns=0)
    hydraulics = plant.hydraulics
    every = range(len(hydraulics.pipes))
    total = np.zeros(len(hydraulics.pipes))
    for _ in range(48):
        plant.step_arrays()
        hydraulics.solve()
        total += hydraulics.pipe_flows_lps(every)
    return frozenset(f"pipe-{name}" for name, flow in zip(hydraulics.pipes, total, strict=True) if flow < 0)


def _properties(network: str) -> dict[str, Properties]:
    """Element → map position (0 to 1, one scale for both axes) and static figures, metric."""
    nodes = _node_names(network)
    places = {row[0]: (float(row[1]), float(row[2])) for row in section(network, "COORDINATES")}
    west, south = (min(place[axis] for place in places.values()) for axis in (0, 1))
    extent = max(max(place[axis] for place in places.values()) - low for axis, low in ((0, west), (1, south)))

    def at(*ids: str) -> Properties:
        x = sum(places[name][0] for name in ids) / len(ids)
        y = sum(places[name][1] for name in ids) / len(ids)
        return {"x": round((x - west) / extent, 4), "y": round((y - south) / extent, 4)}

    found = {nodes[name]: at(name) for name in nodes}
    found |= {element: at(start, end) for element, start, end in _links(network)}
    for row in section(network, "JUNCTIONS"):
        found[f"junction-{row[0]}"]["elevation"] = round(float(row[1]) * M_PER_FT, 2)
    for row in section(network, "TANKS"):
        found[f"tank-{row[0]}"] |= {
            "elevation": round(float(row[1]) * M_PER_FT, 2),
            "maxLevel": round(float(row[4]) * M_PER_FT, 2),
        }
    for row in section(network, "PIPES"):
        found[f"pipe-{row[0]}"] |= {
            "length": round(float(row[3]) * M_PER_FT, 1),
            "diameter": round(float(row[4]) * _MM_PER_INCH),
        }
    return found

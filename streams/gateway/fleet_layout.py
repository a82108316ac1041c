"""Where the twins of a large fleet stand on the map when nobody says: those that belong together, together.

In:   assets and the edges between them.
Out:  (x, y) of each; one unit is the distance between two neighbours. The same fleet gives the same map.
Pure.

What hangs together is one cluster: its best connected twin in the middle, the others in rings around it, neighbours beside
each other where they can be. Clusters stand in rows, the largest first; twins without edges follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

Point = tuple[float, float]

_GAP = 1.6  # between clusters
_WIDE = 1.7  # the map is wider than high
_ONE_RING = 20  # twins
_LONE = 1.4  # between twins without edges


def clustered(assets: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, Point]:
    """A place for each asset.

    >>> places = clustered(["a", "b", "c", "z"], [("a", "b"), ("a", "c")])
    >>> round(math.dist(places["a"], places["b"]), 3) == round(math.dist(places["a"], places["c"]), 3)
    True
    """
    near = _near(assets, edges)
    clusters = _clusters(near)
    drawn = [_rings(cluster) for cluster in clusters if len(cluster) > 1]
    lone = [asset for asset, others in near.items() if not others]
    areas = sum((2 * radius + _GAP) ** 2 for _, radius in drawn) + len(lone) * _LONE**2
    width, places = math.sqrt(areas * _WIDE), dict[str, Point]()
    x = y = height = 0.0
    for cluster, radius in drawn:
        size = 2 * radius + _GAP
        if x > 0 and x + size > width:
            x, y, height = 0.0, y - height, 0.0
        places |= {asset: (x + size / 2 + at_x, y - size / 2 + at_y) for asset, (at_x, at_y) in cluster.items()}
        x, height = x + size, max(height, size)
    y -= height
    a_row = max(1, int(width // _LONE))
    for position, asset in enumerate(lone):
        places[asset] = (_LONE * (position % a_row + 0.5), y - _LONE * (position // a_row + 0.5))
    return places


def connected(assets: Sequence[str], edges: Iterable[tuple[str, str]]) -> bool:
    """Whether all hang together.

    >>> connected(["a", "b", "c"], [("a", "b"), ("c", "b")]), connected(["a", "b", "c"], [("a", "b")])
    (True, False)
    """
    return len(_clusters(_near(assets, edges))) == 1


def _near(assets: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    near: dict[str, set[str]] = {asset: set() for asset in sorted(assets)}
    for source, target in edges:
        if source != target and source in near and target in near:
            near[source].add(target)
            near[target].add(source)
    return near


def _clusters(near: Mapping[str, set[str]]) -> list[list[str]]:
    """What hangs together, largest first; within each, every asset after one that it is connected to, the hub first."""
    seen: set[str] = set()
    found: list[list[str]] = []
    for hub in sorted(near, key=lambda asset: (-len(near[asset]), asset)):
        if hub in seen:
            continue
        cluster, waiting = list[str](), [hub]
        while waiting:  # depth first: what follows each other stands beside each other
            asset = waiting.pop()
            if asset not in seen:
                seen.add(asset)
                cluster.append(asset)
                waiting += sorted((other for other in near[asset] if other not in seen), reverse=True)
        found.append(cluster)
    return sorted(found, key=lambda cluster: (-len(cluster), min(cluster)))


def _rings(cluster: Sequence[str]) -> tuple[dict[str, Point], float]:
    """Places around the hub, and how far out they go: one ring for a few, else rings from within."""
    places: dict[str, Point] = {cluster[0]: (0.0, 0.0)}
    rest, radius = cluster[1:], 0.0
    while rest:
        radius = max(1.0, len(rest) / (2 * math.pi)) if len(cluster) <= _ONE_RING else radius + 1.3
        here, rest = rest[: (room := math.ceil(2 * math.pi * radius))], rest[room:]
        for position, asset in enumerate(here):
            angle = math.pi / 2 - 2 * math.pi * position / len(here)
            places[asset] = (radius * math.cos(angle), radius * math.sin(angle))
    return places, radius

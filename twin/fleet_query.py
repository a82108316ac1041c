"""Ask the fleet graph: by type, by static data, along relationships; and what is wrong with it.

In:   the fleet, the types, a `FleetQuery`.
Out:  twins with their distance, the edges between them, dangling targets, circles, edges that their types do not have.
Pure. A walk visits each twin once, so circles end it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from twin.dtdl_telemetry import NUMERIC
from twin.fleet import Fleet, Relationship, TwinDeclaration
from twin.types import PropertyTerm, RelationshipTerm, TwinType, short_name

Direction = Literal["out", "in", "both"]
MOST_CIRCLES = 20  # told of one answer
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class FleetQuery:
    """None: any. `properties`: name → the value as text, or a comparison such as `>40`."""

    type: str | None = None
    relationship: str | None = None
    start: str | None = None
    depth: int | None = None
    direction: Direction = "both"
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    name: str
    target: str
    dangling: bool  # nobody has declared the target
    properties: Mapping[str, str | float | bool]


def ask(fleet: Fleet, types: Mapping[str, TwinType], query: FleetQuery) -> dict[str, int]:
    """Assets that fit, by id, and how many edges each is from the start (0 without one).

    A twin that does not fit is passed on the way, but not in the answer.
    """
    if query.start is not None:
        reached = _walk(fleet, query)
    elif query.relationship is not None:
        reached = {}
        for one in fleet.twins():
            own = any(edge.name == query.relationship for edge in one.relationships)
            if own or any(edge.name == query.relationship for _, edge in fleet.incoming(one.asset)):
                reached[one.asset] = 0
    else:
        reached = dict.fromkeys((one.asset for one in fleet.twins()), 0)
    return {
        asset: reached[asset]
        for asset in sorted(reached)
        if (twin := fleet.get(asset)) is not None
        and (query.type is None or is_of(twin, query.type, types))
        and all(fits(fleet.properties(asset).get(name), wanted) for name, wanted in query.properties.items())
    }


def is_of(twin: TwinDeclaration, wanted: str, types: Mapping[str, TwinType]) -> bool:
    """Whether a twin is of a type, given by its DTMI or short name, or of one that extends it."""
    kind = types.get(twin.type)
    own = (twin.type, *(kind.bases if kind is not None else ()))
    return wanted in own or wanted in map(short_name, own)


def edges_between(fleet: Fleet, assets: Iterable[str], relationship: str | None = None) -> list[Edge]:
    """Edges that leave these assets, to each other and to assets that nobody has declared."""
    found, wanted = [], set(assets)
    for asset in sorted(wanted):
        twin = fleet.get(asset)
        for edge in twin.relationships if twin is not None else ():
            dangling = edge.target not in fleet
            if (dangling or edge.target in wanted) and relationship in (None, edge.name):
                found.append(Edge(asset, edge.name, edge.target, dangling, edge.properties))
    return found


def circles(edges: Iterable[Edge]) -> list[list[str]]:
    """Twins that reach themselves along the direction of the edges, a list a circle, at most MOST_CIRCLES.

    Source: strongly connected components after Tarjan, SIAM J. Comput. 1972, without recursion.

    >>> circles([Edge("a", "feeds", "b", False, {}), Edge("b", "feeds", "a", False, {}), Edge("b", "feeds", "c", False, {})])
    [['a', 'b']]
    """
    following: dict[str, list[str]] = {}
    own: set[str] = set()
    for edge in edges:
        if edge.source == edge.target:
            own.add(edge.source)
        following.setdefault(edge.source, []).append(edge.target)
        following.setdefault(edge.target, [])
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    held: set[str] = set()
    found: list[list[str]] = []
    for root in sorted(following):
        if root in number:
            continue
        work = [(root, iter(following[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        held.add(root)
        while work:
            node, ahead = work[-1]
            nxt = next(ahead, None)
            if nxt is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    part: list[str] = []
                    while not part or part[-1] != node:
                        part.append(stack.pop())
                        held.discard(part[-1])
                    if len(part) > 1 or node in own:
                        found.append(sorted(part))
            elif nxt not in number:
                number[nxt] = low[nxt] = len(number)
                stack.append(nxt)
                held.add(nxt)
                work.append((nxt, iter(following[nxt])))
            elif nxt in held:
                low[node] = min(low[node], number[nxt])
    return sorted(found)[:MOST_CIRCLES]


def faults(fleet: Fleet, types: Mapping[str, TwinType], assets: Iterable[str]) -> list[str]:
    """What is wrong with twins as they are declared; nothing of it keeps them from being served."""
    found: list[str] = []
    for asset in assets:
        twin = fleet.get(asset)
        if twin is None:
            continue
        kind = types.get(twin.type)
        if kind is None:
            found.append(f"{asset}: type {twin.type} is not declared")
        for term_of in kind.properties if kind is not None else ():
            found += _property_faults(fleet, asset, term_of)
        terms = {term.name: term for term in kind.relationships} if kind is not None else {}
        for edge in twin.relationships:
            if edge.target not in fleet:
                found.append(f"{asset}: {edge.name} points to {edge.target}, which nobody has declared")
            if kind is not None:
                found += _edge_faults(fleet, types, twin, edge, terms.get(edge.name))
        for term in terms.values():
            count = sum(edge.name == term.name for edge in twin.relationships)
            if count < term.least or (term.most is not None and count > term.most):
                most = "any number" if term.most is None else term.most
                found.append(f"{asset}: {count} × {term.name}, expected {term.least} to {most}")
    return found


def _property_faults(fleet: Fleet, asset: str, term: PropertyTerm) -> list[str]:
    """Static data of another kind than the type says, as declared or at any change."""
    of_number = term.schema in NUMERIC and term.schema != "boolean"
    wanted: set[type] = {bool} if term.schema == "boolean" else {int, float} if of_number else {str}
    declared = fleet.get(asset)
    held = [declared.properties if declared is not None else {}, *(one for _, one in fleet.changes(asset))]
    odd = [one[term.name] for one in held if term.name in one and type(one[term.name]) not in wanted]
    return [f"{asset}: {term.name} is {odd[0]!r}, expected {term.schema}"] if odd else []


def _edge_faults(
    fleet: Fleet, types: Mapping[str, TwinType], twin: TwinDeclaration, edge: Relationship, term: RelationshipTerm | None
) -> list[str]:
    if term is None:
        return [f"{twin.asset}: {edge.name} is no relationship of {twin.type}"]
    target = fleet.get(edge.target)
    if term.target is not None and target is not None and not is_of(target, term.target, types):
        return [f"{twin.asset}: {edge.name} points to {edge.target}, a {target.type}, expected a {term.target}"]
    return []


def _walk(fleet: Fleet, query: FleetQuery) -> dict[str, int]:
    """Breadth first, so that the distance is the shortest."""
    assert query.start is not None
    reached, level = {query.start: 0}, [query.start]
    while level and (query.depth is None or reached[level[0]] < query.depth):
        further: list[str] = []
        for asset in level:
            twin = fleet.get(asset)
            ahead = [edge.target for edge in twin.relationships if _named(edge, query)] if twin is not None else []
            behind = [source for source, edge in fleet.incoming(asset) if _named(edge, query)]
            for one in (ahead if query.direction != "in" else []) + (behind if query.direction != "out" else []):
                if one not in reached and one in fleet:
                    reached[one] = reached[asset] + 1
                    further.append(one)
        level = further
    return reached


def _named(edge: Relationship, query: FleetQuery) -> bool:
    return query.relationship in (None, edge.name)


def fits(found: str | float | bool | None, wanted: str) -> bool:
    """Whether static data is as wanted.

    >>> fits(40.5, ">40"), fits(40.5, "40.5"), fits("A", "A"), fits(True, "true"), fits(None, "A"), fits("A", ">1")
    (True, True, True, True, False, False)
    """
    if found is None:
        return False
    if isinstance(found, bool):
        return str(found).lower() == wanted.lower()
    sign = next((sign for sign in _COMPARE if wanted.startswith(sign)), None)
    if isinstance(found, str):
        return found == wanted
    try:
        number = float(wanted.removeprefix(sign or ""))
    except ValueError:
        return False
    return bool(_COMPARE[sign](found, number)) if sign is not None else found == number

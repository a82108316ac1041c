"""Why a question to the fleet finds nothing, in sentences.

In:   the fleet, the types, a `FleetQuery` that found nothing.
Out:  each condition that no twin meets by itself, with what there is; else what would fit without one of them.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from twin.fleet import Fleet
from twin.fleet_query import FleetQuery, ask, fits, is_of
from twin.types import TwinType

MOST_NAMED: Final = 8  # of what there is instead


def why_nothing(fleet: Fleet, types: Mapping[str, TwinType], query: FleetQuery) -> list[str]:
    """Reasons, the most telling first; none for a fleet without twins."""
    twins = fleet.twins()
    if not twins:
        return []
    reasons = []
    if query.start is not None and query.start not in fleet:
        reasons.append(f"No twin has the id {query.start}.")
    if query.type is not None and not any(is_of(one, query.type, types) for one in twins):
        there = {types[one.type].slug if one.type in types else one.type for one in twins}
        reasons.append(f"No twin is of type {query.type}. {_there(there)}")
    names = {edge.name for one in twins for edge in one.relationships}
    if query.relationship is not None and query.relationship not in names:
        told = _there(names) if names else "No twin has any relationship."
        reasons.append(f"No relationship is called {query.relationship}. {told}")
    for name, wanted in query.properties.items():
        held = [found for one in twins if (found := fleet.properties(one.asset).get(name)) is not None]
        if not held:
            reasons.append(f"No twin has static data called {name}.")
        elif not any(fits(found, wanted) for found in held):
            reasons.append(f"No twin has {name} {wanted}. {_extent(held)}")
    return reasons or _without_one(fleet, types, query)


def _without_one(fleet: Fleet, types: Mapping[str, TwinType], query: FleetQuery) -> list[str]:
    """Each condition is met somewhere, but not all at once: which one is in the way."""
    loosened = {
        "the type": replace(query, type=None) if query.type is not None else None,
        "the relationship": replace(query, relationship=None) if query.relationship is not None else None,
        "a limit to the distance": replace(query, depth=None) if query.start is not None and query.depth is not None else None,
        "a start": replace(query, start=None) if query.start is not None else None,
    }
    for name in query.properties:
        loosened[name] = replace(query, properties={one: wanted for one, wanted in query.properties.items() if one != name})
    counts = {what: len(ask(fleet, types, one)) for what, one in loosened.items() if one is not None}
    found = [f"Without {what}: {count:,}." for what, count in counts.items() if count]
    return ["Each condition fits some twins, but no twin fits all of them.", *found]


def _extent(held: Iterable[str | float | bool]) -> str:
    """What static data of one name there is.

    >>> _extent([3.0, 12.5, 7.0]), _extent(["B", "A", "B"]), _extent([4.0])
    ('It goes from 3 to 12.5.', 'There are A, B.', 'It is 4.')
    """
    known = list(held)
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in known):
        numbers = [float(one) for one in known]
        low, high = min(numbers), max(numbers)
        return f"It is {low:g}." if low == high else f"It goes from {low:g} to {high:g}."
    return _there(str(one).lower() if isinstance(one, bool) else str(one) for one in known)


def _there(names: Iterable[str]) -> str:
    """A few names, in order.

    >>> _there(["feeds", "feeds"]), _there(f"p{n}" for n in range(10))
    ('There is only feeds.', 'There are p0, p1, p2, p3, p4, p5, p6, p7 and 2 more.')
    """
    known = sorted(set(names))
    if len(known) == 1:
        return f"There is only {known[0]}."
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"There are {', '.join(known[:MOST_NAMED])}{more}."

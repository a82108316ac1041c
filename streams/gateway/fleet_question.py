"""A question to the fleet as an address carries it: the same names for `GET /v1/fleet` and for the fleet page.

In:   query parameters: `type`, `relationship`, `from`, `depth`, `direction`, `property.NAME`.
Out:  a `FleetQuery` with what could not be read; and back, the parameters of a `FleetQuery`.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast, get_args
from urllib.parse import urlencode

from twin.fleet_query import Direction, FleetQuery

PROPERTY: Final = "property."
MOST_DEPTH: Final = 1000
_DIRECTIONS: Final = get_args(Direction)


def properties_asked(parameters: Mapping[str, str]) -> dict[str, str]:
    """Static data that is asked for: name → wanted.

    >>> properties_asked({"property.elevation": ">40", "type": "water.tank"})
    {'elevation': '>40'}
    """
    return {name.removeprefix(PROPERTY): value for name, value in parameters.items() if name.startswith(PROPERTY)}


def read_question(parameters: Mapping[str, str]) -> tuple[FleetQuery, list[str]]:
    """The question of an address typed or kept by someone; what makes no sense is left out and told.

    >>> read_question({"from": "p1", "depth": "two"})[1]
    ["depth is 'two', expected a whole number from 0 to 1000; any distance is shown."]
    """
    told = []
    depth_text, direction_text = parameters.get("depth", ""), parameters.get("direction", "")
    depth = int(depth_text) if depth_text.isascii() and depth_text.isdigit() and len(depth_text) <= 4 else None
    if depth_text and (depth is None or depth > MOST_DEPTH):
        told.append(f"depth is {depth_text[:40]!r}, expected a whole number from 0 to {MOST_DEPTH}; any distance is shown.")
        depth = None
    direction: Direction = "both"
    if direction_text in _DIRECTIONS:
        direction = cast("Direction", direction_text)
    elif direction_text:
        told.append(f"direction is {direction_text[:40]!r}, expected one of {', '.join(_DIRECTIONS)}; both are followed.")
    query = FleetQuery(
        type=parameters.get("type") or None,
        relationship=parameters.get("relationship") or None,
        start=parameters.get("from") or None,
        depth=depth,
        direction=direction,
        properties={name: wanted for name, wanted in properties_asked(parameters).items() if name and wanted},
    )
    return query, told


def parameters_of(query: FleetQuery) -> dict[str, str]:
    """The other way round; what says nothing is left out.

    >>> parameters_of(FleetQuery(type="water.tank", start="p1", depth=2, properties={"elevation": ">40"}))
    {'type': 'water.tank', 'from': 'p1', 'depth': '2', 'property.elevation': '>40'}
    """
    from_start = query.start is not None
    named = {
        "type": query.type,
        "relationship": query.relationship,
        "from": query.start,
        "depth": str(query.depth) if from_start and query.depth is not None else None,
        "direction": query.direction if from_start and query.direction != "both" else None,
    }
    asked = {name: value for name, value in named.items() if value is not None}
    return asked | {f"{PROPERTY}{name}": wanted for name, wanted in query.properties.items()}


def address_of(path: str, parameters: Mapping[str, str]) -> str:
    """
    >>> address_of("/", {}), address_of("/v1/fleet", {"property.elevation": ">40"})
    ('/', '/v1/fleet?property.elevation=%3E40')
    """
    return f"{path}?{urlencode(parameters)}" if parameters else path

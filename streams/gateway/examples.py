"""Examples of answers for the OpenAPI document: one tank of the demo plant, and what stands around it.

In:   the document.
Out:  the same, with an example beside the schema of each answer named here.
Pure. A test holds each example against its schema and against what a running gateway answers.
"""

from __future__ import annotations

from typing import Any, Final

JSON: Final = "application/json"
_TANK: Final = "dtmi:livetwin:water:Tank;1"
_PLACE: Final = {"x": 0.5279, "y": 0.267, "elevation": 40.2, "maxLevel": 9.78}
_EDGE: Final = {"name": "feeds", "target": "junction-177", "properties": {}}
_STATE: Final = {
    "id": "tank-1",
    "type": _TANK,
    "name": "Tank 1",
    "time": "2026-11-26T12:35:00Z",
    "values": {"inflow": -20.5141, "level": 6.6061},
    "expected": {"inflow": -20.513, "level": 6.215},
    "quality": {"inflow": "good", "level": "stuck"},
    "health": "alarm",
    "risk": 0.52,
    "model_version": "0012-41f8f397",
    "partition": 6,
    "offset": 10107,
}
_CHANNEL: Final = {
    "name": "level",
    "unit": "metre",
    "semantic": "Length",
    "role": "sensor",
    "minimum": -0.2,
    "maximum": 15.0,
    "low_limit": None,
    "high_limit": None,
    "codes": {},
}
_TYPE: Final = {
    "id": _TANK,
    "name": "Tank",
    "short_name": "water.tank",
    "bases": [],
    "contract": "3b1f0c52d7a8e946",
    "period_s": 300.0,
    "lateness_s": 600.0,
    "channels": [_CHANNEL],
    "properties": ["x", "y", "elevation", "maxLevel"],
    "relationships": ["feeds"],
    "twins": 3,
}
_FLEET_TWIN: Final = {
    "id": "tank-1",
    "type": _TANK,
    "name": "Tank 1",
    "distance": 0,
    "properties": _PLACE,
    "health": "alarm",
    "risk": 0.52,
}
EXAMPLES: Final[dict[str, Any]] = {
    "/v1/types": {"types": [_TYPE], "problems": {}, "next": _TANK},
    "/v1/types/{id}": {**_TYPE, "interface": {"@id": _TANK, "@type": "Interface", "samplingPeriod": "PT5M", "contents": []}},
    "/v1/twins": {"twins": [_STATE], "next": "tank-1"},
    "/v1/twins/{id}": {
        **_STATE,
        "units": {"inflow": "litrePerSecond", "level": "metre"},
        "properties": _PLACE,
        "property_changes": [{"time": "2026-11-20T08:00:00Z", "properties": {"maxLevel": 9.78}}],
        "relationships": [_EDGE],
        "neighbours": ["junction-177"],
        "alerts": ["ce262d32-5438-5605-9c69-0f43ad615f81"],
    },
    "/v1/twins/{id}/values": {**_PLACE, "inflow": -20.5141, "level": 6.6061},
    "/v1/twins/{id}/values/{name}": 6.6061,
    "/v1/twins/{id}/history": {
        "id": "tank-1",
        "from": "2026-11-25T12:35:00.000000001Z",
        "to": "2026-11-26T12:35:00.000000001Z",
        "channels": [
            {
                "name": "level",
                "unit": "metre",
                "time": ["2026-11-26T00:35:00Z", "2026-11-26T12:35:00Z"],
                "value": [6.171, 6.6061],
                "low": [5.902, 6.6061],
                "high": [6.433, 6.6061],
                "expected": [6.1842, 6.2622],
                "spread": [0.0168, 0.0164],
                "quality": ["good", "stuck"],
            }
        ],
        "risk": {
            "time": ["2026-11-26T00:35:00Z", "2026-11-26T12:35:00Z"],
            "risk": [0.0717, 0.52],
            "score": [1.8865, 2.4987],
            "version": ["0011-29a17ea2", "0012-41f8f397"],
        },
    },
    "/v1/fleet": {
        "twins": [_FLEET_TWIN],
        "edges": [{"source": "tank-1", "name": "feeds", "target": "junction-177", "dangling": False, "properties": {}}],
        "circles": [],
        "problems": [],
        "why_nothing": [],
        "total": 2,
        "next": "tank-1",
    },
}


def add_examples(document: dict[str, Any]) -> None:
    """Put each example beside its schema. Raises KeyError for a route that is not there."""
    for path, example in EXAMPLES.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        content[JSON]["example"] = example

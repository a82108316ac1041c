"""W3C WoT Thing Descriptions 1.1 of twins and of their types, for clients that know WoT and nothing of livetwin.

In:   a compiled type; of a twin also its declaration.
Out:  a JSON document that the W3C's schema for TD 1.1 takes. Addresses are relative to `base`, the gateway's.

Channels and properties are readable property affordances, one at `/v1/twins/{id}/values/{name}`, all at once at
`/v1/twins/{id}/values`. Alerts are an event affordance, over server-sent events.

Source: W3C Recommendation "Web of Things (WoT) Thing Description 1.1", 5 December 2023.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from twin.fleet import TwinDeclaration
from twin.types import Channel, PropertyTerm, TwinType

CONTEXT = "https://www.w3.org/2022/wot/td/v1.1"
_WHOLE = frozenset({"byte", "integer", "long", "short", "unsignedByte", "unsignedInteger", "unsignedLong", "unsignedShort"})
_NUMBERS = frozenset({"decimal", "double", "float", "scaledDecimal"})


def describe_type(kind: TwinType, base: str) -> dict[str, Any]:
    """The description of any twin of a type: its addresses have a variable `id`.

    >>> describe_type(TwinType("dtmi:p:Tank;1", "Tank", (Channel("level"),), 1, 0, None, 0, 0), "http://h/")["properties"].keys()
    dict_keys(['level'])
    """
    return {
        **_frame(kind, base, "{id}", kind.id, kind.display_name),
        "uriVariables": {"id": {"type": "string", "description": "asset id of the twin"}},
    }


def describe_twin(kind: TwinType, twin: TwinDeclaration, base: str) -> dict[str, Any]:
    """The description of one twin, with what is declared of it."""
    at = quote(twin.asset, safe="")
    found = _frame(kind, base, at, f"urn:livetwin:twin:{at}", twin.name or twin.asset)
    for name, value in twin.properties.items():
        if name in kind.channel_names:  # what comes by telemetry is not declared
            continue
        found["properties"].setdefault(name, _property(PropertyTerm(name, _schema_of(value)), at))["const"] = value
    edges = [
        {"rel": edge.name, "href": f"v1/twins/{quote(edge.target, safe='')}/td", "type": "application/td+json"}
        for edge in twin.relationships
    ]
    return {**found, "links": edges} if edges else found


def _frame(kind: TwinType, base: str, at: str, identifier: str, title: str) -> dict[str, Any]:
    number = kind.id.rpartition(";")[2]
    return {
        "@context": CONTEXT,
        "id": identifier,
        "title": title,
        "description": f"A twin of type {kind.id}; it closes a step every {kind.period_ns / 1e9:g} s of event time.",
        "version": {"instance": number, "model": number},
        "base": base,
        "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}},
        "security": "nosec_sc",
        "properties": {
            **{channel.name: _channel(channel, at) for channel in kind.channels},
            **{term.name: _property(term, at) for term in kind.properties},
        },
        "events": {
            "alert": {
                "title": "Alert",
                "description": "An alert of any twin began, changed or ended; `asset` names the twin.",
                "data": {"type": "object"},
                "forms": [
                    {"op": "subscribeevent", "href": "v1/stream", "subprotocol": "sse", "contentType": "text/event-stream"}
                ],
            }
        },
        "forms": [{"op": "readallproperties", "href": f"v1/twins/{at}/values", "contentType": "application/json"}],
    }


def _channel(channel: Channel, at: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "boolean" if channel.schema == "boolean" else "number"}
    if channel.schema in _WHOLE:
        found["type"] = "integer"
    if channel.codes:
        found["oneOf"] = [{"const": _plain(code), "title": word} for word, code in channel.codes]
    elif found["type"] != "boolean":
        found |= {"minimum": channel.minimum} if channel.minimum is not None else {}
        found |= {"maximum": channel.maximum} if channel.maximum is not None else {}
    if channel.unit:
        found["unit"] = channel.unit
    return {**found, **_affordance(channel.name, channel.display_name, at)}


def _property(term: PropertyTerm, at: str) -> dict[str, Any]:
    numeric = "integer" if term.schema in _WHOLE else "number" if term.schema in _NUMBERS else None
    found: dict[str, Any] = {"type": "boolean" if term.schema == "boolean" else numeric or "string"}
    if term.unit:
        found["unit"] = term.unit
    return {**found, **_affordance(term.name, term.display_name, at)}


def _affordance(name: str, title: str | None, at: str) -> dict[str, Any]:
    form = {"op": "readproperty", "href": f"v1/twins/{at}/values/{quote(name, safe='')}", "contentType": "application/json"}
    return {"title": title or name, "readOnly": True, "forms": [form]}


def _schema_of(value: str | float | bool) -> str:
    return "boolean" if isinstance(value, bool) else "double" if isinstance(value, int | float) else "string"


def _plain(code: float) -> int | float:
    return int(code) if code == int(code) else code

"""JSON schemas of what feeders write, for OpenAPI and AsyncAPI alike: readings, events, and CloudEvents around both."""

from __future__ import annotations

from typing import Any, Final

from streams.formats.limits import MAX_ASSET, MAX_READINGS

_NUMBER: Final[dict[str, Any]] = {"type": ["number", "boolean", "null"]}
_UNIT: Final[dict[str, Any]] = {
    "type": ["string", "null"],
    "description": "in which it came: of DTDL's QuantitativeTypes, as plants write it (°C, m3/h, psi), or what pint reads",
}


def _with_unit(values: dict[str, Any]) -> dict[str, Any]:
    """Values as they are, or beside the unit that the record states."""
    members = {"value": values, "unit": _UNIT}
    stated = {"type": "object", "required": ["value"], "properties": members, "additionalProperties": False}
    return {"oneOf": [values, stated]}


_UNITS: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": _UNIT,
    "description": "units by channel, where the record states them; else they are the declared source's, else the type's",
}
TIME: Final[dict[str, Any]] = {
    "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
    "description": "RFC 3339, or epoch in s, ms, µs or ns",
}
SINGLE: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Reading",
    "required": ["asset", "time"],
    "properties": {"asset": {"type": "string", "minLength": 1, "maxLength": MAX_ASSET}, "time": TIME, "units": _UNITS},
    "additionalProperties": _with_unit(_NUMBER),
    "examples": [
        {"asset": "p1", "time": "2026-01-01T00:00:00Z", "flow": 1.2},
        {"asset": "p1", "time": "2026-01-01T00:00:00Z", "flow": {"value": 4.32, "unit": "m3/h"}},
    ],
}
COLUMNS: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Readings of one asset in columns",
    "required": ["asset", "time"],
    "properties": {
        "asset": {"type": "string", "minLength": 1, "maxLength": MAX_ASSET},
        "time": {"type": "array", "items": TIME, "minItems": 1, "maxItems": MAX_READINGS},
        "units": _UNITS,
    },
    "additionalProperties": _with_unit({"type": "array", "items": _NUMBER}),
    "examples": [{"asset": "p1", "time": [1767225600, 1767225601], "flow": [1.2, 1.3], "units": {"flow": "l/s"}}],
}
TELEMETRY: Final[dict[str, Any]] = {"oneOf": [SINGLE, COLUMNS]}


def _cloud_event(title: str, data: dict[str, Any], example: dict[str, Any], **speak: str) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1, "description": "who produced it; never taken for an asset"},
            "type": {"type": "string", "minLength": 1, **({"description": speak["type"]} if "type" in speak else {})},
            "subject": {"type": "string", "description": "the asset, where the data name none"},
            "time": {"type": "string", "format": "date-time", "description": "the time, where the data have none"},
            "datacontenttype": {"type": "string"},
            "data": data,
            "data_base64": {"type": "string", "description": speak["data_base64"]},
        },
        "examples": [
            {"specversion": "1.0", "id": "7", "source": "/line/1", "subject": "p1", "time": "2026-01-01T00:00:00Z", **example}
        ],
    }


CLOUD_EVENT: Final[dict[str, Any]] = _cloud_event(
    "CloudEvent 1.0 around readings, structured mode",
    {"type": "object", "description": "a reading, or readings in columns"},
    {"type": "reading", "data": {"flow": 1.2}},
    data_base64="the same, or an Arrow stream, as bytes",
)
CLOUD_EVENT_OF_EVENT: Final[dict[str, Any]] = _cloud_event(
    "CloudEvent 1.0 around an event of an asset, structured mode",
    {"type": ["object", "string"], "description": "fields of the event, or its text"},
    {"type": "maintenance", "data": {"text": "bearing changed"}},
    type="the kind, where the data name none",
    data_base64="the same as bytes",
)
EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Event",
    "required": ["asset", "kind"],
    "anyOf": [{"required": ["time"]}, {"required": ["time_ns"]}],
    "properties": {
        "asset": {"type": "string", "minLength": 1, "maxLength": MAX_ASSET},
        "time": TIME,
        "time_ns": {
            "type": "integer",
            "minimum": 0,
            "description": "in nanoseconds since 1970; counts where both stand",
        },
        "kind": {"type": "string", "description": "log | maintenance | message | recalibration | regime-change | fault"},
        "text": {"type": "string"},
        "code": {"type": ["string", "null"]},
        "label": {"type": ["string", "null"]},
        "active": {"type": ["boolean", "null"], "description": "fault: true when it begins, false when it ends"},
    },
    "examples": [{"asset": "p1", "time": "2026-01-01T00:00:00Z", "kind": "maintenance", "text": "bearing changed"}],
}

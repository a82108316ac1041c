"""/asyncapi.json: the contract of every topic, AsyncAPI 3, made from the topics and the records themselves."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from streams.formats.schemas import TELEMETRY
from streams.records import (
    EPOCH_HEADER,
    Alert,
    AlertCommand,
    DemoCommand,
    EventRecord,
    Feedback,
    ModelAlias,
    ModelCommand,
    ModelVersion,
    Refusal,
    Serving,
    Signal,
    TwinState,
)
from streams.topics import Topics
from twin.fleet import TwinDeclaration

_ARROW: Final = "application/vnd.apache.arrow.stream"
_EPOCH_HEADERS: Final = {
    "type": "object",
    "properties": {EPOCH_HEADER: {"type": "string", "description": "consumer-group generation of the owner"}},
}

# topic → (what it is, key, records, what livetwin does with it)
_Contract = tuple[str, str, tuple[type[BaseModel], ...], str]
_RECORDS: Final[dict[str, _Contract]] = {
    "telemetry": ("Readings, single or in columns", "asset id", (), "receive"),
    "events": ("Log lines, notes, messages; ground truth of the demo", "asset id", (EventRecord,), "receive"),
    "definitions": ("Twin types (DTDL) and twins", "type/<dtmi> or twin/<asset>", (TwinDeclaration,), "receive"),
    "twin.state": ("Last closed step of each twin", "asset id", (TwinState,), "send"),
    "twin.history": ("Closed steps of one micro-batch in columns", "partition", (), "send"),
    "twin.checkpoint": ("What a new owner of a partition needs; internal", "asset id", (), "send"),
    "monitoring": ("Figures a minute of champion and challenger; internal", "twin type", (), "send"),
    "alert.signals": ("Raise, keep, clear of one condition, with evidence", "asset id", (Signal,), "send"),
    "alerts": ("The whole alert; each change a new record", "alert id", (Alert,), "send"),
    "alert.commands": ("Acknowledge, shelve, comment, false alarm", "alert id", (AlertCommand,), "receive"),
    "feedback": ("A label for a period of one twin", "asset id", (Feedback,), "receive"),
    "models": (
        "Versions, which is to serve, which serves where",
        "see the records",
        (ModelVersion, ModelAlias, ModelCommand, Serving, Refusal),
        "send",
    ),
    "demo.commands": ("Faults of the demo plant", "fault/<fault>/<asset>", (DemoCommand,), "receive"),
    "dead-letter": ("Original bytes of refused records; headers say why and where from", "original key", (), "send"),
}
_INTERNAL: Final[_Contract] = ("Internal; may change at any time", "internal", (), "send")
_OPAQUE: Final = ("twin.history", "twin.checkpoint", "dead-letter", "monitoring")


def document(*, bootstrap: str, topics: Topics, partitions: int, version: str) -> dict[str, Any]:
    """The AsyncAPI 3 document of this installation."""
    models = sorted({record for _, _, records, _ in _RECORDS.values() for record in records}, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = dict(definitions["$defs"])
    schemas["Telemetry"] = TELEMETRY
    schemas["Interface"] = {"type": "object", "title": "DTDL v3 interface", "required": ["@id", "@type", "contents"]}
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for spec in topics.specs(partitions):
        name = spec.name.removeprefix(topics.prefix)
        title, key, records, action = _RECORDS.get(name, _INTERNAL)
        of_topic = _messages(name, title, key, records)
        messages |= of_topic
        channels[name] = {
            "address": spec.name,
            "title": title,
            "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in of_topic},
            "bindings": {
                "kafka": {
                    "topic": spec.name,
                    "partitions": spec.partitions,
                    "topicConfiguration": _configuration(spec.config),
                    "bindingVersion": "0.5.0",
                }
            },
        }
        operations[f"{action}-{name}"] = {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": title}
    first = bootstrap.split(",")[0]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "livetwin",
            "version": version,
            "description": "Live digital twins that keep learning. Actions are livetwin's own.",
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": first, "protocol": "kafka"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _messages(name: str, title: str, key: str, records: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    binding = {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}}
    if name in _OPAQUE or name not in _RECORDS:
        media = _ARROW if name == "twin.history" else "application/octet-stream"
        return {name: {"name": name, "title": title, "contentType": media, "payload": True, "bindings": binding}}
    payloads = [record.__name__ for record in records] or ["Telemetry"]
    if name == "definitions":
        payloads.append("Interface")
    common: dict[str, Any] = {"bindings": binding}
    if name in ("twin.state", "alert.signals"):
        common["headers"] = _EPOCH_HEADERS
    return {
        payload: {"name": payload, "title": title, "payload": {"$ref": f"#/components/schemas/{payload}"}, **common}
        for payload in payloads
    }


def _configuration(config: Any) -> dict[str, Any]:
    """Topic settings in the binding's types: a list for the policy, numbers for the rest."""
    number = TypeAdapter(int)
    return {
        name: value.split(",") if name == "cleanup.policy" else number.validate_python(value)
        for name, value in config.items()
        if name in ("cleanup.policy", "retention.ms", "max.message.bytes")
    }

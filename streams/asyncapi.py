"""The contract of every topic as an AsyncAPI 3 document, made from `streams.contracts` and the pydantic records.

Served at /asyncapi.json for the installation it runs in; `python -m streams.asyncapi FILE` writes docs/asyncapi.json.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from streams.contracts import CONTRACTS, Message
from streams.topics import Topics

KAFKA_BINDING = "0.5.0"
_REF = "#/components/schemas/"
_TOLD = ("cleanup.policy", "retention.ms", "max.message.bytes")  # settings that matter to who reads or writes a topic


def document(*, bootstrap: str, topics: Topics, partitions: int, version: str) -> dict[str, Any]:
    """The AsyncAPI 3.0.0 document of one installation. Actions are livetwin's own: it receives telemetry."""
    messages = [message for contract in CONTRACTS.values() for message in contract.messages]
    models = [one.payload for one in messages if isinstance(one.payload, type)]
    _, made = models_json_schema([(model, "validation") for model in dict.fromkeys(models)], ref_template=_REF + "{model}")
    schemas: dict[str, Any] = dict(made["$defs"])
    schemas |= {one.name: one.payload for one in messages if isinstance(one.payload, dict)}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for spec in topics.specs(partitions):
        name = spec.name.removeprefix(topics.prefix)
        contract = CONTRACTS[name]
        channels[name] = {
            "address": spec.name,
            "title": contract.about,
            "messages": {one.name: {"$ref": f"#/components/messages/{one.name}"} for one in contract.messages},
            "bindings": _kafka(topic=spec.name, partitions=spec.partitions, topicConfiguration=_configuration(spec.config)),
        }
        for action in contract.actions:
            operations[f"{action}-{name}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": contract.about,
                "messages": [{"$ref": f"#/channels/{name}/messages/{one.name}"} for one in contract.messages],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "livetwin",
            "version": version,
            "description": "Live digital twins that keep learning. Actions are livetwin's own: it receives telemetry.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": bootstrap.split(",")[0], "protocol": "kafka"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": {one.name: _message(one) for one in messages}, "schemas": schemas},
    }


def _message(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": message.name,
        "title": message.about,
        "contentType": message.content_type,
        "payload": _payload(message),
        "bindings": _kafka(key={"type": "string", "pattern": message.key}),
    }
    if message.headers is not None:
        found["headers"] = message.headers
    return found


def _payload(message: Message) -> dict[str, Any]:
    if isinstance(message.payload, type) and issubclass(message.payload, BaseModel):
        return {"$ref": _REF + message.payload.__name__}
    if message.payload is not None:
        return {"$ref": _REF + message.name}
    described: dict[str, Any] = {"description": message.about}
    if message.fields is not None:
        described["x-arrow-schema"] = message.fields
    return described


def _kafka(**binding: Any) -> dict[str, Any]:
    return {"kafka": {**binding, "bindingVersion": KAFKA_BINDING}}


def _configuration(config: Mapping[str, str]) -> dict[str, Any]:
    """Topic settings in the binding's types: a list for the policy, numbers for the rest."""
    told = {name: value for name, value in config.items() if name in _TOLD}
    return {name: value.split(",") if name == "cleanup.policy" else int(value) for name, value in told.items()}


def published() -> bytes:
    """docs/asyncapi.json: the document with every default."""
    made = document(bootstrap="127.0.0.1:9092", topics=Topics(), partitions=8, version="0")
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(published())

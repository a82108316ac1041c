"""Hold every record on the topics of a run against the AsyncAPI document: key, headers, payload."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import jsonschema_rs
import orjson
import pyarrow as pa
from aiokafka import ConsumerRecord

from streams import clients
from streams.asyncapi import document
from streams.topics import Topics


async def check_topics(bootstrap: str, topics: Topics, partitions: int) -> Counter[str]:
    """Records by topic and message. Fails on the first record that is none of its topic's; `telemetry` may hold anything."""
    made = document(bootstrap=bootstrap, topics=topics, partitions=partitions, version="0")
    found: Counter[str] = Counter()
    for name, channel in made["channels"].items():
        messages = {one: made["components"]["messages"][one] for one in channel["messages"]}
        checks = {one: Check(message, made["components"]) for one, message in messages.items()}
        for record in await clients.read_to_end(bootstrap, channel["address"]):
            if record.value is None and "compact" in channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]:
                continue  # a tombstone
            problems = {one: check.problem(record) for one, check in checks.items()}
            fitting = [one for one, problem in problems.items() if problem is None]
            assert fitting or name == "telemetry", f"{channel['address']} {record.key!r} {record.headers}: {problems}"
            found.update(f"{name}:{one}" for one in fitting)
    return found


class Check:
    """One message of the document."""

    def __init__(self, message: dict[str, Any], components: dict[str, Any]) -> None:
        self.message = message
        self.key = re.compile(message["bindings"]["kafka"]["key"]["pattern"])
        self.payload = jsonschema_rs.Draft202012Validator({"components": components, **message["payload"]})
        self.headers = jsonschema_rs.Draft202012Validator({"components": components, **message.get("headers", {})})

    def problem(self, record: ConsumerRecord[bytes, bytes]) -> str | None:
        """Why a record is not this message; None where it is."""
        if not self.key.search((record.key or b"").decode("utf-8", "replace")):
            return f"key {record.key!r}"
        headers = {name: value.decode() for name, value in record.headers}
        for error in self.headers.iter_errors(headers):
            return f"headers: {error.message}"
        kind = self.message["contentType"]
        said = headers.get("content-type", kind).partition(";")[0]
        if "ce_specversion" in self.message.get("headers", {}).get("properties", {}):
            return None  # the data of an event may be of any kind
        if kind == "application/vnd.apache.arrow.stream":
            return self.arrow_problem(record.value)
        if not kind.endswith("json"):
            return None
        try:
            content = orjson.loads(record.value)
        except orjson.JSONDecodeError as error:
            return f"not JSON: {error}"
        if said != kind:
            return f"content-type {said}"
        for error in self.payload.iter_errors(content):
            return f"payload: {error.message}"
        return None

    def arrow_problem(self, value: bytes) -> str | None:
        try:
            schema = pa.ipc.open_stream(value).schema
        except (pa.ArrowException, OSError, ValueError) as error:
            return str(error)
        fields = self.message["payload"]["x-arrow-schema"]
        if "<channel>" in fields:
            return None if {"asset", "time"} <= set(schema.names) else f"columns {schema.names}"
        if list(fields) != schema.names:
            return f"columns {schema.names}, expected {list(fields)}"
        for field in schema:
            kind = field.type.value_type if pa.types.is_fixed_size_list(field.type) else field.type
            said = fields[field.name].rsplit("channels: ")[-1].partition(",")[0]
            name = "dictionary of utf8" if pa.types.is_dictionary(kind) else str(kind).partition(",")[0]
            if name != said:
                return f"{field.name} is {name}, expected {said}"
        return None

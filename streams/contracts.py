"""What may stand on each topic: messages with key, headers, content type and schema. The AsyncAPI document is made from this.

One entry a topic of `streams.topics`; a test holds every record of a real run against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from streams.alarm_rates import AlarmRate
from streams.arrivals import Quiet
from streams.checkpoint import WRITER_HEADER
from streams.dead_letter import HEADERS as DEAD_LETTER_HEADERS
from streams.formats.cloud_events import ARROW, JSON, STRUCTURED
from streams.formats.schemas import CLOUD_EVENT, CLOUD_EVENT_OF_EVENT, COLUMNS, EVENT, SINGLE
from streams.homes import AssetHome
from streams.model_records import ModelAlias, ModelCommand, ModelVersion, Refusal, Serving
from streams.records import EPOCH_HEADER, Alert, AlertCommand, DemoCommand, Feedback, Signal, TwinState
from streams.unknown_assets import UnknownAsset
from streams.usage import ProcessorUsage
from twin.fleet import TwinDeclaration

Schema = dict[str, Any]
BYTES: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of record. `payload` None: bytes that `about` describes; `fields`: of an Arrow stream, name → type."""

    name: str
    about: str
    key: str  # pattern
    payload: type[BaseModel] | Schema | None = None
    content_type: str = JSON
    headers: Schema | None = None
    fields: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """What a topic is for, who writes it from livetwin's side (`send`), who reads it (`receive`), what stands on it."""

    about: str
    actions: tuple[str, ...]
    messages: tuple[Message, ...]


ANY_KEY: Final = r"^[\s\S]*$"
ASSET: Final = r"^[\s\S]{1,256}$"
PARTITION: Final = "^[0-9]+$"
SEND, RECEIVE, BOTH = ("send",), ("receive",), ("send", "receive")


def _text_headers(required: list[str], **about: str) -> Schema:
    return {
        "type": "object",
        "required": required,
        "properties": {name: {"type": "string", "description": text} for name, text in about.items()},
    }


_EPOCH = _text_headers([EPOCH_HEADER], **{EPOCH_HEADER: "consumer-group generation of the owner; an older one is ignored"})
_WRITER = _text_headers([], **{WRITER_HEADER: "name under which the owner took over; none: from before there were names"})
_EVENT_HEADERS = _text_headers(
    ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    ce_specversion="1.0",
    ce_id="of the event",
    ce_source="who produced it; never taken for an asset",
    ce_type="of the event",
    ce_subject="the asset, where the data name none",
    ce_time="RFC 3339; the time, where the data have none",
    **{"content-type": f"{JSON} or {ARROW}"},
)
_ARROW_TELEMETRY = {
    "asset": "utf8 or dictionary of utf8",
    "time": "timestamp of any unit, integer epoch, or utf8 RFC 3339",
    "<channel>": "integer, float16, float32, float64, decimal or bool; null and NaN are empty cells",
}
_MATRIX = "fixed_size_list of channels: "
_HISTORY = {
    "asset": "dictionary of utf8",
    "time": "timestamp[ns, UTC], end of the step",
    "values": _MATRIX + "float",
    "quality": _MATRIX + "uint8, bits of quality",
    "expected": _MATRIX + "float",
    "spread": _MATRIX + "float",
    "score": "float",
    "risk": "float",
    "version": "dictionary of utf8, empty while learning",
}
_TABLE_VALUE = {
    "type": "object",
    "required": ["sequence", "content"],
    "properties": {"sequence": {"type": "integer", "minimum": 0}, "content": {"type": "object"}},
}
_MARK = {
    "type": "object",
    "required": ["schema", "offset", "epoch"],
    "properties": {"schema": {}, "offset": {"type": "integer"}, "epoch": {"type": "integer"}},
}
_INTERFACE = {"type": "object", "title": "DTDL interface, v3 or v4", "required": ["@id", "@type"]}


def _changelog(name: str, about: str, key: str) -> Contract:
    return Contract(f"{about}; internal", BOTH, (Message(name, "value of a table and its count of writes", key, _TABLE_VALUE),))


CONTRACTS: Final[dict[str, Contract]] = {
    "telemetry": Contract(
        "Readings, in any of these formats",
        RECEIVE,
        (
            Message("Reading", "one reading of one asset", ASSET, SINGLE),
            Message("ReadingColumns", "readings of one asset in columns", ASSET, COLUMNS),
            Message(
                "ReadingEvent",
                "CloudEvent in binary mode around readings in JSON or Arrow; without asset or time the attributes speak",
                ANY_KEY,
                None,
                headers=_EVENT_HEADERS,
            ),
            Message("ReadingStructuredEvent", "CloudEvent in structured mode", ANY_KEY, CLOUD_EVENT, STRUCTURED),
            Message("ReadingTable", "Arrow IPC stream, readings of many assets", ANY_KEY, None, ARROW, fields=_ARROW_TELEMETRY),
        ),
    ),
    "events": Contract(
        "Log lines, notes, messages; ground truth of the demo",
        BOTH,
        (
            Message("Event", "one event of one asset", ANY_KEY, EVENT),
            Message(
                "EventInBinaryMode",
                "CloudEvent in binary mode around an event in JSON, or its text; the attributes speak where these do not",
                ANY_KEY,
                None,
                headers={
                    **_EVENT_HEADERS,
                    "properties": {
                        **_EVENT_HEADERS["properties"],
                        "ce_type": {"type": "string", "description": "the kind, where the data name none"},
                        "content-type": {"type": "string", "description": f"{JSON} or text/plain"},
                    },
                },
            ),
            Message("EventInStructuredMode", "CloudEvent in structured mode", ANY_KEY, CLOUD_EVENT_OF_EVENT, STRUCTURED),
        ),
    ),
    "definitions": Contract(
        "Twin types, twins, and where each asset lives",
        BOTH,
        (
            Message("Interface", "a twin type, or what types extend and contain", "^type/dtmi:.+;[0-9]+$", _INTERFACE),
            Message("TwinDeclaration", "one twin", r"^twin/[\s\S]+$", TwinDeclaration),
            Message("AssetHome", "the partition of one asset, claimed by a processor", r"^home/[\s\S]+$", AssetHome),
            Message("UnknownAsset", "readings before this offset were given up", r"^unknown/[\s\S]+$", UnknownAsset),
        ),
    ),
    "twin.state": Contract(
        "Last closed step of each twin", SEND, (Message("TwinState", "one twin", ASSET, TwinState, headers=_EPOCH),)
    ),
    "twin.history": Contract(
        "Closed steps of one micro-batch in columns",
        BOTH,
        (
            Message(
                "HistoryBlock", "Arrow IPC stream; its metadata name type and channels", PARTITION, None, ARROW, _EPOCH, _HISTORY
            ),
        ),
    ),
    "twin.checkpoint": Contract(
        "What a new owner of a partition goes on from; internal",
        BOTH,
        (
            Message("Checkpoint", "one twin, as streams/checkpoint_bytes.py says", r"^twin/[\s\S]+$", None, BYTES, _WRITER),
            Message("CheckpointMark", "offset to fold from", "^partition/[0-9]+$", _MARK, headers=_WRITER),
            Message("CheckpointOwner", "somebody took over, by this name", "^owner/[0-9a-f]{32}$", {"type": "object"}),
        ),
    ),
    "monitoring": Contract(
        "What scoring takes, how often twins alarm, and where nothing comes any more",
        BOTH,
        (
            Message("ProcessorUsage", "steps, CPU time and power of one processor", "^usage/.+$", ProcessorUsage),
            Message("AlarmRate", "alarms of a type on one partition beside those asked for", "^alarms/.+/[0-9]+$", AlarmRate),
            Message("Quiet", "nothing comes from a type's twins on one partition, or does again", "^quiet/.+/[0-9]+$", Quiet),
        ),
    ),
    "alert.signals": Contract(
        "Raise, keep, clear of one condition, with evidence",
        BOTH,
        (Message("Signal", "one closed step of one condition", ASSET, Signal, headers=_EPOCH),),
    ),
    "alerts": Contract("The whole alert; each change a new record", SEND, (Message("Alert", "one revision", "^.+$", Alert),)),
    "alert.commands": Contract(
        "Acknowledge, shelve, comment, false alarm", BOTH, (Message("AlertCommand", "one command", "^.+$", AlertCommand),)
    ),
    "feedback": Contract("A label for a period of one twin", BOTH, (Message("Feedback", "one period", ASSET, Feedback),)),
    "models": Contract(
        "Versions, which is to serve, which serves where",
        BOTH,
        (
            Message("ModelVersion", "a version and what was decided", "^.+/version/.+$", ModelVersion),
            Message("ModelAlias", "which version is to serve", "^.+/alias$", ModelAlias),
            Message("ModelCommand", "by hand", "^.+/command/.+$", ModelCommand),
            Message("Serving", "which version scores which stretch", "^.+/serving/[0-9]+/[0-9]+$", Serving),
            Message("Refusal", "a version that could not be served", "^.+/refusal/.+$", Refusal),
        ),
    ),
    "demo.commands": Contract(
        "Faults of the demo plant",
        BOTH,
        (Message("DemoCommand", "one fault, on or off", r"^fault/[a-z-]+/[\s\S]+$", DemoCommand),),
    ),
    "dead-letter": Contract(
        "Records that could not be used",
        BOTH,
        (
            Message(
                "DeadLetter",
                "the bytes of the record, under its key; headers say why and where from",
                ANY_KEY,
                None,
                BYTES,
                _text_headers([name for name in DEAD_LETTER_HEADERS if name != "truncated"], **DEAD_LETTER_HEADERS),
            ),
        ),
    ),
    "alerting.inbox": Contract(
        "Signals and commands in one order an asset; internal",
        BOTH,
        (
            Message("InboxSignal", "header kind: signal", ASSET, Signal, headers=_text_headers(["kind"], kind="signal")),
            Message("InboxCommand", "header kind: command", ASSET, AlertCommand, headers=_text_headers(["kind"], kind="command")),
        ),
    ),
    "alerting.epochs": _changelog("EpochsTable", "Highest epoch seen of each partition", ANY_KEY),
    "alerting.conditions": _changelog("ConditionsTable", "Conditions that are on, by asset", ASSET),
    "alerting.closed": _changelog("ClosedTable", "Alerts that are over, by asset", ASSET),
}

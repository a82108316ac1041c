"""Events of assets: log lines, notes, messages; as JSON, or as CloudEvents around JSON or text.

In:   the bytes of one record of `events`, its headers, its key; or one item of an HTTP body.
Out:  `EventRecord`. What is none raises ReadingRefused with a reason; whoever reads sends it to dead-letter and goes on.

JSON is an object with asset, kind and time (RFC 3339, or a number since 1970) or `time_ns`. Of a CloudEvent these speak where its
data do not: `subject`, else the record's key, for the asset; `type` for the kind; `time` for the time. Its data may be text,
or none at all: then the event says that it happened.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from streams.formats import cloud_events
from streams.formats.cloud_events import BATCH, STRUCTURED, Envelope, Headers, headers_of, is_json, media_type
from streams.formats.json_readings import parse
from streams.formats.readings import checked_asset
from streams.records import EventRecord
from twin.errors import ReadingRefused
from twin.time import LATEST_NS, parse_time

EXPECTED = "expected an object with asset, time and kind"


def decode_event(value: bytes | None, headers: Headers = (), key: bytes | None = None) -> EventRecord:
    """Decode one record.

    Args:
        key: taken for the asset of a CloudEvent that has neither an asset in its data nor a subject.

    Raises:
        ReadingRefused: reason `empty` | `json` | `shape` | `asset` | `time` | `cloudevents`.

    >>> decode_event(b'{"asset":"p1","time":1700000000,"kind":"log","text":"started"}').time_ns
    1700000000000000000
    >>> about = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shift"), ("ce_type", b"maintenance")]
    >>> about += [("ce_subject", b"p1"), ("ce_time", b"2026-01-01T00:00:00Z"), ("content-type", b"text/plain")]
    >>> event = decode_event(b"bearing changed", about)
    >>> event.asset, event.kind, event.text
    ('p1', 'maintenance', 'bearing changed')
    """
    named = headers_of(headers)
    media = media_type(named.get("content-type", ""))
    if "ce_specversion" in named:
        return _of_envelope(cloud_events.from_headers(value, named), key)
    if not value:
        raise ReadingRefused("empty", "the record has no value, expected an event; it is kept in dead-letter")
    if media == BATCH:
        raise ReadingRefused("cloudevents", "a batch of CloudEvents was found, expected one a Kafka record; kept in dead-letter")
    found = parse(value)
    if media == STRUCTURED or (isinstance(found, dict) and cloud_events.is_event(found)):
        return _of_envelope(cloud_events.from_structured(found, without_data=True), key)
    return event_of(found)


def event_of(found: Any, *, asset: Any = None, time: Any = None, kind: Any = None) -> EventRecord:
    """An event from parsed JSON; `asset`, `time`, `kind` are taken where it has none. Raises ReadingRefused."""
    if not isinstance(found, dict):
        raise ReadingRefused("shape", f"a JSON {type(found).__name__} was found, {EXPECTED}; kept in dead-letter")
    fields = {"kind": kind, **found, "asset": checked_asset(found.get("asset", asset))}
    time_ns = fields.get("time_ns")
    if time_ns is None:
        fields["time_ns"] = parse_time(fields.get("time", time))
    elif type(time_ns) is not int or not 0 <= time_ns <= LATEST_NS:
        raise ReadingRefused(
            "time", f"time_ns is {str(time_ns)[:60]!r}, expected nanoseconds from 1970 to 2262; kept in dead-letter"
        )
    try:
        return EventRecord.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ReadingRefused("shape", f"{where}: {first['msg']}, {EXPECTED}; kept in dead-letter") from error


def _of_envelope(event: Envelope, key: bytes | None) -> EventRecord:
    media, found = media_type(event.content_type), event.parsed
    if event.data and (is_json(media) or not media):
        found = parse(event.data)
    elif event.data:
        if not media.startswith("text/"):
            raise ReadingRefused("cloudevents", f"data are {media[:60]!r}, expected JSON or text; kept in dead-letter")
        try:
            found = event.data.decode()
        except UnicodeDecodeError as error:
            raise ReadingRefused("cloudevents", f"text that is no UTF-8 ({error}); kept in dead-letter") from error
    asset = event.subject if event.subject is not None else cloud_events.text_of(key)
    fields = {} if found is None else {"text": found} if isinstance(found, str) else found
    return event_of(fields, asset=asset, time=event.time, kind=event.type)

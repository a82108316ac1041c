"""Decode telemetry records, whatever format each is in: JSON, CloudEvents around it, Arrow IPC of many assets.

In:   the bytes of one record, its headers, its key.
Out:  `Telemetry` of one asset or `TelemetryTable` of many. A record that can't be decoded raises ReadingRefused
      with a reason; whoever folds sends it to dead-letter and goes on.

How the format is told, record by record, so that all may stand on one topic:
  1. headers `ce_specversion`: a CloudEvent in binary mode; `content-type: application/cloudevents+json`: in structured mode;
  2. `content-type` of Arrow or JSON; any other, or none: by what the bytes are;
  3. bytes that begin as an Arrow IPC stream does; else JSON, which is a CloudEvent where it has all attributes of one.
"""

from __future__ import annotations

from streams.formats import cloud_events
from streams.formats.arrow_claims import CONTINUATION
from streams.formats.arrow_readings import from_arrow
from streams.formats.cloud_events import ARROW, BATCH, STRUCTURED, Envelope, Headers, headers_of, is_json, media_type, text_of
from streams.formats.json_readings import from_json, parse
from streams.formats.readings import Decoded
from twin.errors import ReadingRefused


def decode(value: bytes | None, headers: Headers = (), key: bytes | None = None) -> Decoded:
    """Decode one record.

    Args:
        key: taken for the asset of a CloudEvent that has neither an asset in its data nor a subject.

    Raises:
        ReadingRefused: reason `empty` | `json` | `shape` | `asset` | `time` | `size` | `cloudevents` | `arrow`.

    >>> decode(b'{"asset":"p1","time":1700000000,"flow":1.2}').channels
    {'flow': 1.2}
    >>> about = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/line/1"), ("ce_type", b"reading")]
    >>> decode(b'{"time":1700000000,"flow":1.2}', [*about, ("ce_subject", b"p1")]).asset
    'p1'
    """
    if not value:
        raise ReadingRefused("empty", "the record has no value, expected readings; it is kept in dead-letter")
    if headers:
        named = headers_of(headers)
        media = media_type(named.get("content-type", ""))
        if "ce_specversion" in named:
            return _of_event(cloud_events.from_headers(value, named), key)
        if media == STRUCTURED:
            return _of_event(cloud_events.from_structured(parse(value)), key)
        if media == BATCH:
            raise ReadingRefused(
                "cloudevents", "a batch of CloudEvents was found, expected one event a Kafka record; kept in dead-letter"
            )
        if media == ARROW or (value[:4] == CONTINUATION and not is_json(media)):
            return from_arrow(value)
    elif value[:4] == CONTINUATION:
        return from_arrow(value)
    found = parse(value)
    if isinstance(found, dict) and "specversion" in found and cloud_events.is_event(found):
        return _of_event(cloud_events.from_structured(found), key)
    return from_json(found, flat=value.rfind(b"{") == 0)


def _of_event(event: Envelope, key: bytes | None) -> Decoded:
    """The data of an event; its subject, else the key, names the asset where the data do not."""
    asset = event.subject if event.subject is not None else text_of(key)
    if event.data is None:
        if not is_json(media_type(event.content_type)):
            raise ReadingRefused(
                "cloudevents", f"data of {event.content_type[:60]!r} came as JSON, expected data_base64; kept in dead-letter"
            )
        return from_json(event.parsed, asset, event.time)
    if not event.data:
        raise ReadingRefused("empty", "the event has no data, expected readings; it is kept in dead-letter")
    media = media_type(event.content_type)
    if media == ARROW or (event.data[:4] == CONTINUATION and not is_json(media)):
        return from_arrow(event.data, asset, event.time)
    return from_json(parse(event.data), asset, event.time)

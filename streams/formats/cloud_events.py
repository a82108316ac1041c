"""CloudEvents 1.0 around a record: binary mode (Kafka headers `ce_…`), structured mode (one JSON object).

In:   the bytes and headers of a record.
Out:  `Envelope`: the data and its media type, and what the event says where its data names no asset or no time.

Of the attributes these are used: `datacontenttype` for how to read the data, `subject` where the data names no asset, `time`
where the data has no time, and of events of assets the `type` where the data has no kind. `source` names a producer, not an
asset, so it is never taken for one. All others are let through.

Source: CloudEvents 1.0.2, JSON event format, Kafka protocol binding.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twin.errors import ReadingRefused

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
PREFIX = "ce_"
Headers = Iterable[tuple[str, bytes | None]]
_REQUIRED = ("specversion", "id", "source", "type")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is to be decoded. `parsed` is set where the data came as JSON within JSON; then `data` is None."""

    data: bytes | None
    parsed: Any
    content_type: str
    type: str
    subject: str | None
    time: str | None


def headers_of(headers: Headers) -> dict[str, str]:
    """Headers as text under lower-case names; the first of a name counts, what is no UTF-8 is left out."""
    found: dict[str, str] = {}
    for name, value in headers:
        if value is not None and name.lower() not in found:
            try:
                found[name.lower()] = value.decode()
            except UnicodeDecodeError:
                continue
    return found


def media_type(content_type: str) -> str:
    """Without parameters.

    >>> media_type("Application/JSON; charset=utf-8")
    'application/json'
    """
    return content_type.partition(";")[0].strip().lower()


def is_event(found: Any) -> bool:
    """Whether a JSON value is a structured event, whatever its record's content type says."""
    return isinstance(found, dict) and all(isinstance(found.get(name), str) for name in _REQUIRED)


def from_headers(value: bytes | None, headers: Mapping[str, str]) -> Envelope:
    """Binary mode. Raises ReadingRefused with reason `cloudevents`."""
    attributes = {name.removeprefix(PREFIX): text for name, text in headers.items() if name.startswith(PREFIX)}
    _check(attributes)
    kind = headers.get("content-type", "")
    return Envelope(value, None, kind, attributes["type"], attributes.get("subject"), attributes.get("time"))


def from_structured(found: Any, *, without_data: bool = False) -> Envelope:
    """Structured mode. Raises ReadingRefused with reason `cloudevents`.

    Args:
        without_data: whether the event may have none.
    """
    if not isinstance(found, dict):
        raise _refused(f"the event is a JSON {type(found).__name__}, expected an object")
    _check(found)
    texts = {name: found.get(name) for name in ("subject", "time", "datacontenttype")}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise _refused(f"{name} is {str(text)[:60]!r}, expected a text")
    kind = texts["datacontenttype"] or JSON
    data, parsed = None, None
    if found.get("data_base64") is not None:
        if found.get("data") is not None:
            raise _refused("the event has data and data_base64, expected one of them")
        try:
            data = base64.b64decode(found["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise _refused(f"data_base64 is no base64 ({error})") from error
    elif found.get("data") is None:
        if not without_data:
            raise _refused("the event has no data, expected readings")
    elif isinstance(found["data"], str) and not is_json(media_type(kind)):
        data = found["data"].encode("utf-8", "surrogatepass")
    else:
        parsed = found["data"]
    return Envelope(data, parsed, kind, found["type"], texts["subject"], texts["time"])


def is_json(media: str) -> bool:
    """Whether data of a media type, without its parameters, are JSON."""
    return media == JSON or media.endswith("+json")


def text_of(key: bytes | None) -> str | None:
    """A record's key as text; None where it is none."""
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None


def _check(attributes: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise _refused(f"{name} is {str(attributes.get(name))[:60]!r}, expected a text: CloudEvents 1.0 requires it")
    if attributes["specversion"] != "1.0":
        raise _refused(f"specversion is {attributes['specversion'][:20]!r}, expected '1.0'")


def _refused(found: str) -> ReadingRefused:
    return ReadingRefused("cloudevents", f"{found}; kept in dead-letter")

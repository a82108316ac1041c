"""What the bodies of POST /v1/telemetry and /v1/events hold: records for the topics, and what can't be taken, item by item.

In:   the body and its headers: JSON (one item or a list), CloudEvents (binary, structured, batch), an Arrow stream.
Out:  `Intake`. JSON and CloudEvents around readings go on as they came, keyed by asset. An Arrow stream is split by partition as
      its assets' keys would be, so that an asset comes on the same partition in whatever format it is sent.
Stricter than the topic: a sender who can be told is told, so every value of a JSON item must be a number, or a word of its
channel's enumeration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson
from pydantic import BaseModel, Field

from streams.decoding import decode
from streams.formats.arrow_writing import by_partition
from streams.formats.cloud_events import ARROW, BATCH, STRUCTURED, is_json, media_type
from streams.formats.events import decode_event
from streams.formats.json_readings import column_values
from streams.formats.readings import Telemetry
from streams.gateway.problem import ApiError
from streams.gateway.producing import Outgoing
from twin.errors import ReadingRefused

MOST_ITEMS = 50_000
MOST_REFUSED = 100  # named in one answer

Headers = Sequence[tuple[str, bytes]]
Words = Mapping[str, Collection[str]]
_ARROW_HEADERS = [("content-type", ARROW.encode())]


class Refusal(BaseModel):
    where: str = Field(description="`item 3 (asset 'p1')`")
    reason: str = Field(description="one word, as in dead-letter")
    message: str


@dataclass
class Intake:
    count: int = 0
    records: list[Outgoing] = field(default_factory=list)
    readings: int = 0
    assets: set[str] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)

    def refuse(self, where: str, reason: str, message: str) -> None:
        if len(self.refused) < MOST_REFUSED:
            self.refused.append(Refusal(where=where, reason=reason, message=message))


def _no_words(asset: str) -> Words:
    return {}


def read_telemetry(
    body: bytes, http_headers: Iterable[tuple[str, str]], partitions: int, words_of: Callable[[str], Words] = _no_words
) -> Intake:
    """Sort a body of telemetry out.

    Args:
        partitions: of the topic; 0 while the broker has not been seen.
        words_of: asset → channel → words that stand for a number.

    Raises:
        ApiError: 400 the body is no JSON or no list of a fair length; 415 its type is none of ours; 503 an Arrow stream came
            before the broker was seen.
    """
    out = Intake()
    for value, headers, where in _items(body, http_headers, ARROW):
        _take(out, value, headers, where, partitions, words_of)
    return out


def read_events(body: bytes, http_headers: Iterable[tuple[str, str]]) -> Intake:
    """Sort a body of events out; they go on as JSON. Raises ApiError 400, 415."""
    out = Intake()
    for value, headers, where in _items(body, http_headers):
        out.count += 1
        try:
            event = decode_event(value, headers)
        except ReadingRefused as error:
            out.refuse(where, error.reason, without_consequence(error))
            continue
        out.records.append(Outgoing(event.to_bytes(), event.asset.encode()))
        out.assets.add(event.asset)
    return out


def _items(body: bytes, http_headers: Iterable[tuple[str, str]], *more: str) -> Iterator[tuple[bytes, Headers, str]]:
    """The records of a body: value, Kafka headers, where it stands. `more`: media types that are taken whole."""
    sent = {name.lower(): text for name, text in http_headers}
    content_type = sent.get("content-type", "")
    media = media_type(content_type)
    event = [(f"ce_{name[3:]}", unquote(text).encode()) for name, text in sent.items() if name.startswith("ce-")]
    if media == BATCH:
        for position, item in enumerate(listed_items(body)):
            yield orjson.dumps(item), [("content-type", STRUCTURED.encode())], where_of(position, item)
    elif event or media in (STRUCTURED, *more):
        yield body, [*event, ("content-type", content_type.encode())], "the body"
    elif is_json(media):
        for position, item in enumerate(listed_items(body)):
            yield orjson.dumps(item), [], where_of(position, item)
    else:
        expected = " or ".join(["application/json", STRUCTURED, BATCH, *more])
        raise ApiError(415, f"Content-Type is {content_type or 'missing'!r}, expected {expected}; nothing was taken")


def listed_items(body: bytes) -> list[Any]:
    """A JSON body as a list. Raises ApiError 400."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}; nothing was taken") from error
    items = found if isinstance(found, list) else [found]
    if not 0 < len(items) <= MOST_ITEMS:
        raise ApiError(400, f"{len(items)} items in the list, expected 1 to {MOST_ITEMS}; nothing was taken")
    return items


def _take(out: Intake, value: bytes, headers: Headers, where: str, partitions: int, words_of: Callable[[str], Words]) -> None:
    out.count += 1
    try:
        found = decode(value, headers)
        if isinstance(found, Telemetry):
            _check_numbers(found, words_of(found.asset))
            out.records.append(Outgoing(value, found.asset.encode(), headers=headers))
            out.readings += 1 if isinstance(found.time_ns, int) else len(found.time_ns)
            out.assets.add(found.asset)
            return
    except ReadingRefused as error:
        out.refuse(where, error.reason, without_consequence(error))
        return
    if not partitions:
        raise ApiError(503, "the broker has not been seen yet, so a table can't be split by partition", retry_after_s=5)
    for flaw in found.flaws:
        out.refuse(where, flaw.reason, flaw.message)
    streams = by_partition(found, partitions)
    out.records += [Outgoing(stream, partition=partition, headers=_ARROW_HEADERS) for partition, stream in streams]
    out.readings += len(found)
    out.assets.update(found.assets)


def _check_numbers(found: Telemetry, words: Words) -> None:
    """Raises ReadingRefused: no channel, or a value that is no number."""
    if not found.channels:
        raise ReadingRefused("shape", f"{found.asset} has a time and no channel, expected at least one number beside it")
    for name, value in found.channels.items():
        column = value if found.columnar else [value]
        if isinstance(value, list) and not found.columnar:
            raise ReadingRefused("shape", f"{name} is a list and time is not, expected both to be lists, or neither")
        if name in words:
            column = [0 if isinstance(cell, str) and cell in words[name] else cell for cell in column]
        if column_values(column)[1]:
            bad = next((cell for cell in column if not isinstance(cell, int | float | None)), column[0])
            raise ReadingRefused("not-a-number", f"{name} is {str(bad)[:60]!r}, expected a finite number or null")


def where_of(position: int, item: Any) -> str:
    asset = item.get("asset") if isinstance(item, dict) else None
    return f"item {position}" + (f" (asset {asset[:60]!r})" if isinstance(asset, str) else "")


def without_consequence(error: ReadingRefused) -> str:
    """What is wrong; the decoder's own ending speaks of the stream, where refused records are kept."""
    found = str(error)
    for ending in ("; kept in dead-letter", "; it is kept in dead-letter", "; the record is kept in dead-letter"):
        found = found.removesuffix(ending)
    return found

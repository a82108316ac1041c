"""What the body of POST /v1/telemetry holds: records for the topic, and what can't be taken, item by item.

In:   the body and its headers: JSON (one item or a list), CloudEvents (binary, structured, batch), an Arrow stream.
Out:  `Intake`. JSON and events go on as they came, keyed by asset. An Arrow stream is split by partition as its assets' keys
      would be, so that an asset comes on the same partition in whatever format it is sent.
Stricter than the topic: a sender who can be told is told, so every value of a JSON item must be a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np
import orjson
import pyarrow as pa
from aiokafka.partitioner import murmur2
from pydantic import BaseModel, Field

from streams.decoding import decode, is_json
from streams.formats.cloud_events import ARROW, BATCH, STRUCTURED, media_type
from streams.formats.json_readings import column_values
from streams.formats.readings import Telemetry, TelemetryTable
from streams.gateway.problem import ApiError
from streams.gateway.producing import Outgoing
from twin.errors import ReadingRefused

MOST_ITEMS = 50_000
MOST_REFUSED = 100  # named in one answer

Headers = Sequence[tuple[str, bytes]]
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


def read_telemetry(body: bytes, http_headers: Iterable[tuple[str, str]], partitions: int) -> Intake:
    """Sort a body out.

    Args:
        partitions: of the topic; 0 while the broker has not been seen.

    Raises:
        ApiError: 400 the body is no JSON or no list of a fair length; 415 its type is none of ours; 503 an Arrow stream came
            before the broker was seen.
    """
    sent = {name.lower(): text for name, text in http_headers}
    content_type = sent.get("content-type", "")
    media = media_type(content_type)
    event = [(f"ce_{name[3:]}", unquote(text).encode()) for name, text in sent.items() if name.startswith("ce-")]
    out = Intake()
    if media == BATCH:
        for position, item in enumerate(listed_items(body)):
            _take(out, orjson.dumps(item), [("content-type", STRUCTURED.encode())], where_of(position, item), partitions)
    elif event or media in (STRUCTURED, ARROW):
        _take(out, body, [*event, ("content-type", content_type.encode())], "the body", partitions)
    elif is_json(media):
        for position, item in enumerate(listed_items(body)):
            _take(out, orjson.dumps(item), [], where_of(position, item), partitions)
    else:
        expected = f"application/json, {STRUCTURED}, {BATCH} or {ARROW}"
        raise ApiError(415, f"Content-Type is {content_type or 'missing'!r}, expected {expected}; nothing was taken")
    return out


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


def _take(out: Intake, value: bytes, headers: Headers, where: str, partitions: int) -> None:
    out.count += 1
    try:
        found = decode(value, headers)
        if isinstance(found, Telemetry):
            _check_numbers(found)
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
    out.records += by_partition(found, partitions)
    out.readings += len(found)
    out.assets.update(found.assets)


def by_partition(table: TelemetryTable, partitions: int) -> list[Outgoing]:
    """An Arrow record for each partition that one of the table's assets belongs to, by Kafka's default partitioner."""
    home = np.array([(murmur2(asset.encode()) & 0x7FFFFFFF) % partitions for asset in table.assets], np.int64)
    names = pa.array(table.assets, pa.string())
    records = []
    for partition in np.unique(home).tolist():
        rows = np.flatnonzero(home[table.code] == partition)
        columns = {
            "asset": pa.DictionaryArray.from_arrays(pa.array(table.code[rows], pa.int32()), names),
            "time": pa.array(table.time_ns[rows], pa.int64()).cast(pa.timestamp("ns", "UTC")),
            **{name: pa.array(values[rows], from_pandas=True) for name, values in table.channels.items()},
        }
        batch = pa.RecordBatch.from_pydict(columns)
        for at, name in enumerate(batch.schema.names):
            if name in table.units:
                field_ = batch.schema.field(at).with_metadata({"unit": table.units[name]})
                batch = pa.RecordBatch.from_arrays(batch.columns, schema=batch.schema.set(at, field_))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        records.append(Outgoing(bytes(sink.getvalue()), partition=partition, headers=_ARROW_HEADERS))
    return records


def _check_numbers(found: Telemetry) -> None:
    """Raises ReadingRefused: no channel, or a value that is no number."""
    if not found.channels:
        raise ReadingRefused("shape", f"{found.asset} has a time and no channel, expected at least one number beside it")
    for name, value in found.channels.items():
        column = value if found.columnar else [value]
        if isinstance(value, list) and not found.columnar:
            raise ReadingRefused("shape", f"{name} is a list and time is not, expected both to be lists, or neither")
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

"""Records as feeders write them, for the tests of the formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from streams.definitions import Definitions
from streams.log_record import PlainRecord
from tests.streams.plant import INTERFACE, START, TYPE

Headers = tuple[tuple[str, bytes], ...]
ARROW_HEADERS: Headers = (("content-type", b"application/vnd.apache.arrow.stream"),)


def declared(*assets: str) -> Definitions:
    """The plant's type, and these assets of it."""
    definitions = Definitions()
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    for asset in assets:
        definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
    return definitions


def record(
    offset: int, value: bytes | None, *, partition: int = 0, headers: Headers = (), key: bytes | None = None
) -> PlainRecord:
    return PlainRecord("telemetry", partition, offset, START * 1000, key, value, headers)


def table(columns: Mapping[str, Any], *, parts: int = 1, compression: str | None = None) -> bytes:
    """An Arrow IPC stream of these columns, in as many batches."""
    return stream(pa.table(dict(columns)), parts=parts, compression=compression)


def stream(table: pa.Table, *, parts: int = 1, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=max(1, -(-table.num_rows // parts)))
    return bytes(sink.getvalue())


def event_headers(content_type: str | None = None, **attributes: str) -> Headers:
    """A CloudEvent in binary mode."""
    given = {"specversion": "1.0", "id": "1", "source": "/line/1", "type": "reading", **attributes}
    headers = tuple((f"ce_{name}", text.encode()) for name, text in given.items())
    return headers if content_type is None else (*headers, ("content-type", content_type.encode()))


def structured(**members: Any) -> bytes:
    """A CloudEvent in structured mode."""
    return orjson.dumps({"specversion": "1.0", "id": "1", "source": "/line/1", "type": "reading", **members})


def rows(assets: Sequence[str], seconds: Sequence[int], **channels: Any) -> dict[str, Any]:
    """Columns of a table."""
    return {"asset": list(assets), "time": [(START + second) * 10**9 for second in seconds], **channels}

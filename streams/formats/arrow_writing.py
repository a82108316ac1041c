"""Write tables of many assets as Arrow records that Kafka and the readers of `telemetry` take.

In:   a `TelemetryTable`, and how many partitions the topic has.
Out:  (partition, Arrow IPC stream), each of assets of one partition, as their keys would put them there: so an asset comes on the
      same partition in whatever format it is sent. None is larger than LARGEST_RECORD, unless a single reading is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from aiokafka.partitioner import murmur2
from numpy.typing import NDArray

from streams.formats.readings import TelemetryTable

LARGEST_RECORD = 900 * 1024  # below the broker's default limit of a record


def home_of(asset: str, partitions: int) -> int:
    """Where Kafka's default partitioner puts a record with this key."""
    return int((murmur2(asset.encode()) & 0x7FFFFFFF) % partitions)


def by_partition(table: TelemetryTable, partitions: int) -> Iterator[tuple[int, bytes]]:
    """Arrow records of all readings; those of a partition in the order of the table."""
    home = np.array([home_of(asset, partitions) for asset in table.assets], np.int64)
    for partition in np.unique(home).tolist():
        for stream in _streams(table, np.flatnonzero(home[table.code] == partition)):
            yield partition, stream


def _streams(table: TelemetryTable, rows: NDArray[np.int64]) -> Iterator[bytes]:
    stream = _stream(table, rows)
    if len(stream) <= LARGEST_RECORD or len(rows) < 2:
        yield stream
        return
    half = len(rows) // 2
    yield from _streams(table, rows[:half])
    yield from _streams(table, rows[half:])


def _stream(table: TelemetryTable, rows: NDArray[np.int64]) -> bytes:
    used, code = np.unique(table.code[rows], return_inverse=True)
    names = pa.array([table.assets[at] for at in used.tolist()], pa.string())
    columns = {
        "asset": pa.DictionaryArray.from_arrays(pa.array(code, pa.int32()), names),
        "time": pa.array(table.time_ns[rows], pa.int64()).cast(pa.timestamp("ns", "UTC")),
        **{name: pa.array(values[rows], from_pandas=True) for name, values in table.channels.items()},
    }
    units = {name: {"unit": unit} for name, unit in table.units.items()}
    schema = pa.schema([pa.field(name, column.type, metadata=units.get(name)) for name, column in columns.items()])
    batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())

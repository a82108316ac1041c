"""`twin.history`: the closed steps of one micro-batch of one type, in columns, as an Arrow IPC stream.

In:   arrays from the processor.
Out:  bytes for the topic; `HistoryBlock` back from them, for the historian and its stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

_SCHEMA_VERSION = b"1"


@dataclass(frozen=True, slots=True)
class HistoryBlock:
    """N closed steps of twins of one type with C channels.

    `values`, `expected`, `spread` are in channel units, NaN where there is none; `quality` holds the bits of
    `twin.quality`; `time_ns` is the end of the step; `version` is "" while a twin is learning.
    `log` and `written_ms` are no part of the payload: the historian says from which log (cluster) and record
    timestamp a block came, because epochs can be compared within one log and one life of its consumer group only.
    """

    type: str
    channels: tuple[str, ...]
    partition: int
    epoch: int
    asset: tuple[str, ...]  # N
    time_ns: NDArray[np.int64]  # (N,)
    values: NDArray[np.float32]  # (N, C)
    quality: NDArray[np.uint8]  # (N, C)
    expected: NDArray[np.float32]  # (N, C)
    spread: NDArray[np.float32]  # (N, C)
    score: NDArray[np.float32]  # (N,)
    risk: NDArray[np.float32]  # (N,)
    version: tuple[str, ...]  # N
    log: str = ""
    written_ms: int = 0

    def __len__(self) -> int:
        return len(self.asset)

    def to_bytes(self) -> bytes:
        count = len(self.channels)

        def matrix(array: NDArray[Any], kind: pa.DataType) -> pa.Array:
            return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1), kind), count)

        columns = {
            "asset": pa.array(self.asset, pa.string()).dictionary_encode(),
            "time": pa.array(self.time_ns, pa.int64()).cast(pa.timestamp("ns", "UTC")),
            "values": matrix(self.values, pa.float32()),
            "quality": matrix(self.quality, pa.uint8()),
            "expected": matrix(self.expected, pa.float32()),
            "spread": matrix(self.spread, pa.float32()),
            "score": pa.array(self.score, pa.float32()),
            "risk": pa.array(self.risk, pa.float32()),
            "version": pa.array(self.version, pa.string()).dictionary_encode(),
        }
        batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(
            {
                b"livetwin.schema": _SCHEMA_VERSION,
                b"livetwin.type": self.type.encode(),
                b"livetwin.channels": orjson.dumps(self.channels),
                b"livetwin.partition": str(self.partition).encode(),
                b"livetwin.epoch": str(self.epoch).encode(),
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, payload: bytes) -> HistoryBlock:
        """Raises pyarrow.ArrowException, OSError, LookupError, ValueError or TypeError when it is no history block."""
        table = pa.ipc.open_stream(payload).read_all().combine_chunks()
        table.validate(full=True)  # a damaged index would be read out of bounds below
        metadata = table.schema.metadata
        channels = tuple(orjson.loads(metadata[b"livetwin.channels"]))

        def vector(name: str) -> NDArray[Any]:
            return np.asarray(table.column(name).to_numpy())

        def matrix(name: str) -> NDArray[Any]:
            flat = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return np.asarray(flat).reshape(-1, len(channels))

        return cls(
            type=metadata[b"livetwin.type"].decode(),
            channels=channels,
            partition=int(metadata[b"livetwin.partition"]),
            epoch=int(metadata[b"livetwin.epoch"]),
            asset=tuple(table.column("asset").to_pylist()),
            time_ns=np.asarray(table.column("time").cast(pa.int64()).to_numpy()),
            values=matrix("values"),
            quality=matrix("quality"),
            expected=matrix("expected"),
            spread=matrix("spread"),
            score=vector("score"),
            risk=vector("risk"),
            version=tuple(table.column("version").to_pylist()),
        )

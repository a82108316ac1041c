"""Formats: values a second that one process decodes, and decodes and folds, from JSON and from Arrow.

The same readings, no broker. CPU time of one core, so that a busy machine tells the same; best of a few rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from deploy.bench.figures import Figure
from streams.decoding import decode
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord

ASSETS = [f"pump-{number}" for number in range(200)]
CHANNELS = [f"channel{number}" for number in range(8)]
STEPS, READINGS_A_STEP = 20, 10
ROUNDS = 3
START_NS = 1_700_000_000 * 10**9
_TYPE = "dtmi:livetwin:bench:Pump;1"


def measure_formats() -> list[Figure]:
    rng = np.random.default_rng(1)
    times = START_NS + np.arange(STEPS * READINGS_A_STEP) * (10**9 // READINGS_A_STEP)
    values = rng.normal(size=(len(times), len(ASSETS), len(CHANNELS))).astype(np.float32).round(3)
    single, tables = _json(times, values), _arrow(times, values)
    figures = []
    for what, work in (("decode", _decode), ("decode and fold", _fold)):
        by_json, by_arrow = _rate(work, single, values.size), _rate(work, tables, values.size)
        figures.append(Figure(f"{what}, JSON, one reading of 8 channels a record", round(by_json), "values/s"))
        figures.append(Figure.beside(f"{what}, Arrow, 2,000 readings a record", round(by_arrow), "values/s", round(by_json)))
    return figures


def _rate(work: Callable[[list[PlainRecord]], float], records: list[PlainRecord], values: int) -> float:
    return values / min(work(records) for _ in range(ROUNDS))


def _decode(records: list[PlainRecord]) -> float:
    began = time.process_time()
    for record in records:
        decode(record.value, record.headers, record.key)
    return time.process_time() - began


def _fold(records: list[PlainRecord]) -> float:
    folder = Folder(_definitions())
    for asset in ASSETS:  # twins that are known already: meeting one costs as much as many readings of it
        folder.place(asset, folder.definitions.types[_TYPE], 0)
    began = time.process_time()
    size = 0
    batch: list[PlainRecord] = []
    for record in records:  # micro-batches as the processor cuts them
        batch.append(record)
        size += len(record.value or b"")
        if size >= 512 * 1024:
            folder.fold(batch)
            size, batch = 0, []
    folder.fold(batch)
    return time.process_time() - began


def _definitions() -> Definitions:
    contents = [{"@type": "Telemetry", "name": name, "schema": "double"} for name in CHANNELS]
    interface = {"@id": _TYPE, "@type": "Interface", "samplingPeriod": "PT1S", "maxAhead": None, "contents": contents}
    definitions = Definitions()
    definitions.apply(f"type/{_TYPE}".encode(), orjson.dumps(interface))
    for asset in ASSETS:
        definitions.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": _TYPE}))
    return definitions


def _json(times: NDArray[np.int64], values: NDArray[np.float32]) -> list[PlainRecord]:
    records: list[PlainRecord] = []
    for step, time_ns in enumerate(times.tolist()):
        for asset, row in zip(ASSETS, values[step].astype(float).round(3).tolist(), strict=True):
            value = orjson.dumps({"asset": asset, "time": time_ns, **dict(zip(CHANNELS, row, strict=True))})
            records.append(PlainRecord("telemetry", 0, len(records), time_ns // 10**6, asset.encode(), value))
    return records


def _arrow(times: NDArray[np.int64], values: NDArray[np.float32]) -> list[PlainRecord]:
    records: list[PlainRecord] = []
    for begin in range(0, len(times), READINGS_A_STEP):
        part = slice(begin, begin + READINGS_A_STEP)
        columns = {
            "asset": pa.array(ASSETS * READINGS_A_STEP).dictionary_encode(),
            "time": pa.array(np.repeat(times[part], len(ASSETS))).cast(pa.timestamp("ns", "UTC")),
            **{name: pa.array(values[part, :, number].reshape(-1)) for number, name in enumerate(CHANNELS)},
        }
        batch = pa.RecordBatch.from_pydict(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        records.append(PlainRecord("telemetry", 0, len(records), int(times[begin]) // 10**6, None, bytes(sink.getvalue())))
    return records

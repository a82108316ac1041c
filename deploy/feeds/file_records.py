"""Rows of a file as telemetry records, in the format that is asked for.

In:   `FileReadings`, and which rows are due.
Out:  `FeedRecord`s: their readings are the same in every format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import orjson

from deploy.feeds.file_columns import FileReadings
from deploy.feeds.producer import FeedRecord, epoch
from streams.formats.arrow_writing import by_partition
from streams.formats.cloud_events import ARROW, JSON, PREFIX
from streams.formats.readings import TelemetryTable

Format = Literal["json", "columns", "cloudevents", "arrow"]
_CELLS_A_RECORD = 20_000  # well below the largest record, whatever the number of channels
_ARROW_ROWS = 20_000


def feed_records(
    readings: FileReadings, begin: int, end: int, *, form: Format, source: str, partitions: int
) -> Iterator[FeedRecord]:
    """Records of rows [begin, end).

    Args:
        form: `json`: a reading each; `columns`: JSON of many readings of one asset; `cloudevents`: these as events in binary
            mode; `arrow`: many assets each.
        source: of the events.
        partitions: of `telemetry`: an Arrow record holds assets of one.
    """
    if form == "arrow":
        yield from _tables(readings, begin, end, partitions)
        return
    for record in records(readings, begin, end, most=1 if form == "json" else None):
        asset = record["asset"]
        if form == "cloudevents":
            first = record["time"][0] if isinstance(record["time"], list) else record["time"]
            event = {"specversion": "1.0", "id": f"{asset}/{first}", "source": source, "type": "readings", "subject": asset}
            headers = [(PREFIX + name, text.encode()) for name, text in event.items()]
            value = orjson.dumps({name: cells for name, cells in record.items() if name != "asset"})
            yield FeedRecord(value, asset, headers=[*headers, ("content-type", JSON.encode())])
        else:
            yield FeedRecord(orjson.dumps(record), asset)


def records(readings: FileReadings, begin: int, end: int, *, most: int | None = None) -> Iterator[dict[str, Any]]:
    """JSON records of rows [begin, end): one a asset and stretch, in columns; a single reading where there is one.

    Channels that an asset never has in the stretch are left out of its record.

    Args:
        most: readings a record; None: as many as fit.
    """
    names, codes = np.unique(readings.asset[begin:end].astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    most = most or max(1, _CELLS_A_RECORD // (1 + len(readings.channels)))
    for position, asset in enumerate(names.tolist()):
        rows = begin + order[bounds[position] : bounds[position + 1]]
        for start in range(0, len(rows), most):
            stretch = rows[start : start + most]
            times = [epoch(time_ns) for time_ns in readings.time_ns[stretch].tolist()]
            found = {name: values[stretch] for name, values in readings.channels.items()}
            cells = {name: _json(values) for name, values in found.items() if not np.isnan(values).all()}
            if len(stretch) == 1:
                yield {"asset": asset, "time": times[0], **{name: values[0] for name, values in cells.items()}}
            else:
                yield {"asset": asset, "time": times, **cells}


def _tables(readings: FileReadings, begin: int, end: int, partitions: int) -> Iterator[FeedRecord]:
    for start in range(begin, end, _ARROW_ROWS):
        rows = slice(start, min(start + _ARROW_ROWS, end))
        names, codes = np.unique(readings.asset[rows].astype(str), return_inverse=True)
        channels = {name: values[rows] for name, values in readings.channels.items()}
        table = TelemetryTable(tuple(names.tolist()), np.asarray(codes, np.int64), readings.time_ns[rows], channels)
        for partition, stream in by_partition(table, partitions):
            yield FeedRecord(stream, None, partition, [("content-type", ARROW.encode())])


def _json(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]

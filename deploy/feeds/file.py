"""`livetwin feed FILE`: a file of telemetry as an ordinary producer of the public contract.

In:   CSV, Parquet, Arrow or JSON lines; which column is the time and which the asset, where that can't be guessed.
Out:  `definitions` for assets that have none yet (a type inferred from the file), then `telemetry` in order of event time.
At the end it says what was sent, what was left out, renamed, rejected, and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.feeds.file_columns import FileReadings, to_readings
from deploy.feeds.file_records import Format, feed_records
from deploy.feeds.file_table import FileRefused, FileTable, read_table
from deploy.feeds.producer import Compression, FeedProducer, FeedRecord
from streams.definitions import read_definitions
from streams.topics import Topics
from twin.fleet import TwinDeclaration
from twin.infer import infer_type
from twin.types import NS_PER_S

__all__ = ["FileRefused", "FileReport", "run_file"]

_ROWS_AT_ONCE = 20_000
_TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of a file. `rejected` counts rows (cells, for reason `cell`) by reason."""

    readings: int
    assets: int
    rejected: dict[str, int]
    lines: tuple[str, ...]


async def run_file(
    *,
    bootstrap: str,
    topics: Topics,
    path: Path,
    speed: float | None = None,
    asset_column: str | None = None,
    time_column: str | None = None,
    form: Format = "columns",
    compression: Compression = "lz4",
    stop: asyncio.Event,
    console: Console | None = None,
) -> FileReport:
    """Feed one file. `speed` is event seconds a wall second; 0 or None: as fast as it goes. `form`: of its records.

    Raises:
        FileRefused: the file can't be fed; nothing was sent.
        KafkaError: the broker can't be reached or refuses; feeding the file again is safe, the same readings count once.
    """
    speed = speed or 0.0
    if not 0 <= speed < float("inf"):
        raise FileRefused(f"speed is {speed}, expected 0 (as fast as it goes) or event seconds a second; nothing was sent")
    console = console or Console(stderr=True)
    source = await asyncio.to_thread(read_table, path, time_column)
    stem = path.name.split(".")[0]
    try:
        readings = await asyncio.to_thread(to_readings, source, stem, time_column, asset_column)
    except FileRefused as error:
        raise FileRefused(f"{path}: {error}") from error
    definitions = await read_definitions(bootstrap, topics)
    new = sorted({str(asset) for asset in readings.asset} - {twin.asset for twin in definitions.fleet.twins()})
    async with FeedProducer(bootstrap, topics, client_id="livetwin-file", compression=compression) as producer:
        if new:
            interface = infer_type(stem, readings.channels, readings.time_ns, readings.asset.astype(str))
            await producer.define([interface], [TwinDeclaration(asset=asset, type=interface["@id"]) for asset in new])
        feed = partial(feed_records, form=form, source=f"/livetwin/feed/{path.name}", partitions=await producer.partitions())
        sent = await _send(producer, readings, feed, speed, stop, console)
    report = _report(source, readings, sent, new)
    for line in report.lines:
        console.print(line, highlight=False, markup=False)
    return report


async def _send(
    producer: FeedProducer,
    readings: FileReadings,
    feed: Callable[[FileReadings, int, int], Iterator[FeedRecord]],
    speed: float,
    stop: asyncio.Event,
    console: Console,
) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    sent = 0
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("readings", total=len(readings.time_ns))
        async for begin, end in _paced(readings, speed, stop):
            await producer.records(feed(readings, begin, end))
            sent = end
            progress.update(bar, completed=end)
    return sent


async def _paced(readings: FileReadings, speed: float, stop: asyncio.Event) -> AsyncIterator[tuple[int, int]]:
    """Ranges of rows that are due, one after the other."""
    clock = asyncio.get_running_loop()
    started = clock.time()
    first_ns = int(readings.time_ns[0])
    begin, count = 0, len(readings.time_ns)
    while begin < count and not stop.is_set():
        end = begin + _ROWS_AT_ONCE
        if speed > 0:
            due_ns = first_ns + int((clock.time() - started) * speed * NS_PER_S)
            end = min(end, int(np.searchsorted(readings.time_ns, due_ns, side="right")))
        end = min(end, count)
        if end > begin:
            yield begin, end
            begin = end
        if speed > 0:
            next_s = (int(readings.time_ns[begin]) - first_ns) / NS_PER_S / speed if begin < count else 0.0
            await _wait(max(_TICK_S, started + next_s - clock.time()) if begin < count else 0.0, stop)


async def _wait(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _assets(count: int) -> str:
    return "1 asset" if count == 1 else f"{count} assets"


def _report(source: FileTable, readings: FileReadings, sent: int, new: list[str]) -> FileReport:
    assets = len(set(readings.asset[:sent].tolist()))
    lines = [f"{sent} readings of {_assets(assets)} sent, channels {', '.join(readings.channels)}"]
    if sent < len(readings.time_ns):
        lines.append(f"stopped: {len(readings.time_ns) - sent} readings were not sent")
    if new:
        lines.append(f"{_assets(len(new))} not declared before: type inferred from the file")
    lines += [f"column {column!r} is sent as channel {channel}" for column, channel in readings.renamed.items()]
    if readings.left_out:
        lines.append(f"not numbers, so not sent: columns {', '.join(map(repr, readings.left_out))}")
    if readings.backwards:
        lines.append(f"{readings.backwards} times went backwards; sent in order of time")
    if readings.repeated:
        lines.append(f"{readings.repeated} times repeat for the same asset; the last reading of a time counts")
    lines += source.notes
    for reason, count in source.rejected.items():
        what = "cells" if reason == "cell" else "rows"
        lines.append(f"{count} {what} rejected ({reason}); first: {source.first_rejected[reason]}")
    return FileReport(sent, assets, dict(source.rejected), tuple(lines))

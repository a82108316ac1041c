"""`livetwin type infer`: a twin type from a sample of telemetry, of files or of a topic, for a person to read and correct.

In:   CSV, Parquet or JSON-lines files; or the newest records of a Kafka topic.
Out:  a DTDL interface, and what in it is guessed, with how sure and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from numpy.typing import NDArray

from deploy.feeds.file_columns import to_readings
from deploy.feeds.file_table import FileRefused, read_table
from streams import clients
from streams.decoding import decode
from streams.formats.json_readings import column_values
from streams.formats.readings import Telemetry
from twin.errors import LivetwinError, ReadingRefused
from twin.guessing import Guess
from twin.infer import channel_names, suggest_type

MOST_RECORDS = 20_000  # of a topic


class NothingToInfer(LivetwinError):
    """A source that holds no numeric reading."""


@dataclass(frozen=True, slots=True)
class Sample:
    """N readings, in the order in which they came. `source_names` maps channel → what the source calls it."""

    time_ns: NDArray[np.int64]
    asset: NDArray[np.str_]
    columns: dict[str, NDArray[np.float64]]
    source_names: dict[str, str]
    left_out: int = 0  # records that could not be read


def infer(sample: Sample, name: str) -> tuple[dict[str, Any], dict[str, list[Guess]]]:
    return suggest_type(name, sample.columns, sample.time_ns, sample.asset, sample.source_names)


def sample_files(files: list[Path]) -> Sample:
    """Readings of files of one kind of asset; columns of one name are one channel. Raises FileRefused."""
    parts = []
    for file in files:
        try:
            parts.append(to_readings(read_table(file), file.name.split(".")[0]))
        except FileRefused as error:
            raise FileRefused(f"{file}: {str(error).removeprefix(f'{file}: ')}") from error
    names = list(dict.fromkeys(name for part in parts for name in part.channels))
    columns = {
        name: np.concatenate([part.channels.get(name, np.full(len(part.time_ns), np.nan)) for part in parts]) for name in names
    }
    renamed = {channel: column for part in parts for column, channel in part.renamed.items()}
    return Sample(
        np.concatenate([part.time_ns for part in parts]),
        np.concatenate([part.asset.astype(str) for part in parts]),
        columns,
        renamed,
    )


async def sample_topic(bootstrap: str, topic: str) -> Sample:
    """The newest records of a topic.

    Raises:
        NothingToInfer: there is no such topic, or no numeric reading in it.
    """
    consumer = clients.consumer(bootstrap, topic, client_id="livetwin-infer", request_timeout_ms=10_000)
    try:
        await consumer.start()
        partitions = sorted(consumer.assignment())
        begin, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(begin[partition], end[partition] - MOST_RECORDS // len(partitions)))
        records: list[ConsumerRecord] = []
        waiting = {partition for partition in partitions if await consumer.position(partition) < end[partition]}
        while waiting:
            for partition, found in (await consumer.getmany(*waiting, timeout_ms=500)).items():
                records += found
                if await consumer.position(partition) >= end[partition]:
                    waiting.discard(partition)
                    consumer.pause(partition)
    except KafkaError as error:
        raise NothingToInfer(
            f"{topic}: no such file, and no topic that can be read at {bootstrap} ({error!r}); nothing was inferred"
        ) from error
    finally:
        await consumer.stop()
    return of_records(records, f"{topic} at {bootstrap}")


def of_records(records: list[ConsumerRecord], source: str) -> Sample:
    """Readings of telemetry records; what is no telemetry is counted. Raises NothingToInfer."""
    columns: dict[str, list[Any]] = {}
    times: list[int] = []
    assets: list[str] = []
    left_out = 0
    for record in records:
        try:
            decoded = decode(record.value, record.headers, record.key)
        except ReadingRefused:
            left_out += 1
            continue
        for telemetry in [decoded] if isinstance(decoded, Telemetry) else decoded.of_each(set(decoded.assets)):
            single = isinstance(telemetry.time_ns, int)
            own = [telemetry.time_ns] if isinstance(telemetry.time_ns, int) else telemetry.time_ns.tolist()
            for name, cell in telemetry.channels.items():
                column = columns.setdefault(name, [])
                column += [None] * (len(times) - len(column)) + ([cell] if single else list(cell))
            times += own
            assets += [telemetry.asset] * len(own)
    for column in columns.values():
        column += [None] * (len(times) - len(column))
    numeric = {name: column_values(column)[0] for name, column in columns.items()}
    numeric = {name: values for name, values in numeric.items() if not np.isnan(values).all()}
    if not numeric:
        raise NothingToInfer(
            f"{source}: {len(records)} records, {left_out} of them no telemetry, none with a number; nothing was inferred"
        )
    called = channel_names(numeric)
    return Sample(
        np.array(times, np.int64),
        np.array(assets),
        {called[name]: values for name, values in numeric.items()},
        {called[name]: name for name in numeric if called[name] != name},
        left_out,
    )

"""`livetwin type infer`: a twin type from a sample of telemetry, of files or of a topic, for a person to read and correct.

In:   CSV, Parquet, Arrow or JSON-lines files; or the newest records of a Kafka topic.
Out:  a DTDL interface, and what in it is guessed, with how sure and why.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
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
from streams.stated_units import FirstUnits
from twin.errors import LivetwinError, ReadingRefused
from twin.guessing import Guess
from twin.infer import channel_names, suggest_type

MOST_RECORDS = 20_000  # of a topic
MOST_WORDS = 16  # of a channel that is taken for an enumeration


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
    units: dict[str, str] = field(default_factory=dict)  # that the source stated, by channel
    stated_of: dict[str, set[str]] = field(default_factory=dict)  # channel → assets of which it was stated
    words: dict[str, list[str]] = field(default_factory=dict)  # of channels that came in words: values are positions in the list
    texts: tuple[str, ...] = ()  # columns of text that are no channels

    def of(self, assets: Collection[str]) -> Sample:
        """The readings of some assets; without the channels that none of them has."""
        rows = np.isin(self.asset, list(assets))
        columns = {name: values[rows] for name, values in self.columns.items()}
        columns = {name: values for name, values in columns.items() if not np.isnan(values).all()}
        units = {name: unit for name, unit in self.units.items() if not self.stated_of[name].isdisjoint(assets)}
        return replace(self, time_ns=self.time_ns[rows], asset=self.asset[rows], columns=columns, units=units)


def infer(sample: Sample, name: str) -> list[tuple[dict[str, Any], dict[str, list[Guess]]]]:
    """A type for each kind of asset, told apart by their channels, and what is guessed in each."""
    kinds, found = _kinds(sample), list[tuple[dict[str, Any], dict[str, list[Guess]]]]()
    for assets in kinds:
        part = sample.of(assets)
        called = name if len(kinds) == 1 else f"{name} {_common(assets) or f'kind {len(found) + 1}'}"
        found.append(
            suggest_type(called, part.columns, part.time_ns, part.asset, part.source_names, units=part.units, words=part.words)
        )
    return found


def _kinds(sample: Sample) -> list[list[str]]:
    """Assets by the channels they have, most channels first; one that lacks fewer than half of another's is of its kind."""
    of_channels: dict[frozenset[str], list[str]] = {}
    names = np.unique(sample.asset)
    code = np.searchsorted(names, sample.asset)
    has = {name: np.bincount(code[~np.isnan(values)], minlength=len(names)) > 0 for name, values in sample.columns.items()}
    for position, asset in enumerate(names.tolist()):
        of_channels.setdefault(frozenset(name for name, have in has.items() if have[position]), []).append(asset)
    kinds: list[tuple[frozenset[str], list[str]]] = []
    for channels, assets in sorted(of_channels.items(), key=lambda one: (-len(one[0]), sorted(one[0]))):
        same = next((known for known in kinds if channels <= known[0] and 2 * len(channels) > len(known[0])), None)
        if same is not None:
            same[1].extend(assets)
        else:
            kinds.append((channels, list(assets)))
    return [assets for _, assets in kinds]


def _common(assets: list[str]) -> str:
    """What the names of assets begin with, up to their numbers."""
    first, last = min(assets), max(assets)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return re.sub(r"[^A-Za-z]+$", "", re.sub(r"\d.*$", "", first[:same]))


def sample_files(files: list[Path], time_column: str | None = None, asset_column: str | None = None) -> Sample:
    """Readings of files of one kind of asset; columns of one name are one channel. Raises FileRefused."""
    parts = []
    for file in files:
        try:
            parts.append(to_readings(read_table(file, time_column), file.name.split(".")[0], time_column, asset_column))
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
        texts=tuple(dict.fromkeys(name for part in parts for name in part.left_out)),
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
    first, stated_of = FirstUnits(), dict[str, set[str]]()
    for record in records:
        try:
            decoded = decode(record.value, record.headers, record.key)
        except ReadingRefused:
            left_out += 1
            continue
        for telemetry in [decoded] if isinstance(decoded, Telemetry) else decoded.of_each(set(decoded.assets)):
            single = isinstance(telemetry.time_ns, int)
            own = [telemetry.time_ns] if isinstance(telemetry.time_ns, int) else telemetry.time_ns.tolist()
            for name, cell in first.taken(telemetry).items():
                column = columns.setdefault(name, [])
                column += [None] * (len(times) - len(column)) + ([cell] if single else list(cell))
            for name in telemetry.units:
                stated_of.setdefault(name, set()).add(telemetry.asset)
            times += own
            assets += [telemetry.asset] * len(own)
    for column in columns.values():
        column += [None] * (len(times) - len(column))
    words = {name: found for name, column in columns.items() if (found := _words(column))}
    for name, found in words.items():
        columns[name] = [None if cell is None else found.index(cell) for cell in columns[name]]
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
        {called[name]: unit for name, unit in first.units.items() if name in numeric},
        {called[name]: of for name, of in stated_of.items() if name in numeric},
        {called[name]: found for name, found in words.items()},
    )


def _words(column: list[Any]) -> list[str]:
    """The words of a column that holds nothing else, where they are few; none else."""
    came = {cell for cell in column if cell is not None} if all(isinstance(cell, str | None) for cell in column) else set()
    return sorted(came) if 0 < len(came) <= MOST_WORDS and all(0 < len(word) <= 64 for word in came) else []

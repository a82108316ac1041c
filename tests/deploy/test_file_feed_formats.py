"""`livetwin feed FILE --format …`: whatever its records are, the file makes the same twins."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy.cli import app
from deploy.feeds.file import run_file
from deploy.feeds.producer import Compression
from deploy.topics import ensure_topics
from streams import clients
from streams.decoding import decode
from streams.formats.arrow_writing import LARGEST_RECORD, by_partition, home_of
from streams.formats.readings import MAX_ASSET, Telemetry, TelemetryTable, latest_times
from streams.history import HistoryBlock
from streams.processor import ProcessorStats, run_processor
from streams.topics import Topics

START_S, STEPS, PARTITIONS = 1_700_000_000, 50, 3
ASSETS = [f"pump-{number}" for number in range(6)]
FORMATS: dict[str, Compression] = {"json": "gzip", "columns": "none", "cloudevents": "snappy", "arrow": "zstd"}


def table() -> pa.Table:
    step = np.repeat(np.arange(STEPS), len(ASSETS))
    flow = np.random.default_rng(3).normal(size=len(step)).round(3)
    heat = np.where(step % 7 == 3, np.nan, 40 + flow)
    columns = {"time": START_S + step, "asset": ASSETS * STEPS, "flow": flow, "heat": pa.array(heat, from_pandas=True)}
    return pa.table(columns).filter(pa.array(step % 11 != 5))


async def twins(kafka: str, topics: Topics, told: ProcessorStats, readings: int) -> dict[str, Any]:
    """Closed steps and last states of what a processor makes of the topic."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_processor(bootstrap=kafka, topics=topics, group=f"{topics.prefix}g", stop=stop, stats=told))
    async with asyncio.timeout(300):
        while told.counts["accepted"] < readings:
            await asyncio.wait([running], timeout=0.1)
            assert not running.done(), running.exception()
    stop.set()
    await running
    found: dict[str, Any] = {}
    for record in await clients.read_to_end(kafka, topics.history):
        block = HistoryBlock.from_bytes(record.value)
        for at, asset in enumerate(block.asset):
            found[f"{asset} {block.time_ns[at]}"] = (block.values[at].tobytes(), block.quality[at].tobytes(), record.partition)
    for record in await clients.read_to_end(kafka, topics.state):
        state = orjson.loads(record.value)
        found[state["asset"]] = {name: state[name] for name in ("type", "time_ns", "values", "quality", "partition")}
    return found


@pytest.mark.kafka
@pytest.mark.timeout(900)
async def test_a_file_makes_the_same_twins_in_every_format(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "pumps.parquet"
    pyarrow.parquet.write_table(table(), path)
    values = sum(len(column) - column.null_count for column in (table()["flow"], table()["heat"]))
    made: dict[str, dict[str, Any]] = {}
    for form, compression in FORMATS.items():
        topics, told = Topics(f"{topic_prefix}{form}."), ProcessorStats()
        await ensure_topics(kafka, topics, PARTITIONS)
        report = await run_file(
            bootstrap=kafka,
            topics=topics,
            path=path,
            form=form,
            compression=compression,
            stop=asyncio.Event(),  # type: ignore[arg-type]
        )
        assert (report.readings, report.assets) == (table().num_rows, len(ASSETS))
        sent = await clients.read_to_end(kafka, topics.telemetry)
        homes = {(asset, one.partition) for one in sent for asset, _ in latest_times(decode(one.value, one.headers, one.key))}
        assert homes == {(asset, home_of(asset, PARTITIONS)) for asset in ASSETS}
        kinds = Counter(type(decode(one.value, one.headers, one.key)) for one in sent)
        assert kinds.keys() == {TelemetryTable if form == "arrow" else Telemetry}
        assert (len(sent) == report.readings) == (form == "json")
        assert any(name == "ce_subject" for one in sent for name, _ in one.headers) == (form == "cloudevents")
        made[form] = await twins(kafka, topics, told, values)
        assert await clients.read_to_end(kafka, topics.dead_letter) == []
    assert len(made["json"]) > len(ASSETS) * (STEPS - 10)
    for form, found in made.items():
        assert found == made["json"], form


@settings(deadline=None)
@given(
    st.lists(st.text("aé漢", min_size=1, max_size=3), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
    st.integers(1, 4),
)
def test_a_table_that_is_written_by_partition_is_read_as_it_was(names: list[str], rows: list[int], partitions: int) -> None:
    assets = [names[row % len(names)] for row in rows]
    used = sorted(set(assets))
    code = np.array([used.index(asset) for asset in assets], np.int64)
    times, flow = (
        (START_S + np.arange(len(rows))) * 10**9,
        np.where(np.arange(len(rows)) % 3 == 1, np.nan, np.arange(len(rows)) / 4),
    )
    found = []
    for partition, stream in by_partition(TelemetryTable(tuple(used), code, times, {"flow": flow}), partitions):
        read = decode(stream)
        assert isinstance(read, TelemetryTable)
        assert {home_of(asset, partitions) for asset in read.assets} == {partition}
        found += zip((read.assets[one] for one in read.code), read.time_ns.tolist(), map(str, read.channels["flow"]), strict=True)
    assert sorted(found) == sorted(zip(assets, times.tolist(), map(str, flow), strict=True))


def test_a_table_too_large_for_a_record_is_written_as_several() -> None:
    rows = 60_000
    names = tuple("é" * (MAX_ASSET - 8) + f"{number:08}" for number in range(rows // 30))
    code = np.arange(rows) % len(names)
    table = TelemetryTable(names, code, np.arange(rows) + START_S * 10**9, {"flow": np.arange(rows) / 7})
    streams = [stream for _, stream in by_partition(table, 1)]
    assert max(map(len, streams)) <= LARGEST_RECORD
    assert sum(len(decode(stream).time_ns) for stream in streams) == rows  # type: ignore[arg-type]


def test_what_is_of_a_file_only_is_refused_for_other_feeds() -> None:
    said = CliRunner().invoke(app, ["feed", "host", "--format", "arrow"])
    assert said.exit_code == 2
    assert "--format" in said.output
    assert "nothing was fed" in said.output

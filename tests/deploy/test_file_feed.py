"""`livetwin feed FILE`: what of a file is sent, and that nothing of it vanishes without a word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.feeds.file import FileRefused, run_file
from deploy.feeds.file_columns import FileReadings, to_readings
from deploy.feeds.file_records import records
from deploy.feeds.file_table import FileTable, read_table
from deploy.topics import ensure_topics
from streams import clients
from streams.decoding import decode
from streams.definitions import read_definitions
from streams.topics import Topics
from twin.types import NS_PER_S

START_S = 1_700_000_000


def sent(path: Path, **columns: Any) -> tuple[FileTable, FileReadings, list[dict[str, Any]]]:
    source = read_table(path, columns.get("time_column"))
    readings = to_readings(source, path.name.split(".")[0], **columns)
    return source, readings, list(records(readings, 0, len(readings.time_ns)))


def cells(found: list[dict[str, Any]]) -> Iterator[tuple[str, int, str, float]]:
    """(asset, time, channel, value) of every number in the records, as the processor decodes them."""
    for record in found:
        telemetry = decode(orjson.dumps(record))
        times = [telemetry.time_ns] if isinstance(telemetry.time_ns, int) else telemetry.time_ns.tolist()
        for channel, values in telemetry.channels.items():
            for moment, value in zip(times, values if isinstance(values, list) else [values], strict=True):
                if value is not None:
                    yield telemetry.asset, moment, channel, value


def table(rows: int = 40) -> pa.Table:
    return pa.table(
        {
            "time": [START_S + row // 2 for row in range(rows)],
            "asset": [f"p{row % 2}" for row in range(rows)],
            "flow": [1.5 + row for row in range(rows)],
            "on": [row % 3 == 0 for row in range(rows)],
        }
    )


def laid_out_otherwise() -> pa.Table:
    """As data frames write it: categories, large strings."""
    plain = table()
    plain = plain.set_column(1, "asset", plain["asset"].cast(pa.large_string()).dictionary_encode())
    return plain.append_column("note", pa.array(["x"] * len(plain), pa.large_string()))


def in_columns() -> list[dict[str, Any]]:
    """Records as they stand on `telemetry`, the first pump's in two."""
    parts = [rows for pump in (0, 1) for rows in ([row for row in range(40) if row % 2 == pump],)]
    parts[:1] = [parts[0][:7], parts[0][7:]]
    cells = [table().take(rows).to_pydict() for rows in parts]
    return [{**one, "asset": one["asset"][0]} for one in cells]


@pytest.mark.parametrize(
    "name",
    ["p.csv", "p.csv.gz", "p.parquet", "frame.parquet", "p.jsonl", "p.json", "columns.jsonl", "one.json", "file.arrow", "p.ipc"],
)
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    path, suffix = tmp_path / name, name.partition(".")[2]
    rows = table().to_pylist()
    if suffix == "parquet":
        pyarrow.parquet.write_table(laid_out_otherwise() if name == "frame.parquet" else table(), path)
    elif suffix in ("arrow", "ipc"):
        new = pa.ipc.new_file if suffix == "arrow" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, new(sink, laid_out_otherwise().schema) as writer:
            writer.write_table(laid_out_otherwise())
    elif suffix.startswith("csv"):
        with pa.output_stream(str(path), compression="detect") as file:
            pyarrow.csv.write_csv(table().set_column(3, "on", table()["on"].cast(pa.int8())), file)
    elif name == "columns.jsonl":
        path.write_bytes(b"\n\n".join(orjson.dumps(row) for row in in_columns()))
    elif name == "one.json":
        path.write_bytes(orjson.dumps(table().to_pydict(), option=orjson.OPT_INDENT_2))
    else:
        path.write_bytes(orjson.dumps(rows) if suffix == "json" else b"\n".join(orjson.dumps(row) for row in rows))
    source, _, found = sent(path)
    expected = [(row["asset"], row["time"] * NS_PER_S, name, float(row[name])) for row in rows for name in ("flow", "on")]
    assert sorted(cells(found)) == sorted(expected)
    assert not source.rejected


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9000), st.sampled_from("abc"), st.one_of(st.none(), st.floats(-1e30, 1e30))),
        min_size=1,
        max_size=60,
    ).filter(lambda rows: any(row[2] is not None for row in rows))
)
def test_every_row_is_sent_once_in_order_of_time_or_counted(tmp_path: Path, rows: list[tuple[int, str, float | None]]) -> None:
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps({"time": START_S + at, "asset": name, "flow": flow}) for at, name, flow in rows))
    source, readings, found = sent(path)
    expected = sorted((name, (START_S + at) * NS_PER_S, "flow", flow) for at, name, flow in rows if flow is not None)
    assert sorted(cells(found)) == expected
    assert len(readings.time_ns) + source.rejected.total() == len(rows)
    assert (np.diff(readings.time_ns) >= 0).all()


def test_each_bad_row_is_counted_with_its_reason_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(
        "timestamp,device,value,note\n"  # line 1
        "2024-01-01T00:00:00Z,p1,1,\n"
        "soon,p1,2,\n"
        "2024-01-01T00:00:01Z,,3,\n"
        "2024-01-01T00:00:02Z,p1\n"
        "2024-01-01T00:00:03Z,p1,x,\n"
        "2024-01-01T00:00:04Z,p1,5,hello\n"
    )
    source, readings, found = sent(path)
    assert [value for *_, value in cells(found)] == [1, 5]
    assert dict(source.rejected) == {"time": 1, "asset": 1, "columns": 1, "cell": 1, "empty": 1}
    assert {reason: words.split(":")[0] for reason, words in source.first_rejected.items()} == {
        "time": "line 3",
        "asset": "line 4",
        "columns": "line 5",
        "cell": "line 6",
        "empty": "line 6",
    }
    assert readings.left_out == ("note",)


def test_bad_lines_of_columns_are_counted_with_their_own_line(tmp_path: Path) -> None:
    path = tmp_path / "columns.jsonl"
    lines = (
        {"at": [START_S, START_S + 1], "asset": "p1", "flow": [1, 2]},
        {"at": [START_S + 2], "asset": "p1", "flow": [1, 2]},
        {"at": [], "flow": []},
        {"at": [START_S + 3, "soon"], "asset": "p1", "flow": [3, 4]},
    )
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    source, _, found = sent(path, time_column="at")
    assert [value for *_, value in cells(found)] == [1, 2, 3]
    assert source.first_rejected["shape"] == "line 2: flow holds 2 cells, expected 1 as at does"
    assert source.first_rejected["time"].startswith("line 4: time is 'soon'")


def test_a_spreadsheet_of_wall_clock_times_and_decimal_commas_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "Kessel 2.csv"
    path.write_bytes("Date;Vorlauf (°C);time\n2014-02-14 14:35:00;71,5;1\n2014-02-14 14:30:00;70,25;2\n".encode("latin-1"))
    source, readings, found = sent(path, time_column="Date")
    assert found == [{"asset": "Kessel 2", "time": [1392388200, 1392388500], "Vorlauf_C": [70.25, 71.5], "time_2": [2.0, 1.0]}]
    assert readings.renamed == {"Vorlauf (°C)": "Vorlauf_C", "time": "time_2"}
    assert readings.backwards == 1
    assert any("UTC" in note for note in source.notes)


def test_a_running_number_is_not_taken_for_an_asset(tmp_path: Path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("id,time,flow\n" + "".join(f"{row},{START_S + row},1\n" for row in range(30)))
    source, readings, _ = sent(path)
    assert readings.asset_column is None
    assert set(readings.asset) == {"meter"}
    assert any("row number" in note for note in source.notes)


@pytest.mark.parametrize(
    ("name", "text", "columns", "words"),
    [
        ("none.csv", None, {}, "no such file"),
        ("book.xls", "x", {}, "format '.xls' is not known"),
        ("empty.csv", "", {}, "empty"),
        ("head.csv", "time,flow\n", {}, "no row"),
        ("twice.csv", "time,flow,flow\n1,2,3\n", {}, "more than once"),
        ("timeless.csv", "a,b\n1,2\n", {}, "no time column among a, b"),
        ("typo.csv", "time,flow\n1,2\n", {"time_column": "tine"}, "'tine' is not in the file"),
        ("words.csv", "time,note\n1,hello\n", {}, "no column of numbers"),
        ("late.csv", "time,flow\nnever,2\n", {}, "no row has a time"),
        ("fake.parquet", "not parquet", {}, "could not be read"),
    ],
)
def test_a_file_that_can_not_be_fed_is_refused_with_words(
    tmp_path: Path, name: str, text: str | None, columns: dict[str, str], words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(FileRefused, match=words):
        sent(tmp_path / name, **columns)


@pytest.mark.kafka
async def test_a_file_becomes_twins_with_an_inferred_type_and_a_declared_asset_keeps_its_own(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    path = tmp_path / "pumps.parquet"
    pyarrow.parquet.write_table(table(), path)
    report = await run_file(bootstrap=kafka, topics=topics, path=path, stop=asyncio.Event())
    assert (report.readings, report.assets, report.rejected) == (40, 2, {})
    definitions = await read_definitions(kafka, topics)
    kind = definitions.type_of("p0")
    assert kind is not None
    assert (kind.id, kind.channel_names, kind.period_ns) == ("dtmi:livetwin:inferred:Pumps;1", ("flow", "on"), NS_PER_S)

    other = tmp_path / "other.parquet"
    pyarrow.parquet.write_table(table(), other)
    started = time.monotonic()
    report = await run_file(bootstrap=kafka, topics=topics, path=other, speed=10, stop=asyncio.Event())
    assert time.monotonic() - started > 1.5  # nineteen event seconds at ten a second
    assert (await read_definitions(kafka, topics)).type_of("p0") == kind
    found = [orjson.loads(record.value) for record in await clients.read_to_end(kafka, topics.telemetry)]
    rows = table().to_pylist()
    once = [(row["asset"], row["time"] * NS_PER_S, name, float(row[name])) for row in rows for name in ("flow", "on")]
    assert sorted(cells(found)) == sorted(once * 2)


@pytest.mark.kafka
async def test_a_paced_file_stops_when_told_and_says_what_was_not_sent(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 2)
    path = tmp_path / "pumps.parquet"
    pyarrow.parquet.write_table(table(), path)
    stop = asyncio.Event()
    feed = asyncio.create_task(run_file(bootstrap=kafka, topics=topics, path=path, speed=1, stop=stop))
    async with asyncio.timeout(120):
        while not await clients.read_to_end(kafka, topics.telemetry):
            assert not feed.done()
    stop.set()
    report = await feed
    assert 0 < report.readings < 40
    assert any("were not sent" in line for line in report.lines)

"""Arrow records of many assets: the same twins as JSON makes, and a reason for everything that can't be used."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from streams.decoding import decode
from streams.definitions import Definitions
from streams.folded import Folded
from streams.folding import Folder
from streams.formats.limits import MAX_ARROW_BYTES, MAX_CHANNELS, MAX_READINGS, MAX_VALUES
from streams.formats.readings import TelemetryTable
from tests.streams.formats.wire import declared, record, rows, stream, table
from tests.streams.plant import START, TYPE
from twin.errors import ReadingRefused


def closed(folded: list[Folded], folder: Folder) -> dict[Any, Any]:
    """Closed steps by asset and step: values and quality."""
    found = {}
    for one in (steps for each in folded for steps in each.closed):
        assets = folder.arenas[one.type.id].asset_of
        for at in range(len(one)):
            found[assets[one.row[at]], int(one.step[at])] = (one.values[at].tobytes(), one.quality[at].tobytes())
    return found


def refused(value: bytes, folder: Folder | None = None) -> list[tuple[str, str]]:
    out = (folder or Folder(declared("p1", "p2"))).fold([record(0, value)])
    return [(one.reason, one.message) for one in out.refused]


def decoded(columns: dict[str, Any], **how: Any) -> TelemetryTable:
    found = decode(table(columns, **how))
    assert isinstance(found, TelemetryTable)
    return found


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("parts", [1, 7])
def test_an_arrow_record_makes_the_twins_that_json_makes(compression: str | None, parts: int) -> None:
    rng = np.random.default_rng(3)
    assets = [f"p{n % 5}" for n in range(200)]
    seconds = [n // 5 for n in range(200)]
    flow, heat = rng.normal(size=200), rng.normal(size=200)
    json_records = [
        record(n, orjson.dumps({"asset": assets[n], "time": START + seconds[n], "flow": float(flow[n]), "heat": float(heat[n])}))
        for n in range(200)
    ]
    by_json, by_arrow = Folder(declared(*set(assets))), Folder(declared(*set(assets)))
    singly = [by_json.fold(json_records)]
    found = [by_arrow.fold([record(0, table(rows(assets, seconds, flow=flow, heat=heat), parts=parts, compression=compression))])]
    assert found[0].refused == []
    assert found[0].counts["accepted"] == singly[0].counts["accepted"] == 400
    assert closed(found, by_arrow) == closed(singly, by_json)
    assert len(closed(found, by_arrow)) > 150


SECONDS = pa.array([START, START + 1], pa.int64())
NANOSECONDS = np.array([START, START + 1]) * 10**9


@pytest.mark.parametrize(
    "times",
    [
        SECONDS,
        pa.array([START * 1000, (START + 1) * 1_000_000]),  # told apart one by one
        pa.array(NANOSECONDS, pa.uint64()),
        SECONDS.cast(pa.int32()),
        SECONDS.cast(pa.timestamp("s")),
        SECONDS.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("ms", "UTC")),
        SECONDS.cast(pa.timestamp("s")).cast(pa.timestamp("us", "Europe/Zurich")),
        pa.array(NANOSECONDS).cast(pa.timestamp("ns", "UTC")),
        pa.array(["2023-11-14T22:13:20Z", "2023-11-14T23:13:21+01:00"]),
        pa.array(["2023-11-14T22:13:20.0Z", "2023-11-14 23:13:21.000000000+01:00"]),
        pa.array(["2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z"], pa.large_string()),
    ],
    ids=lambda one: str(one.type),
)
def test_a_time_may_be_a_timestamp_of_any_unit_an_integer_or_text(times: pa.Array) -> None:
    assert decoded({"asset": ["p1", "p2"], "time": times, "flow": [1.0, 2.0]}).time_ns.tolist() == NANOSECONDS.tolist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0, 1], pa.int8()),
        pa.array([1, 0, 1], pa.uint64()),
        pa.array([1, 0, 1], pa.int64()),
        pa.array(np.array([1, 0, 1], np.float16)),
        pa.array([1, 0, 1], pa.float32()),
        pa.array([1, 0, 1], pa.float64()),
        pa.array([True, False, True]),
        pa.array([1, 0, 1], pa.int64()).cast(pa.decimal128(20, 0)),
    ],
    ids=lambda one: str(one.type),
)
@pytest.mark.parametrize("nulls", [False, True])
def test_a_channel_may_be_of_any_numeric_type_and_null_or_nan_is_an_empty_cell(column: pa.Array, nulls: bool) -> None:
    expected = [1.0, 0.0, 1.0]
    if nulls:
        column, expected = pa.concat_arrays([column, pa.nulls(1, column.type)]), [*expected, float("nan")]
        if pa.types.is_floating(column.type):
            column, expected = (
                pa.concat_arrays([column, pa.array(np.array([np.nan], column.type.to_pandas_dtype()))]),
                [*expected, float("nan")],
            )
    found = decoded(rows(["p1"] * len(expected), range(len(expected)), flow=column))
    assert np.array_equal(found.channels["flow"], expected, equal_nan=True)
    assert found.flaws == ()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_assets_may_be_plain_or_dictionary_text_in_several_batches(kind: pa.DataType) -> None:
    names = ["p2", "p1", "p2", "p3", None, ""]
    asset = pa.array(names).dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else pa.array(names, kind)
    found = decoded(rows(names, range(6), flow=range(6)) | {"asset": asset}, parts=3)
    assert [found.assets[code] for code in found.code] == ["p2", "p1", "p2", "p3"]
    assert found.channels["flow"].tolist() == [0, 1, 2, 3]
    assert [(flaw.reason, "2 rows" in flaw.message) for flaw in found.flaws] == [("asset", True)]


def test_unused_names_of_a_dictionary_are_no_assets() -> None:
    asset = pa.DictionaryArray.from_arrays(pa.array([1, 1], pa.int8()), pa.array(["ghost", "p1"]))
    assert decoded(rows([], [], flow=[1, 2]) | {"asset": asset, "time": [START, START + 1]}).assets == ("p1",)


def test_bad_rows_and_columns_are_named_and_the_rest_is_used() -> None:
    folder = Folder(declared("p1", "p2"))
    columns = rows(["p1", "p2", None, "p1"], [0, 0, 0, 1], flow=[1.0, float("inf"), 1.0, 1e39], heat=[1, 2, 3, 4])
    columns["time"][3] = -5
    out = folder.fold([record(0, table(columns | {"site": ["a"] * 4, "colour": [1, None, None, None]}))])
    ((reason, message),) = [(one.reason, one.message) for one in out.refused]
    assert reason == "asset"
    for part in ("1 rows name no asset", "row 2", "1 rows have no usable time", "flow: 1 values", "'site' is string", "'colour'"):
        assert part in message
    assert out.counts["accepted"] == 3


def test_types_meet_in_one_record_and_each_takes_its_own_channels() -> None:
    definitions = declared("p1")
    interface = {"@id": "dtmi:livetwin:test:Fan;1", "@type": "Interface", "maxAhead": None}
    interface["contents"] = [{"@type": "Telemetry", "name": "rpm", "schema": "double"}]
    definitions.apply(b"type/dtmi:livetwin:test:Fan;1", orjson.dumps(interface))
    definitions.apply(b"twin/fan", orjson.dumps({"asset": "fan", "type": "dtmi:livetwin:test:Fan;1"}))
    folder = Folder(definitions)
    out = folder.fold([record(0, table(rows(["p1", "fan"], [0, 0], flow=[1, None], heat=[2, None], rpm=[None, 9])))])
    assert out.refused == []
    assert out.counts["accepted"] == 3
    out = folder.fold([record(1, table(rows(["p1", "fan"], [1, 1], flow=[1, None], heat=[2, None], rpm=[7, 9])))])
    assert [(one.reason, "'p1' have no channel 'rpm'" in one.message) for one in out.refused] == [("unknown-channel", True)]
    assert out.counts["accepted"] == 3


def test_unknown_assets_of_a_table_get_twins_of_the_type_that_fits_and_others_one_that_is_inferred() -> None:
    folder = Folder(declared("p1"))
    assets = [name for second in range(8) for name in ("p1", "new", "odd")]
    seconds = [second for second in range(8) for _ in range(3)]
    flow = [float(n) if name != "odd" else None for n, name in enumerate(assets)]
    rpm = [1.0 if name == "odd" else None for name in assets]
    first = {name: value[:9] for name, value in rows(assets, seconds, flow=flow, heat=flow, rpm=rpm).items()}
    out = folder.fold([record(0, table(first))])
    assert out.counts["accepted"] == 12
    assert [key for key, _ in out.definitions] == [b"twin/new"]
    assert folder.placing.oldest_offset(0) == 0
    rest = {name: value[9:] for name, value in rows(assets, seconds, flow=flow, heat=flow, rpm=rpm).items()}
    out = folder.fold([record(1, table(rest))])
    assert out.counts["accepted"] == 2 * 10 + 8
    assert [key.split(b"/")[0] for key, _ in out.definitions] == [b"type", b"twin"]
    assert out.refused == []


def test_assets_that_come_on_a_second_partition_are_named_and_the_others_are_used() -> None:
    folder = Folder(declared("p1", "p2", "p3"))
    folder.fold([record(0, table(rows(["p1", "p2"], [0, 0], flow=[1, 1])))])
    out = folder.fold([record(0, table(rows(["p1", "p2", "p3"], [1, 1, 1], flow=[1, 1, 1])), partition=1)])
    ((reason, message),) = [(one.reason, one.message) for one in out.refused]
    assert reason == "partition"
    assert "2 assets ('p1', 'p2')" in message
    assert (out.counts["accepted"], out.counts["other-partition"]) == (1, 2)


def test_late_values_of_many_assets_are_one_refusal() -> None:
    folder = Folder(declared("p1", "p2"))
    folder.fold(
        [record(0, table(rows(["p1", "p2"], [0, 0], flow=[1, 1]))), record(1, table(rows(["p1", "p2"], [90, 90], flow=[1, 1])))]
    )
    out = folder.fold([record(2, table(rows(["p1", "p2", "p1"], [1, 1, 91], flow=[5, 5, 5])))])
    assert [(one.reason, "2 values of 'p1', 'p2'" in one.message) for one in out.refused] == [("late", True)]
    assert out.counts["accepted"] == 1


# ── streams that lie or are cut ─────────────────────────────────────────────────────────────────────────────────────

WHOLE = table(rows(["p1"] * 50, range(50), flow=np.arange(50.0)), compression="zstd")


@pytest.mark.parametrize("kept", [4, 8, 20, 100, len(WHOLE) // 2, len(WHOLE) - 9])
def test_a_cut_stream_is_refused(kept: int) -> None:
    assert [reason for reason, _ in refused(WHOLE[:kept])] == ["arrow"]


def test_bytes_after_the_end_of_a_stream_are_not_dropped_unseen() -> None:
    ((reason, message),) = refused(WHOLE + WHOLE)
    assert (reason, "after the end" in message) == ("arrow", True)


def test_a_compressed_buffer_that_claims_gigabytes_is_refused_before_it_is_made() -> None:
    claim = struct.pack("<q", 50 * 8)  # of the time column, and of flow
    at = WHOLE.rindex(claim)
    bomb = WHOLE[:at] + struct.pack("<q", MAX_ARROW_BYTES * 1000) + WHOLE[at + 8 :]
    ((reason, message),) = refused(bomb)
    assert (reason, "when decompressed" in message) == ("size", True)


def test_rows_without_buffers_are_bounded() -> None:
    ((reason, _),) = refused(stream(pa.table({"asset": pa.nulls(MAX_READINGS + 1), "time": pa.nulls(MAX_READINGS + 1)})))
    assert reason == "size"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (rows(["p1"] * (MAX_READINGS + 1), range(MAX_READINGS + 1), flow=np.zeros(MAX_READINGS + 1)), "size"),
        (rows(["p1"], [0], **{f"c{n}": [1] for n in range(MAX_CHANNELS + 1)}), "size"),
        (rows(["p1"] * 3000, range(3000), **{f"c{n}": np.zeros(3000, np.int8) for n in range(MAX_VALUES // 3000 + 1)}), "size"),
        (rows([], [], flow=[]), "size"),
        ({"time": [START], "flow": [1]}, "asset"),
        ({"asset": [7], "time": [START], "flow": [1]}, "asset"),
        ({"asset": ["p1"], "flow": [1]}, "time"),
        ({"asset": ["p1"], "time": [1.5], "flow": [1]}, "time"),
        ({"asset": ["p1"], "time": ["yesterday"], "flow": [1]}, "time"),
        ({"asset": ["p" * 257], "time": [START], "flow": [1]}, "asset"),
        ({"asset": [None], "time": pa.array([None], pa.int64()), "flow": [1]}, "asset"),
    ],
)  # fmt: skip
def test_a_table_that_is_none_of_readings_is_refused(columns: dict[str, Any], reason: str) -> None:
    assert [found for found, _ in refused(table(columns, compression="zstd"))] == [reason]


def test_a_column_that_comes_twice_is_refused() -> None:
    twice = pa.table([pa.array(["p1"]), pa.array([START]), pa.array([1]), pa.array([2])], names=["asset", "time", "flow", "flow"])
    ((reason, message),) = refused(stream(twice))
    assert (reason, "repeat" in message) == ("arrow", True)


def test_a_dictionary_index_out_of_its_bounds_is_refused() -> None:
    asset = pa.DictionaryArray.from_arrays(pa.array([0, 99], pa.int8()), pa.array(["p1"]), safe=False)
    value = stream(pa.table({"asset": asset, "time": [START, START + 1], "flow": [1.0, 2.0]}))
    assert [reason for reason, _ in refused(value)] == ["arrow"]


def test_json_that_says_to_be_arrow_and_arrow_that_says_to_be_json_are_refused() -> None:
    with pytest.raises(ReadingRefused, match="Arrow"):
        decode(b'{"asset":"p1","time":1,"flow":1}', [("content-type", b"application/vnd.apache.arrow.stream")])
    with pytest.raises(ReadingRefused, match="JSON"):
        decode(WHOLE, [("content-type", b"application/json")])


def test_a_type_is_inferred_from_channels_that_can_be_declared_only() -> None:
    folder = Folder(Definitions())
    out = folder.fold([record(0, table(rows(["x"] * 8, range(8), rpm=range(8), **{"l/s": range(8)})))])
    assert [(one.reason, "'l/s'" in one.message) for one in out.refused] == [("unknown-channel", True)]
    assert out.counts["accepted"] == 8
    assert TYPE.id not in folder.arenas

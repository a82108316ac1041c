"""Files as data sets of the field come: without times, without a header, with labels, in odd times; each row is a reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from deploy.feeds.file_table import FileRefused
from deploy.score_input import Input, read_input
from deploy.score_table import StepScores, score_table
from twin.infer import infer_period, infer_type
from twin.types import NS_PER_S, compile_type

ROWS = 60


def read(path: Path, text: str | bytes, **columns: str | None) -> Input:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_input(path, time_column=columns.get("time_column"), asset_column=columns.get("asset_column"))


def lines(header: str, row: str) -> str:
    """`row` is formatted with `i` from 0 on."""
    return (
        "\n".join([header, *(row.format(i=i, before=i - 100, half=i / 2, tenth=f"{i % 7}.5") for i in range(ROWS))]).lstrip("\n")
        + "\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "channels", "period_s"),
    [
        ("labels.csv", lines("Data,Label", "{tenth},0"), ["Data"], 1),
        ("index.csv", lines(",value", "{i},{tenth}"), ["value"], 1),
        ("numbered.csv", lines("Unnamed: 0,value", "{i},{tenth}"), ["value"], 1),
        ("bare.csv", lines("", "{tenth},{half}"), ["c1", "c2"], 1),
        ("bare.txt", lines("", "  {tenth}e+00"), ["c1"], 1),
        ("blanks.txt", lines("", "  {tenth}   {half}"), ["c1", "c2"], 1),
        ("frame.csv", lines("0,1", "{tenth},{half}"), ["c_0", "c_1"], 1),
        ("array.out", lines("", "{tenth},{half}"), ["c1", "c2"], 1),
        ("minutes.csv", lines("timestamp_(min),f", "{i}.0,{tenth}"), ["f"], 60),
        ("counted.csv", lines("timestamps,value,is_anomaly", "{i},{tenth},0"), ["value"], 1),
        ("below.csv", lines("time,value", "{before},{tenth}"), ["value"], 1),
        ("spread.csv", lines("timestamp,value", "7/1/2014 0:{i:02d},{tenth}"), ["value"], 60),
        ("plant.csv", lines(" Timestamp,FIT101,Normal/Attack", " 28/12/2015 10:00:{i:02d} AM,{tenth},Normal"), ["FIT101"], 1),
        ("milliseconds.csv", lines("time,value", "0.{i:03d},{tenth}"), ["value"], 0.001),
        ("coarse.csv", "time,value\n" + "".join(f"{i // 3},{i % 7}\n" for i in range(ROWS)), ["value"], 1),
    ],
)
def test_every_row_is_a_step_of_its_own(tmp_path: Path, name: str, text: str, channels: list[str], period_s: float) -> None:
    found = read(tmp_path / name, text)
    assert list(found.readings.channels) == channels
    assert len(found.time_ns) == ROWS
    period = infer_period(found.readings.time_ns)
    assert period == period_s * NS_PER_S
    assert (np.diff(found.readings.time_ns // period) == 1).all()


def test_arrays_of_numpy_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "spacecraft.npy", np.arange(2 * ROWS).reshape(ROWS, 2) % 7.0)
    found = read_input(tmp_path / "spacecraft.npy", time_column=None, asset_column=None)
    assert (list(found.readings.channels), len(found.time_ns)) == (["c1", "c2"], ROWS)
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    with pytest.raises(FileRefused, match="expected an array of numbers"):
        read_input(tmp_path / "cube.npy", time_column=None, asset_column=None)


def test_labels_do_not_reach_the_model_and_a_measured_channel_of_such_a_name_does(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", lines("time,value,Label,anomaly_index", "{i},{tenth},0,{half}"))
    assert list(found.readings.channels) == ["value", "anomaly_index"]
    assert any("'Label' holds labels" in note for note in found.notes)


def test_small_changes_of_large_values_survive(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", lines("time,value", "{i},160000000{i:02d}.25"))
    assert np.diff(found.readings.channels["value"].astype(np.float32)).tolist() == [1.0] * (ROWS - 1)


def test_the_table_has_each_row_of_the_file_in_its_order(tmp_path: Path) -> None:
    """Times that go back, and rows that hold nothing: these have the scores of the step before."""
    order = [0, 1, 3, 2, 4, 5]
    text = "time,value\n" + "".join(f"{1000 + 60 * i},{'' if i in (0, 4) else i}\n" for i in order)
    file = read(tmp_path / "a.csv", text)
    kind = compile_type(infer_type("a", file.readings.channels, file.readings.time_ns))
    first = (1000 * NS_PER_S) // kind.period_ns
    steps = np.array([1, 2, 3, 5])
    number = steps.astype(np.float32)
    scores = StepScores(["a"] * 4, [first + steps], [number], [number], [number.astype(np.int8)], [np.zeros(4, np.int64)])
    table = score_table(file, kind, scores)
    assert table.column("score").to_pylist() == [1, 1, 3, 2, 3, 5]
    seconds = table.column("time").cast(pa.timestamp("s", "UTC")).cast(pa.int64())
    assert seconds.to_pylist() == [1000 + 60 * i for i in order]

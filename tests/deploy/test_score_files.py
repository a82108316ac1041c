"""`livetwin score`: every reading of a file gets a score, the strange ones the highest, and the same again the next time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.feeds.file_table import FileRefused
from deploy.score import called

ROWS, FAULT = 1500, 1200
START_S = 1_767_571_200


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two channels every ten seconds; the heat is off for a hundred rows."""
    rng = np.random.default_rng(3)
    phase = np.arange(ROWS) / 15
    flow, heat = np.sin(phase) + rng.normal(0, 0.1, ROWS), 20 + 3 * np.cos(phase) + rng.normal(0, 0.2, ROWS)
    heat[FAULT : FAULT + 100] += 6
    times = np.datetime64(START_S, "s") + 10 * np.arange(ROWS)
    path = tmp_path / "boiler.csv"
    path.write_text("timestamp,flow,heat\n" + "\n".join(f"{t}Z,{a},{b}" for t, a, b in zip(times, flow, heat, strict=True)))
    return path


@pytest.mark.slow
def test_every_reading_gets_a_score_and_the_fault_the_highest(csv: Path) -> None:
    out = csv.parent / "scores.parquet"
    again = csv.parent / "again.csv"
    for target in (out, again):
        result = CliRunner().invoke(app, ["score", str(csv), "--train", "900", "--out", str(target)])
        assert result.exit_code == 0, result.output
    table = pyarrow.parquet.read_table(out)
    assert table.column_names == ["time", "asset", "score", "risk", "alert", "top_channel"]
    assert len(table) == ROWS
    score = table.column("score").to_numpy()
    assert np.isfinite(score).all()
    calm = score[900:FAULT]
    assert np.median(score[FAULT : FAULT + 20]) > np.quantile(calm, 0.99)
    assert table.column("alert").to_numpy()[FAULT : FAULT + 20].any()
    assert not table.column("alert").to_numpy()[900:FAULT].any()
    assert table.column("top_channel").to_pylist()[FAULT + 1] == "heat"
    assert pyarrow.csv.read_csv(again).column("score").to_numpy() == pytest.approx(score, rel=1e-6)


def test_too_few_normal_rows_are_refused_with_the_number(csv: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(csv), "--train", "20", "--out", str(csv.parent / "x.csv")])
    assert isinstance(result.exception, FileRefused)
    assert "the first 20 rows can't be learnt from" in result.output
    assert "1 of 1 files were not scored" in str(result.exception)


def test_one_file_for_several_inputs_is_refused(csv: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(csv), str(csv), "--out", str(csv.parent / "x.csv")])
    assert isinstance(result.exception, FileRefused)
    assert "expected a folder" in str(result.exception)


def test_a_file_with_long_gaps_is_learnt_from_all_of_its_first_rows(tmp_path: Path) -> None:
    steps = np.flatnonzero(np.arange(1200) % 4 < 3)  # never four steps in a row, so the first 150 rows span 200 steps
    steps[60:] += 3_000
    times = np.datetime64(START_S, "s") + 300 * steps
    value = 10 + np.random.default_rng(4).normal(0, 1, len(steps))
    value[700:] += 30
    path = tmp_path / "gaps.csv"
    path.write_text("timestamp,value\n" + "\n".join(f"{t}Z,{v:.4f}" for t, v in zip(times, value, strict=True)) + "\n")
    result = CliRunner().invoke(app, ["score", str(path), "--train", "150", "--out", str(tmp_path / "scores.csv")])
    assert result.exit_code == 0, result.output
    score = pyarrow.csv.read_csv(tmp_path / "scores.csv").column("score").to_numpy()
    assert score[700] > score[150:700].max()  # a value never seen
    assert score[700] > score[701:].max()


@pytest.mark.slow
def test_a_file_of_numbers_alone_is_scored_row_by_row(tmp_path: Path) -> None:
    """No times, no header, holes, a short record: the first 15 % would be too few to learn from."""
    value = np.sin(np.arange(400) / 5) + np.random.default_rng(5).normal(0, 0.1, 400)
    value[300] += 8
    cells = np.where(np.isin(np.arange(400), [1, 120, 121, 122, 399]), "", value.round(4).astype(str))
    path = tmp_path / "bare.csv"
    path.write_text("\n".join(f"{cell},{0.5 * (at % 3)}" if cell else "," for at, cell in enumerate(cells.tolist())) + "\n")
    result = CliRunner().invoke(app, ["score", str(path), "--out", str(tmp_path / "out.csv")])
    assert result.exit_code == 0, result.output
    assert "rows count as one a second" in result.output
    score = pyarrow.csv.read_csv(tmp_path / "out.csv").column("score").to_numpy()
    assert len(score) == 400
    assert np.isfinite(score).all()
    assert score[100:].argmax() == 200


def test_files_that_share_a_name_up_to_the_first_dot_have_scores_of_their_own() -> None:
    files = [Path("a/smd.1.csv"), Path("a/smd.2.csv"), Path("b/psm.csv")]
    assert [called(one, files) for one in files] == ["smd.1", "smd.2", "psm"]

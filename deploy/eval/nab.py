"""The Numenta Anomaly Benchmark: its files as they are published, and livetwin's scores of them.

In:   a folder with `data/` and `labels/combined_windows.json`, as in the benchmark's repository; `reference/`, where there is
      one, holds another detector's scores with the figures the benchmark gave it.
Out:  labelled series; the score of each row, by the code of `livetwin score`, with one setting for all series and no label read.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow.csv
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from deploy.eval.nab_scoring import LabelledSeries
from deploy.score import score_file
from twin.errors import LivetwinError

ALARMS_PER_TWIN_DAY = 0.02  # of the score's own alerts, which the benchmark does not look at
FETCH = "git clone --depth 1 https://github.com/numenta/NAB build/nab && make eval NAB=build/nab"


class BenchmarkMissing(LivetwinError):
    """The benchmark's files are not where they were expected; the message says how to get them."""


@dataclass(frozen=True, slots=True)
class NabSeries:
    """One file of the benchmark with its windows."""

    path: Path
    labelled: LabelledSeries


def read_corpus(folder: Path) -> list[NabSeries]:
    """All series that have labels, by name.

    Raises:
        BenchmarkMissing: labels or a series are not there, or a window does not begin and end at a row.
    """
    labels = folder / "labels" / "combined_windows.json"
    if not labels.is_file():
        raise BenchmarkMissing(f"{labels} is not there, expected the Numenta Anomaly Benchmark in {folder} (get it: {FETCH})")
    found = []
    for name, windows in sorted(orjson.loads(labels.read_bytes()).items()):
        path = folder / "data" / name
        if not path.is_file():
            raise BenchmarkMissing(f"{path} is not there, but {labels} has its windows; nothing was scored (get it: {FETCH})")
        times = pyarrow.csv.read_csv(path).column("timestamp").to_numpy().astype("datetime64[ns]")
        rows = []
        for ends in windows:
            at = [np.flatnonzero(times == np.datetime64(moment)) for moment in ends]
            if not (len(at[0]) and len(at[1])):
                raise BenchmarkMissing(f"{path} has no row at both ends of the window {ends} of {labels}; nothing was scored")
            rows.append((int(at[0][0]), int(at[1][0])))
        found.append(NabSeries(path, LabelledSeries(name, len(times), tuple(rows))))
    return found


def livetwin_scores(series: NabSeries, seed: int) -> NDArray[np.float64]:
    """The column `score` of `livetwin score --train <probationary period>`, in the order of the file."""
    with Progress(disable=True, console=Console(quiet=True)) as progress:
        table = score_file(
            series.path,
            train_rows=series.labelled.probation,
            seed=seed,
            alarms_per_twin_day=ALARMS_PER_TWIN_DAY,
            asset_column=None,
            time_column=None,
            progress=progress,
        )
    return np.asarray(table.column("score").to_numpy(), np.float64)


@dataclass(frozen=True, slots=True)
class Reference:
    """Scores of another detector with the benchmark's own figures of them, to hold this scorer against."""

    name: str
    scores: dict[str, NDArray[np.float64]]  # by series
    standard: float  # normalised
    by_series: dict[str, float]  # raw, standard profile


def read_reference(folder: Path) -> Reference | None:
    """The windowed Gaussian detector's, where `reference/` has it."""
    path = folder / "reference" / "windowedGaussian.csv.gz"
    if not path.is_file():
        return None
    name = path.name.split(".")[0]
    table = pyarrow.csv.read_csv(path)
    files = np.asarray(table.column("file").to_pylist())
    scores = table.column("anomaly_score").to_numpy()
    published = orjson.loads((path.parent / "final_results.json").read_bytes())[name]["standard"]
    with open(path.parent / f"{name}_standard_scores.csv", newline="") as file:
        by_series = {row["File"]: float(row["Score"]) for row in csv.DictReader(file) if row["File"]}
    return Reference(name, {one: scores[files == one] for one in by_series}, published, by_series)

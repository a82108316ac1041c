"""The table that `livetwin score` writes: a row for each row of the file, in the order of the file.

In:   scores of closed steps (`deploy.score`), and which rows came when (`deploy.score_input`).
Out:  columns time, asset, score, risk, alert, top_channel; CSV or Parquet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from deploy.score_input import Input
from twin.types import TwinType


@dataclass(slots=True)
class StepScores:
    """What each closed step got, by asset and step."""

    asset: list[str]
    step: list[NDArray[np.int64]]
    score: list[NDArray[np.float32]]
    risk: list[NDArray[np.float32]]
    alert: list[NDArray[np.int8]]
    top: list[NDArray[np.int64]]


def score_table(file: Input, kind: TwinType, scores: StepScores) -> pa.Table:
    """A row a reading: the scores of the step it fell into, of the one before where nothing was in it."""
    readings = file.readings
    names, code = np.unique(readings.asset.astype(str), return_inverse=True)
    at = np.searchsorted(names, np.array(scores.asset, dtype=names.dtype))
    step = np.concatenate(scores.step)
    low = int(step.min())
    width = int(step.max()) - low + 1
    keys = at * width + (step - low)
    order = np.argsort(keys)
    wanted = code * width + (readings.time_ns // kind.period_ns - low)
    before = np.maximum(np.searchsorted(keys[order], wanted, side="right") - 1, np.searchsorted(at[order], code))
    in_file = np.argsort(readings.row)
    found = order[before][in_file]
    top = np.concatenate(scores.top)[found]
    channels = np.array([*kind.channel_names, ""], dtype=object)
    return pa.table(
        {
            "time": pa.array(file.time_ns[in_file], pa.int64()).cast(pa.timestamp("ns", "UTC")),
            "asset": pa.array(readings.asset[in_file].astype(str)),
            "score": np.concatenate(scores.score)[found],
            "risk": np.concatenate(scores.risk)[found],
            "alert": np.concatenate(scores.alert)[found],
            "top_channel": pa.array(channels[top]),
        }
    )


def write(table: pa.Table, path: Path) -> None:
    """By the name's end: .csv or .parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
        return
    text = pa.array(
        [f"{moment}Z" for moment in table.column("time").cast(pa.timestamp("ns")).to_numpy().astype("datetime64[ns]")]
    )
    pyarrow.csv.write_csv(table.set_column(0, "time", text), path)

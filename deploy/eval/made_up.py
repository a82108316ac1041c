"""Made-up series with known faults, and what `livetwin score` makes of them.

In:   a `Series`, a seed.
Out:  scores and alerts of its steps, by the command's own code.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from deploy.eval.vus import vus_pr
from deploy.score import score_file
from deploy.settings import ProcessorSettings

BEGINS_NS = 1_700_000_000 * 10**9
TOLERANCE = 10  # steps, of VUS-PR
AFTER = 32  # steps: an alert that rises so soon after a fault is still of it


@dataclass(frozen=True, slots=True)
class Series:
    period_ns: int
    normal: int  # first steps, without a fault
    values: NDArray[np.float64]  # (T, C)
    faults: list[tuple[int, int]]  # first step and end

    def vus_pr(self, score: NDArray[np.floating]) -> float:
        """Of a score a step, of what comes after the normal steps."""
        later = [(first - self.normal, end - self.normal) for first, end in self.faults]
        return vus_pr(score[self.normal :], later, tolerance=TOLERANCE)


@dataclass(frozen=True, slots=True)
class Found:
    score: NDArray[np.float64]  # (T,)
    faults: float  # share of faults under an alert at any step
    false: int  # alerts after the normal steps that rise at no fault


def scored(series: Series, seed: int) -> Found:
    """Through a file, as a user would."""
    steps = len(series.values)
    times = pa.array(BEGINS_NS + np.arange(steps) * series.period_ns).cast(pa.timestamp("ns", "UTC"))
    channels = {f"c{number}": column for number, column in enumerate(series.values.T)}
    with tempfile.TemporaryDirectory() as folder, Progress(disable=True, console=Console(quiet=True)) as progress:
        path = Path(folder) / "series.parquet"
        pyarrow.parquet.write_table(pa.table({"time": times, **channels}), path)
        table = score_file(
            path,
            train_rows=series.normal,
            seed=seed,
            alarms_per_twin_day=ProcessorSettings().alarms_per_twin_day,
            asset_column=None,
            time_column=None,
            progress=progress,
        )
    alerts = table.column("alert").to_numpy().astype(bool)
    rising = np.flatnonzero(alerts & ~np.concatenate([[False], alerts[:-1]]))
    at_fault = np.zeros(steps, np.bool_)
    for first, end in series.faults:
        at_fault[first : end + AFTER] = True
    found = float(np.mean([alerts[first:end].any() for first, end in series.faults]))
    return Found(
        table.column("score").to_numpy().astype(np.float64), found, int((~at_fault[rising[rising >= series.normal]]).sum())
    )

"""Figures: what was measured, beside what it is held against; as a table and as JSON for scripts.

Out:  `build/bench.json`, a list of {"measure", "value", "unit", "reference", "ratio"}.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `reference` is what the same run measured to hold it against; `ratio` is value / reference."""

    measure: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None

    @classmethod
    def beside(cls, measure: str, value: float, unit: str, reference: float) -> Figure:
        return cls(measure, value, unit, reference, value / reference if reference else None)


def quantiles(measure: str, seconds: Sequence[float]) -> list[Figure]:
    """p50, p99 and the count of durations, in milliseconds.

    >>> [figure.value for figure in quantiles("x", [0.001, 0.002, 0.003])]
    [2.0, 2.98, 3.0]
    """
    p50, p99 = np.percentile(np.asarray(seconds) * 1000, [50, 99])
    return [
        Figure(f"{measure}, p50", round(float(p50), 3), "ms"),
        Figure(f"{measure}, p99", round(float(p99), 3), "ms"),
        Figure(f"{measure}, count", float(len(seconds)), "1"),
    ]


def machine() -> list[Figure]:
    """Where the figures were taken; load per core says whether anything else was running."""
    python = platform.python_version()
    return [
        Figure(f"cores ({processor()}, {platform.system()}, Python {python})", float(os.cpu_count() or 0), "1"),
        Figure("memory", round(psutil.virtual_memory().total / 2**30, 1), "GiB"),
        Figure("load per core before the run", round(psutil.getloadavg()[0] / (os.cpu_count() or 1), 2), "1"),
    ]


def processor() -> str:
    """The processor's name for people."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def show(figures: Sequence[Figure]) -> None:
    table = Table("measure", "value", "unit", "reference", "ratio")
    for figure in figures:
        reference = "" if figure.reference is None else f"{figure.reference:,.4g}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(figure.measure, f"{figure.value:,.4g}", figure.unit, reference, ratio)
    Console().print(table)


def write(figures: Sequence[Figure], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps([asdict(figure) for figure in figures], option=orjson.OPT_INDENT_2) + b"\n")

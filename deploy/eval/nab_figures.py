"""The first part of `make eval`: the Numenta Anomaly Benchmark, scored by as many processes as one likes.

In:   the benchmark's series (`nab`), a seed.
Out:  `Figure`s: livetwin's, beside published ones, and checks of the scorer itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.bench.figures import Figure
from deploy.eval.nab import NabSeries, livetwin_scores, read_reference
from deploy.eval.nab_scoring import PROFILES, STANDARD, LabelledSeries, score_corpus

# normalised figures of the standard profile, from the benchmark's own list of results
PUBLISHED = {"ARTime": 74.9, "Numenta HTM": 70.1, "KNN-CAD": 58.0, "Random Cut Forest": 51.7, "windowed Gaussian": 39.6}
UNIT = "of 100"


def scorer_checks(folder: Path, labelled: Sequence[LabelledSeries]) -> list[Figure]:
    """Detectors whose figure is known: one that says nothing, one that knows all, and a published one where it is at hand."""
    silent = [np.zeros(one.rows) for one in labelled]
    knowing = [np.isin(np.arange(one.rows), [first for first, _ in one.windows]).astype(float) for one in labelled]
    found = [
        Figure("NAB scorer, null detector", score_corpus(labelled, silent).value, UNIT, 0.0),
        Figure.beside("NAB scorer, perfect detector", score_corpus(labelled, knowing).value, UNIT, 100.0),
    ]
    if (reference := read_reference(folder)) is not None:
        value = score_corpus(labelled, [reference.scores[one.name] for one in labelled]).value
        found.append(Figure.beside(f"NAB scorer, {reference.name}", value, UNIT, reference.standard))
    return found


def evaluated(labelled: Sequence[LabelledSeries], scores: Sequence[NDArray[np.float64]]) -> list[Figure]:
    """All profiles, each half of the series at the threshold of the whole, and the published figures."""
    standard = score_corpus(labelled, scores)
    found = [Figure(f"NAB, {profile.name}", score_corpus(labelled, scores, profile).value, UNIT) for profile in PROFILES]
    for half, name in enumerate(("tuned on", "held out")):
        chosen = [number for number, one in enumerate(labelled) if held_out(one.name) == bool(half)]
        part = score_corpus(
            [labelled[number] for number in chosen], [scores[number] for number in chosen], threshold=standard.threshold
        )
        found.append(Figure(f"NAB, {STANDARD.name}, the {len(chosen)} series {name}", part.value, UNIT))
    found += [
        Figure.beside(f"NAB, {STANDARD.name}, beside {name}", standard.value, UNIT, value) for name, value in PUBLISHED.items()
    ]
    return found


def held_out(name: str) -> bool:
    """Whether a series is of the half, by name, that settings are not fitted to, only checked against.

    >>> held_out("realKnownCause/nyc_taxi.csv")
    True
    """
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def score_all(corpus: Sequence[NabSeries], seed: int, jobs: int) -> list[NDArray[np.float64]]:
    """Scores of every series, by a few processes: none depends on the others or on how many are scored at once."""
    with (
        ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool,
        Progress(console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("series", total=len(corpus))
        waiting = [pool.submit(livetwin_scores, one, seed) for one in corpus]
        for one in waiting:
            one.add_done_callback(lambda _: progress.advance(task))
        return [one.result() for one in waiting]


def show_each(labelled: Sequence[LabelledSeries], scores: Sequence[NDArray[np.float64]]) -> None:
    found = score_corpus(labelled, scores)
    table = Table("series", "windows", "raw score", "held out")
    for one in labelled:
        table.add_row(one.name, str(len(one.windows)), f"{found.by_series[one.name]:.2f}", "yes" if held_out(one.name) else "")
    Console().print(table)

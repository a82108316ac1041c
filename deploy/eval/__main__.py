"""`make eval`: score the Numenta Anomaly Benchmark, print the figures beside published ones, write `build/eval.json`.

    python -m deploy.eval [--nab FOLDER] [--jobs N] [--seed N] [--each]

Deterministic for a seed on one machine. Nothing of a running livetwin is touched.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: sums have one order

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.bench import figures
from deploy.bench.figures import Figure
from deploy.eval.nab import BenchmarkMissing, NabSeries, livetwin_scores, read_corpus, read_reference
from deploy.eval.nab_scoring import PROFILES, STANDARD, LabelledSeries, score_corpus
from twin.errors import LivetwinError

# normalised figures of the standard profile, from the benchmark's own list of results
PUBLISHED = {"ARTime": 74.9, "Numenta HTM": 70.1, "KNN-CAD": 58.0, "Random Cut Forest": 51.7, "windowed Gaussian": 39.6}
WRITTEN = Path("build") / "eval.json"
UNIT = "of 100"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.eval", description="Detection of livetwin on a public benchmark.")
    parser.add_argument("--nab", type=Path, default=Path("build/nab"), help="folder of the benchmark [build/nab]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="series scored at once [as many as cores]")
    parser.add_argument("--seed", type=int, default=0, help="of training [0]")
    parser.add_argument("--each", action="store_true", help="print the score of each series too")
    parser.add_argument(
        "--scores", type=Path, default=None, help="also write all scores, one series after the other, into this .npz"
    )
    arguments = parser.parse_args()
    try:
        corpus = read_corpus(arguments.nab)
    except BenchmarkMissing as error:
        sys.exit(f"eval: {error}")
    labelled = [one.labelled for one in corpus]
    checks = scorer_checks(arguments.nab, labelled)
    try:
        scores = _score_all(corpus, arguments.seed, arguments.jobs)
    except LivetwinError as error:
        sys.exit(f"eval: {error}; no figure was written")
    if arguments.scores is not None:
        arguments.scores.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(arguments.scores, names=np.array([one.name for one in labelled]), scores=np.concatenate(scores))
    found = evaluated(labelled, scores)
    if arguments.each:
        _show_each(labelled, scores)
    figures.show([*checks, *found])
    figures.write([*checks, *found], WRITTEN)
    print(f"eval: written to {WRITTEN}")
    if wrong := [one.measure for one in checks if one.ratio is not None and abs(one.ratio - 1) > 1e-6]:
        sys.exit(f"eval: the scorer differs from the benchmark: {', '.join(wrong)}; no figure above can be trusted")


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


def _score_all(corpus: Sequence[NabSeries], seed: int, jobs: int) -> list[NDArray[np.float64]]:
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


def _show_each(labelled: Sequence[LabelledSeries], scores: Sequence[NDArray[np.float64]]) -> None:
    found = score_corpus(labelled, scores)
    table = Table("series", "windows", "raw score", "held out")
    for one in labelled:
        table.add_row(one.name, str(len(one.windows)), f"{found.by_series[one.name]:.2f}", "yes" if held_out(one.name) else "")
    Console().print(table)


if __name__ == "__main__":
    main()

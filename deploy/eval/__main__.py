"""`make eval`: how well livetwin detects, on a public benchmark and on injected faults; prints figures, writes `build/eval.json`.

    python -m deploy.eval [--nab FOLDER] [--faults N] [--seed N] [--jobs N] [--only PART] [--each] [--check | --record]

Deterministic for a seed on one machine, whatever the number of jobs. Nothing of a running livetwin is touched.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: sums have one order

import numpy as np
from rich.console import Console

from deploy.bench import figures
from deploy.bench.figures import Figure
from deploy.eval import recorded
from deploy.eval.cycles import evaluate_cycles
from deploy.eval.fault_table import by_kind
from deploy.eval.fields import evaluate_fields
from deploy.eval.host import evaluate_host
from deploy.eval.nab import BenchmarkMissing, read_corpus
from deploy.eval.nab_figures import evaluated, score_all, scorer_checks, show_each
from deploy.eval.water import SMALL, Plan, evaluate_water
from twin.errors import LivetwinError

WRITTEN = Path("build") / "eval.json"
HOST_WEEKS = 2
MANY_FAULTS = 1000  # from so many on twice as many fault-free weeks are watched too


def main() -> None:
    arguments = _arguments()
    console = Console(stderr=True)
    parts: dict[str, list[Figure]] = {}
    wrong: list[str] = []
    try:
        if arguments.only in (None, "nab") and not arguments.small:
            wrong = _nab(arguments, parts)
        if arguments.only in (None, "water") and arguments.faults:
            weeks = 8 if arguments.faults >= MANY_FAULTS else 4
            plan = Plan(faults=arguments.faults, seed=arguments.seed, weeks=weeks, jobs=arguments.jobs)
            plan = SMALL if arguments.small else plan
            parts[plan.name] = evaluate_water(plan, console)
        if arguments.only in (None, "host") and not arguments.small:
            parts[f"host, seed {arguments.seed}"] = evaluate_host(arguments.seed, HOST_WEEKS, arguments.jobs)
        if arguments.only in (None, "cycles") and not arguments.small:
            parts[f"cycles, seed {arguments.seed}"] = evaluate_cycles(arguments.seed)
        if arguments.only in (None, "fields") and not arguments.small:
            parts[f"fields, seed {arguments.seed}"] = evaluate_fields(arguments.seed)
    except LivetwinError as error:
        sys.exit(f"eval: {error}; no figure was written")
    found = [one for part in parts.values() for one in part]
    table, others = by_kind(found)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else 130).print(table)
    figures.show(others)
    figures.write(found, WRITTEN)
    print(f"eval: written to {WRITTEN}")
    if wrong:
        sys.exit(f"eval: the scorer differs from the benchmark: {', '.join(wrong)}; no figure above can be trusted")
    if arguments.record:
        recorded.write(parts, recorded.RECORDED)
        print(f"eval: recorded in {recorded.RECORDED}")
    if arguments.check:
        if SMALL.name not in parts:  # recorded always: larger ones by whoever has the time
            parts[SMALL.name] = evaluate_water(SMALL, console)
        _check(parts)


def _check(parts: dict[str, list[Figure]]) -> None:
    try:
        worse = recorded.compare(parts, recorded.read(recorded.RECORDED))
    except recorded.NothingRecorded as error:
        sys.exit(f"eval: {error}")
    print("\n".join(worse.told))
    if worse.fallen:
        sys.exit("eval: " + "\neval: ".join(worse.fallen))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.eval", description="Detection of livetwin: a benchmark, and faults.")
    parser.add_argument("--nab", type=Path, default=Path("build/nab"), help="folder of the benchmark [build/nab]")
    parser.add_argument("--faults", type=int, default=240, help="injected into the water plant; 3000 for narrow figures [240]")
    parser.add_argument("--small", action="store_true", help="nothing but the few faults that tests run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes [as many as cores]")
    parser.add_argument("--seed", type=int, default=0, help="of training, faults, demand and noise [0]")
    parser.add_argument("--only", choices=("nab", "water", "host", "cycles", "fields"), default=None, help="one part [all]")
    parser.add_argument("--each", action="store_true", help="print the benchmark's score of each series too")
    parser.add_argument("--check", action="store_true", help="fail where a figure fell below the recorded one")
    parser.add_argument("--record", action="store_true", help="record these figures as what --check compares with")
    parser.add_argument("--scores", type=Path, default=None, help="also write the benchmark's scores, one after the other: .npz")
    return parser.parse_args()


def _nab(arguments: argparse.Namespace, parts: dict[str, list[Figure]]) -> list[str]:
    """Score the benchmark, or say that it is skipped; checks of the scorer that failed.

    Raises:
        LivetwinError: a series can't be scored, or the benchmark alone was asked for and is not there.
    """
    try:
        corpus = read_corpus(arguments.nab)
    except BenchmarkMissing as error:
        if arguments.only == "nab":
            raise
        print(f"eval: the benchmark is skipped: {error}")
        return []
    labelled = [one.labelled for one in corpus]
    checks = scorer_checks(arguments.nab, labelled)
    scores = score_all(corpus, arguments.seed, arguments.jobs)
    if arguments.scores is not None:
        arguments.scores.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(arguments.scores, names=np.array([one.name for one in labelled]), scores=np.concatenate(scores))
    if arguments.each:
        show_each(labelled, scores)
    parts[f"nab, seed {arguments.seed}"] = [*checks, *evaluated(labelled, scores)]
    return [one.measure for one in checks if one.ratio is not None and abs(one.ratio - 1) > 1e-6]


if __name__ == "__main__":
    main()

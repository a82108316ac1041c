"""`make eval-learning`: does learning pay? Drifts in the demo plant and in series; a frozen, a naive and our way to keep a model.

    python -m deploy.eval.learning [--scenario NAME …] [--full] [--seed N] [--jobs N]

Prints the figures and writes `build/eval-learning.json`. Deterministic for a seed on one machine, whatever the number of jobs.
Nothing of a running livetwin is touched.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: sums have one order

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.bench import figures
from deploy.bench.figures import Figure
from deploy.eval.learning_arms import ANSWERED, ARMS, OURS, Rules
from deploy.eval.learning_course import Course, run_scenario
from deploy.eval.learning_figures import figures_of, judgements, summary
from deploy.eval.learning_scenario import Scenario
from deploy.eval.learning_series import CHANGES, series_scenario
from deploy.eval.learning_water import DRIFTS, drift_scenario, slow_scenario
from deploy.settings import ProcessorSettings, TrainerSettings
from twin.errors import LivetwinError

WRITTEN = Path("build") / "eval-learning.json"
SLOW = "slow faults"
SEEDS_IN_FULL = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.eval.learning", description="What learning is worth.")
    parser.add_argument("--scenario", action="append", choices=[*DRIFTS, SLOW, *CHANGES], help="only this one; may be repeated")
    parser.add_argument("--full", action="store_true", help=f"all twins of the plant, {SEEDS_IN_FULL} seeds")
    parser.add_argument("--seed", type=int, default=1, help="of plant, series and training [1]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="scenarios at once [as many as cores]")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + (SEEDS_IN_FULL if arguments.full else 1))
    chosen = [
        (name, seed, arguments.full)
        for seed in seeds
        for name in scenarios(seed, full=arguments.full)
        if not arguments.scenario or name in arguments.scenario
    ]
    try:
        courses = _run_all(chosen, arguments.jobs)
    except LivetwinError as error:
        sys.exit(f"eval-learning: {error}; no figure was written")
    found = [figure for course in courses for figure in figures_of(course)] + summary(courses)
    for course in courses:
        _tell(course)
    figures.show(figures.machine())
    _show(found)
    figures.write([*figures.machine(), *found], WRITTEN)
    print(f"eval-learning: written to {WRITTEN}")


def scenarios(seed: int, *, full: bool) -> Mapping[str, Callable[[], Scenario]]:
    """What can be run, by name, in order."""
    twins = 1000 if full else 8
    found: dict[str, Callable[[], Scenario]] = {name: partial(drift_scenario, name, seed=seed, twins=twins) for name in DRIFTS}
    found[SLOW] = partial(slow_scenario, seed=seed, twins=twins)
    return found | {name: partial(series_scenario, name, seed=seed) for name in CHANGES}


def run_named(name: str, seed: int, full: bool, home: Path) -> Course:
    """Run one scenario with the rules that processors and the trainer have by default."""
    trainer = TrainerSettings()
    rules = Rules(home, seed, ProcessorSettings().alarms_per_twin_day, trainer.train_max_steps, trainer.train_old_stretches)
    return run_scenario(scenarios(seed, full=full)[name](), rules)


def _run_all(chosen: Sequence[tuple[str, int, bool]], jobs: int) -> list[Course]:
    """Courses in order, by a few processes: none depends on the others."""
    with (
        tempfile.TemporaryDirectory(prefix="livetwin-learning-") as home,
        ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool,
        Progress(console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("scenarios", total=len(chosen))
        waiting = [pool.submit(run_named, *one, Path(home)) for one in chosen]
        for one in waiting:
            one.add_done_callback(lambda _: progress.advance(task))
        return [one.result() for one in waiting]


def _show(found: Sequence[Figure]) -> None:
    """A row a measure, a column an arm."""
    table = Table("measure", *ARMS, "", "unit", "reference")
    rows: dict[str, dict[str, Figure]] = {}
    for figure in found:
        measure, _, arm = figure.measure.rpartition(", ")
        rows.setdefault(measure if arm in ARMS else figure.measure, {})[arm if arm in ARMS else ""] = figure
    for measure, by_arm in rows.items():
        one = next(iter(by_arm.values()))
        values = [f"{by_arm[arm].value:.4g}" if arm in by_arm else "" for arm in (*ARMS, "")]
        table.add_row(measure, *values, one.unit, "" if one.reference is None else f"{one.reference:.4g}")
    Console().print(table)


def _tell(course: Course) -> None:
    """What the gate said of each update, and what it was worth afterwards."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    name = course.scenario.name
    for arm, notes in course.notes.items():
        for note in notes:
            console.print(f"{name}, {arm}: {note}")
    for arm in (OURS, ANSWERED):
        for one in judgements(course, arm):
            decision, verdict = "promoted" if one.promoted else "refused", "worse" if one.worse else "not worse"
            found = f"what served was {verdict} than the other, {one.difference:+.4f} nats (p {one.p_value:.3f})"
            console.print(f"{name}, {arm}: afterwards, {one.type} {one.version} ({decision}): {found}")


if __name__ == "__main__":
    main()

"""The second part of `make eval`: faults injected into the water plant by the hundred, and weeks without any.

In:   how many faults, a seed.
Out:  `Figure`s: detection by kind of fault (`fault_figures`), alarm rates beside their target (`alarm_rates`).

One version a type is trained on seven clean days, as the trainer's first one is. Every season after that has other demand and
other noise. Seasons share nothing but these versions, so they run in as many processes as one likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from rich.console import Console
from rich.progress import Progress

from deploy.bench.figures import Figure
from deploy.eval.alarm_rates import rates
from deploy.eval.fault_figures import figures
from deploy.eval.first_versions import Payloads, first_versions, loaded, seed_of
from deploy.eval.watching import Watch, Watched
from deploy.eval.water_faults import KINDS
from deploy.eval.water_season import DAY, WaterSeason, definitions
from deploy.settings import ProcessorSettings
from models.training import train

TRAINING_DAYS = 7
FAULTS_A_SEASON = 50
WEEK = 7
DRIFT_DAYS, DRIFT_TO = 10, 1.15  # demand of all customers rises by so much, and stays there
SWAP_DAY = 17  # of the season with the drift: by then a week of the new demand has been seen
_FIRST_DAY = TRAINING_DAYS + 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is evaluated. `weeks` are fault-free; `drift` adds two runs through a drift of demand, one with a swap."""

    faults: int
    seed: int
    weeks: int = 4
    drift: bool = True
    training_days: int = TRAINING_DAYS
    jobs: int = 1

    @property
    def name(self) -> str:
        """What recorded figures of it are found by."""
        learnt = "" if self.training_days == TRAINING_DAYS else f", {self.training_days} days learnt"
        return f"water, {self.faults} faults{learnt}, seed {self.seed}"

    def seasons(self) -> list[tuple[str, ...]]:
        """Kinds of faults by season: in each of them, and in all, every kind as often as any other, give or take one."""
        kinds = [KINDS[place % len(KINDS)] for place in range(self.faults)]
        count = -(-self.faults // FAULTS_A_SEASON)
        return [tuple(kinds[self.faults * place // count : self.faults * (place + 1) // count]) for place in range(count)]


SMALL = Plan(faults=20, seed=0, weeks=0, drift=False, training_days=3)  # what tests run: half a minute of a core


def evaluate_water(plan: Plan, console: Console) -> list[Figure]:
    """All figures of a plan: the same for the same faults and seed, whatever the jobs."""
    target = ProcessorSettings().alarms_per_twin_day
    with (
        ProcessPoolExecutor(max_workers=plan.jobs, mp_context=get_context("spawn")) as pool,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("water: first versions", total=None)
        payloads = pool.submit(first_water_versions, plan.seed, plan.training_days, target).result()
        waiting: dict[str, list[Future[Watched]]] = {"faults": [], "calm": [], "drift": []}
        for number, kinds in enumerate(plan.seasons()):
            waiting["faults"].append(pool.submit(season_of_faults, payloads, _seed(plan, 100 + number), kinds))
        for number in range(plan.weeks):
            waiting["calm"].append(pool.submit(calm_week, payloads, _seed(plan, 10 + number), number))
        if plan.drift:
            waiting["drift"] = [pool.submit(drifting, payloads, _seed(plan, 2), target, swap) for swap in (False, True)]
        every = [one for several in waiting.values() for one in several]
        progress.update(task, description="water: seasons", total=len(every))
        for one in every:
            one.add_done_callback(lambda _: progress.advance(task))
        done = {name: [one.result() for one in several] for name, several in waiting.items()}
    found = figures(done["faults"], definitions().fleet) if done["faults"] else []
    if done["calm"]:
        found += rates("water, fault-free", done["calm"], target)
    if done["drift"]:
        frozen, swapped = done["drift"]
        after = SWAP_DAY
        share = f"demand {DRIFT_TO - 1:+.0%} in {DRIFT_DAYS} days"
        found += rates(f"water, {share}, while it rises", [frozen], target, to_day=DRIFT_DAYS)
        found += rates(f"water, {share}, a week later, first version", [frozen], target, from_day=after)
        found += rates(f"water, {share}, a week later, fine-tuned version", [swapped], target, from_day=after)
    return found


def first_water_versions(seed: int, days: int, target: float) -> dict[str, bytes]:
    return first_versions(WaterSeason(seed=seed_of(seed, 1), days=days, first_day=TRAINING_DAYS - days), seed, target)


def season_of_faults(payloads: Payloads, seed: int, kinds: Sequence[str]) -> Watched:
    watch = Watch(WaterSeason(seed=seed, kinds=kinds, first_day=_FIRST_DAY), loaded(payloads))
    watch.run()
    return watch.result()


def calm_week(payloads: Payloads, seed: int, number: int) -> Watched:
    """A fault-free week, and six hours before it that fill the windows."""
    watch = Watch(WaterSeason(seed=seed, days=WEEK + 0.25, first_day=_FIRST_DAY + WEEK * number), loaded(payloads))
    watch.run()
    return watch.result()


def drifting(payloads: Payloads, seed: int, target: float, swap: bool) -> Watched:
    """Demand rises slowly and stays there. With `swap` versions fine-tuned on the newest week take over on SWAP_DAY."""
    days = SWAP_DAY + WEEK
    season = WaterSeason(seed=seed, days=days, first_day=_FIRST_DAY, demand_share=_rising)
    versions = loaded(payloads)
    watch = Watch(season, versions, kept_steps=WEEK * DAY)
    watch.run(24 * SWAP_DAY)
    if swap:
        seen = watch.result()
        for type_id, base in versions.items():
            block = watch.kept(type_id)
            alarm = np.zeros((len(block.assets), block.steps), np.bool_)
            found = seen.by_type[type_id]
            for row, asset in enumerate(block.assets):  # as the trainer leaves out what is under an alert
                first = block.first_step - seen.first_step
                alarm[row] = found.alarm[found.assets.index(asset), first : first + block.steps]
            tuned = train(
                type=watch.type_of(type_id),
                block=block,
                base=base,
                number=2,
                alarms_per_twin_day=target,
                seed=seed % 2**31,
                threads=1,
                exclude=alarm,
            )
            watch.switch(type_id, tuned.model)
    watch.run()
    return watch.result()


def _rising(step: int) -> float:
    return 1 + (DRIFT_TO - 1) * min(1.0, step / (DRIFT_DAYS * DAY))


def _seed(plan: Plan, number: int) -> int:
    return seed_of(plan.seed, number)

"""The third part of `make eval`: the alarm rate of synthetic computers over fault-free weeks, beside its target.

In:   a seed.
Out:  `Figure`s. What the computers do is made up (`host_season`): no recording of weeks is at hand.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from deploy.bench.figures import Figure
from deploy.eval.alarm_rates import rates
from deploy.eval.first_versions import Payloads, first_versions, loaded, seed_of
from deploy.eval.host_season import HostSeason
from deploy.eval.watching import Watch, Watched
from deploy.settings import ProcessorSettings

COMPUTERS = 30
WEEK = 7


def evaluate_host(seed: int, weeks: int, jobs: int) -> list[Figure]:
    """Alarms in weeks that follow the one of training, by the first version."""
    target = ProcessorSettings().alarms_per_twin_day
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        payloads = pool.submit(_trained, seed, target).result()
        waiting = [pool.submit(_watched, payloads, seed, week) for week in range(1, weeks + 1)]
        return rates("host (synthetic), fault-free", [one.result() for one in waiting], target)


def _season(seed: int, week: int) -> HostSeason:
    return HostSeason(seed=seed_of(seed, week), fleet_seed=seed, computers=COMPUTERS, days=WEEK, first_day=WEEK * week)


def _trained(seed: int, target: float) -> dict[str, bytes]:
    return first_versions(_season(seed, 0), seed, target)


def _watched(payloads: Payloads, seed: int, week: int) -> Watched:
    watch = Watch(_season(seed, week), loaded(payloads))
    watch.run()
    return watch.result()

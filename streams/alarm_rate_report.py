"""A processor tells once a minute how often the twins of each type and partition alarmed, beside how often they were to.

In:   counts of each twin (`models.alarm_counts`) in a type's scorer, which version serves.
Out:  `AlarmRate` on `monitoring`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from models.online_threshold import Promises
from models.windows import DAY_NS
from streams.alarm_rates import AlarmCount, AlarmRate
from streams.canary import Divided
from streams.owned import Owned
from streams.scoring import TypeScorer
from twin.rows import Roster

EVERY_S: Final = 60.0


def alarm_rate(scorer: TypeScorer, roster: Roster, partition: int, *, epoch: int, time_ns: int) -> AlarmRate | None:
    """What the twins of one type and partition did; None where no version serves. Of canary twins only the week counts."""
    switches = scorer.switches.get(partition)
    served = switches.current if switches is not None else None
    if isinstance(served, Divided):
        served = served.champion
    if served is None:
        return None
    period_ns, target = scorer.arena.type.period_ns, served.alarms_per_twin_day
    here = np.flatnonzero((roster.partition == partition) & np.array([bool(asset) for asset in roster.assets], np.bool_))
    mark = int(Promises.of([served], period_ns).mark[0])

    def count(steps: int, alarms: int) -> AlarmCount:
        days = steps * period_ns / DAY_NS
        return AlarmCount(twin_days=round(days, 6), alarms=alarms, expected=round(days * target, 6))

    return AlarmRate(
        model=served.name,
        type=scorer.arena.type.id,
        partition=partition,
        epoch=epoch,
        time_ns=time_ns,
        version=served.version,
        target=target,
        twins=int((scorer.counts.arrays["version"][here] == mark).sum()),
        week=count(*scorer.counts.newest_days(here)),
        since_version=count(*scorer.counts.under(here, mark)),
    )


class AlarmRateReport:
    """Tells of a type at its first batch that is no repetition, then once every `every_s`."""

    def __init__(self, every_s: float = EVERY_S, now_s: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._now_s = every_s, now_s
        self._told_s: dict[str, float] = {}  # by type

    def due(self, scorer: TypeScorer, roster: Roster, owned: Mapping[int, Owned]) -> Iterator[AlarmRate]:
        """Of each partition in `owned`, where it is time."""
        kind, now_s = scorer.arena.type, self._now_s()
        if now_s - self._told_s.get(kind.id, -math.inf) < self._every_s:
            return
        for partition, one in owned.items():
            newest = one.newest_ns.get(kind.slug)
            if newest is None:
                continue
            found = alarm_rate(scorer, roster, partition, epoch=one.epoch, time_ns=newest)
            if found is not None:
                self._told_s[kind.id] = now_s
                yield found

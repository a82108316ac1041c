"""The alarm threshold: the p-value at which the k-of-n rule raises as many alarms a twin-day as were asked for.

In:   fused surprises of held-out normal steps, (A, T), NaN where there was none.
Out:  `alarm_p`, and what it would have raised on those steps.

A short calibration stretch has shown little of what a plant does, so the tail of the coming days is heavier than the one that was
fitted: hence a margin, which soon falls with the length. What comes later moves thresholds online (`models/online_threshold.py`).

Strange steps come in clusters, as windows overlap, and one cluster is one alarm. So the rate is steps a day times p over
the size of a cluster, which is counted where clusters are frequent enough to count; the tail of p was fitted before. What
was seen then has the last word: a threshold that would have raised more than the target explains is raised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.risk import K, RiskState
from models.windows import DAY_NS

COUNTABLE = 5  # clusters needed to trust their mean size
SURPRISE_RANGE = (2.0, 12.0)
MARGIN, SPAN = 1.5, 64  # decades at one SPAN of calibration steps or less, falling with their number


@dataclass(frozen=True, slots=True)
class AlarmThreshold:
    alarm_p: float
    alarms_per_twin_day: float  # on the calibration steps
    twin_days: float


def choose(surprise: NDArray[np.float32], period_ns: int, alarms_per_twin_day: float) -> AlarmThreshold:
    """The threshold for a target rate, see above."""
    steps_per_day = DAY_NS / period_ns
    known = np.isfinite(surprise)
    twin_days = float(known.sum()) / steps_per_day
    spans = float(known.any(axis=0).sum()) / SPAN
    cluster = float(K)
    for level in np.arange(3.0, 0.7, -0.25):
        alarms = onsets(surprise, float(level))
        if alarms >= COUNTABLE:
            cluster = max(cluster, float(np.sum(surprise[known] >= level)) / alarms)
            break
    margin = MARGIN / max(spans, 1.0)
    threshold = math.log10(steps_per_day / (cluster * alarms_per_twin_day)) + margin
    threshold = float(np.clip(threshold, *SURPRISE_RANGE))
    allowed = stats.poisson.ppf(0.8, alarms_per_twin_day * twin_days)
    while (raised := onsets(surprise, threshold)) > allowed and threshold < SURPRISE_RANGE[1]:
        threshold += 0.1
    return AlarmThreshold(10.0**-threshold, raised / max(twin_days, 1e-9), twin_days)


def onsets(surprise: NDArray[np.float32], threshold: float) -> int:
    """How many alarms the risk rule raises over (A, T) surprises, oldest first, with this threshold (-log10 p)."""
    state = RiskState(len(surprise))
    total = 0
    known = np.isfinite(surprise)
    for step in np.flatnonzero(known.any(axis=0)):
        rows = np.flatnonzero(known[:, step])
        total += int(state.update(rows, surprise[rows, step], threshold).rising.sum())
    return total

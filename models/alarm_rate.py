"""The alarm threshold that a version promises: where the k-of-n rule raises as many alarms a twin-day as were asked for.

In:   fused surprises of held-out normal steps of all twins of a type, (A, T), NaN where there was none.
Out:  `AlarmThreshold`: `alarm_p`, how far peaks reach, and what it would have raised on those steps.

Read off the heights that the rule itself compares (what K of the last N surprises reach), of all twins together, as
`models/online_threshold.py` does live: peaks are counted where PEAKS of them come for each alarm that is asked for, or, of few
steps, where there are enough to count; their mean size tells how much further an alarm lies. Of few peaks it is drawn to SIZE.

A short calibration stretch has shown little of what a plant does, so the tail of the coming days is heavier than the one that was
fitted: hence a margin, which soon falls with the length. What was seen then has the last word: a threshold that would have raised
more than the target explains is raised. What comes later moves thresholds online.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.online_threshold import BLOCK, SIZE, alarms_a_block, peaks_an_alarm, reach
from models.risk import RiskState
from models.windows import DAY_NS

COUNTABLE = 5  # peaks needed to begin there
SIZE_COUNTS = 6.0  # peaks that SIZE counts as
STARTS = np.arange(3.5, 0.69, -0.05)  # decades
SURPRISE_RANGE = (2.0, 12.0)
SPAN = 64  # calibration steps
MARGIN, FALLS, MARGINS = 30.0, 2.4, (0.08, 2.5)  # decades: MARGIN over the number of spans to the power of FALLS, within these
TWINS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class AlarmThreshold:
    alarm_p: float
    peak_size: float  # decades, mean
    alarms_per_twin_day: float  # on the calibration steps
    twin_days: float


def choose(surprise: NDArray[np.float32], period_ns: int, alarms_per_twin_day: float) -> AlarmThreshold:
    """The threshold for a target rate, see above."""
    known = np.isfinite(surprise)
    steps = float(known.sum())
    twin_days = steps * period_ns / DAY_NS
    rate = alarms_a_block(alarms_per_twin_day, period_ns)
    expected = float(peaks_an_alarm(rate) * rate) * max(steps / BLOCK, 1.0)  # peaks
    tops = _tops(surprise)
    for start in STARTS.tolist():
        count, decades = _peaks(tops, start)
        if count >= max(expected, COUNTABLE):
            break
    size = (decades + SIZE_COUNTS * SIZE) / (count + SIZE_COUNTS)
    start += size * math.log(max(count, 0.5) / expected)
    spans = max(float(known.any(axis=0).sum()) / SPAN, 1.0)
    margin = float(np.clip(MARGIN / spans**FALLS, *MARGINS))
    threshold = float(np.clip(start + float(reach(size, rate)) + margin, *SURPRISE_RANGE))
    allowed = stats.poisson.ppf(0.8, alarms_per_twin_day * twin_days)
    while (raised := onsets(surprise, threshold)) > allowed and threshold < SURPRISE_RANGE[1]:
        threshold += 0.1
    return AlarmThreshold(10.0**-threshold, size, raised / max(twin_days, 1e-9), twin_days)


def _tops(surprise: NDArray[np.float32]) -> NDArray[np.float32]:
    """The highest height in each block of BLOCK steps, (A, blocks); what is left at the end is a block of its own."""
    twins, steps = surprise.shape
    padded = np.zeros((twins, -(-steps // BLOCK) * BLOCK), np.float32)
    for first in range(0, twins, TWINS_AT_ONCE):
        some = np.nan_to_num(surprise[first : first + TWINS_AT_ONCE])
        rows = np.repeat(np.arange(len(some)), steps)
        padded[first : first + len(some), :steps] = RiskState(len(some)).heights(rows, some.ravel()).height.reshape(-1, steps)
    return np.asarray(padded.reshape(twins, -1, BLOCK).max(axis=2))


def onsets(surprise: NDArray[np.float32], threshold: float) -> int:
    """How many alarms the risk rule raises over (A, T) surprises, oldest first, with this threshold (-log10 p)."""
    state = RiskState(len(surprise))
    total = 0
    known = np.isfinite(surprise)
    for step in np.flatnonzero(known.any(axis=0)):
        rows = np.flatnonzero(known[:, step])
        total += int(state.update(rows, surprise[rows, step], threshold).rising.sum())
    return total


def _peaks(tops: NDArray[np.float32], start: float) -> tuple[int, float]:
    """How many peaks begin at `start`, and how far they reach beyond it, summed."""
    beyond = tops >= start
    beyond[:, 1:] &= ~beyond[:, :-1]
    return int(beyond.sum()), float((tops[beyond] - start).sum())

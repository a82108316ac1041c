"""How much of a mean over time chance explains, where neighbouring steps say much the same: by batch means.

In:   a difference of two versions, step by step; NaN where it is not known.
Out:  its mean, and what chance explains of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

HOUR_NS = 3_600 * 10**9


def mean_and_chance(difference: NDArray[np.float64], period_ns: int, chance: float) -> tuple[float, float]:
    """Mean of a paired difference over time, and by how much it may be off 0, to one side, with this chance.

    The steps are cut into batches of an hour, or of as many steps as there are batches, whichever is longer; the means of these
    are taken as independent. What strikes a plant strikes all its twins, so they are no samples of their own.

    Args:
        difference: (A, T, …), NaN where it is not known. Steps at which nothing is known are left out.
        period_ns: of a step.
        chance: one-sided.

    Returns:
        Mean over batches, NaN where nothing is known; what chance explains, infinite with less than two batches.

    Source: Flegal and Jones, Batch means and spectral variance estimators in Markov chain Monte Carlo, Annals of Statistics 2010.

    >>> waves = np.sin(np.arange(240) * 2 * np.pi / 120)[None]
    >>> mean, by_chance = mean_and_chance(waves, HOUR_NS // 12, 0.01)
    >>> abs(mean) < by_chance, mean_and_chance(np.full((1, 240), 0.1), HOUR_NS // 12, 0.01)[1] < 1e-9
    (True, True)
    """
    by_step = np.moveaxis(difference, 1, 0).reshape(difference.shape[1], -1)
    by_step = by_step[np.isfinite(by_step).any(axis=1)]
    steps = len(by_step)
    if not steps:
        return math.nan, math.inf
    length = max(round(HOUR_NS / period_ns), math.ceil(math.sqrt(steps)), 1)
    means = np.array([np.nanmean(part) for part in np.array_split(by_step, max(steps // length, 1))])
    if len(means) < 2:
        return float(means[0]), math.inf
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    return float(means.mean()), error * float(stats.t.isf(chance, len(means) - 1))

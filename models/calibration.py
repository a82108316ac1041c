"""From a detector's statistic to a p-value, a twin: conformal quantiles with an extreme-value tail.

In:   statistics of held-out normal steps, (A, M), NaN where a twin had none.
Out:  tables (A, Q): the statistic that a normal step exceeds with probability 10**-LEVELS[q]; `surprise` looks them up.

The fewer independent steps a table stands on, the wider it is, as Student's t is wider than the normal.

Up to the threshold the table is the twin's own conformal quantile; beyond, a generalised Pareto tail whose shape is
pooled over the fleet (a twin has too few extremes of its own) and whose size is the twin's, drawn to the fleet's.

Sources: Vovk et al., Algorithmic Learning in a Random World, 2005; Pickands, Annals of Statistics 3, 1975;
Hosking and Wallis, Technometrics 29, 1987; Siffer et al., Anomaly Detection in Streams with Extreme Value Theory, KDD 2017.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

# -log10 of the tail probability at each knot of a table
LEVELS = np.array([0, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.3, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 14], np.float64)
_KNOTS = torch.tensor(LEVELS)
SURPRISE_MAX = 30.0  # float32 still holds 10**-30
TAIL_SHARE = 0.05  # the tail begins where this share of normal steps lies beyond
ENOUGH = 40  # held-out steps from which a twin's own quantiles are used
PRIOR_EXCESSES = 10.0  # weight of the fleet's tail size against the twin's own excesses
SHAPE_RANGE = (0.0, 0.5)
MUTE = 1e6  # a table that nothing reaches


def fit_tables(statistics: NDArray[np.float32], *, memory: float = 1.0) -> NDArray[np.float32]:
    """Tables for every twin from (A, M) statistics of normal steps.

    Args:
        statistics: (A, M), NaN where there was none.
        memory: steps over which the statistic says much the same, as windows overlap: M steps are M / memory independent ones.

    A twin with fewer than ENOUGH steps gets the fleet's median table.
    """
    twins = statistics.shape[0]
    samples = [np.sort(row[np.isfinite(row)].astype(np.float64)) for row in statistics]
    known = [i for i in range(twins) if len(samples[i]) >= ENOUGH]
    if not known:
        pooled = np.sort(np.concatenate(samples)) if twins else np.zeros(0)
        samples = [pooled if len(pooled) else np.array([1.0])] * twins
        known = list(range(twins))
    starts = {i: _threshold(samples[i], memory) for i in known}
    excesses = {i: samples[i][samples[i] > starts[i]] - starts[i] for i in known}
    # tail size in units of the twin's own spread between median and threshold, so that twins can be compared
    spreads = {i: max(starts[i] - float(np.median(samples[i])), 1e-9) for i in known}
    sizes = {i: float(excesses[i].mean()) / spreads[i] if len(excesses[i]) else np.nan for i in known}
    fleet_size = float(np.nanmedian(list(sizes.values()))) if np.isfinite(list(sizes.values())).any() else 0.5
    shape = _pooled_shape([excesses[i] / excesses[i].mean() for i in known if len(excesses[i]) >= 3 and excesses[i].mean() > 0])
    tables = np.zeros((twins, len(LEVELS)))
    for i in known:
        count = len(excesses[i]) / memory
        own = sizes[i] if np.isfinite(sizes[i]) else fleet_size
        mean_excess = spreads[i] * (count * own + PRIOR_EXCESSES * fleet_size) / (count + PRIOR_EXCESSES)
        tables[i] = _table(samples[i], starts[i], max(mean_excess, 1e-9) * (1 - shape), shape)
        middle = float(np.median(samples[i]))
        tables[i] = np.where(tables[i] > middle, middle + (tables[i] - middle) * _widening(len(samples[i]) / memory), tables[i])
    fleet = np.median(tables[known], axis=0)
    for i in set(range(twins)) - set(known):
        tables[i] = fleet
    rising = np.maximum.accumulate(tables, axis=1)
    step = 1e-6 * np.maximum(np.abs(rising), 1e-3)
    return (rising + np.cumsum(step, axis=1)).astype(np.float32)


def _threshold(sample: NDArray[np.float64], memory: float) -> float:
    share = min(max(TAIL_SHARE, 3 * memory / len(sample)), 0.25)
    return float(np.quantile(sample, 1 - share))


def _widening(independent: float) -> NDArray[np.float64]:
    """How much wider each level lies when it was learnt from so few independent steps: Student's t against the normal."""
    probability = np.clip(10.0**-LEVELS, 1e-8, 0.4)
    return np.asarray(stats.t.isf(probability, max(independent, 3.0)) / stats.norm.isf(probability))


def _pooled_shape(excesses: list[NDArray[np.float64]]) -> float:
    """Shape of the generalised Pareto tail over all twins' excesses, each in units of its twin's mean."""
    if not excesses:
        return 0.1
    pooled = np.concatenate(excesses)
    if len(pooled) < 20:
        return 0.1
    ordered = np.sort(pooled)
    above = 1 - (np.arange(len(ordered)) + 0.65) / len(ordered)  # share of the sample beyond each
    mean, weighted = float(ordered.mean()), float((ordered * above).mean())
    shape = 2 - mean / max(mean - 2 * weighted, 1e-9)  # probability-weighted moments
    # few extremes: stay near a light but not bounded tail
    weight = len(pooled) / (len(pooled) + 100)
    return float(np.clip(weight * shape + (1 - weight) * 0.1, *SHAPE_RANGE))


def _table(sample: NDArray[np.float64], start: float, scale: float, shape: float) -> NDArray[np.float64]:
    n = len(sample)
    beyond = (np.sum(sample > start) + 1) / (n + 1)  # conformal: the new step counts as one of them
    probability = 10.0**-LEVELS
    rank = np.ceil((n + 1) * (1 - probability)).astype(int) - 1  # conformal quantile
    body = sample[np.clip(rank, 0, n - 1)]
    ratio = np.maximum(beyond / probability, 1.0)
    tail = start + scale * (np.log(ratio) if shape < 1e-3 else np.expm1(shape * np.log(ratio)) / shape)
    return np.asarray(np.where(probability < beyond, tail, np.minimum(body, start)))


def muted() -> NDArray[np.float32]:
    """A table that no statistic reaches: what it stands for is not judged."""
    return (MUTE * (1 + np.arange(len(LEVELS)))).astype(np.float32)


def surprise(tables: Tensor, statistic: Tensor) -> Tensor:
    """-log10 p of `statistic` (...,) by its own table (..., Q): linear between knots, as the last two knots rise beyond."""
    levels = _KNOTS.to(tables)
    tables = tables.expand(*statistic.shape, len(LEVELS))
    if tables.is_contiguous():  # a table a statistic
        beyond = torch.searchsorted(tables, statistic[..., None].contiguous(), right=True)[..., 0]
    else:
        beyond = (statistic[..., None] >= tables).sum(dim=-1)
    at = (beyond - 1).clamp(0, len(LEVELS) - 2)
    low, high = torch.gather(tables, -1, at[..., None])[..., 0], torch.gather(tables, -1, at[..., None] + 1)[..., 0]
    share = (statistic - low) / (high - low)
    below = levels.take(at)
    return (below + share * (levels.take(at + 1) - below)).clamp(0.0, SURPRISE_MAX)

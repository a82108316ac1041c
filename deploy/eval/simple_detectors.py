"""Simple detectors that a field's series are judged by beside livetwin: a few lines each, fitted to the normal part.

In:   values of a series (T, C), how many first steps are normal.
Out:  a score a step, larger is stranger, of the steps up to it alone.

Sources: Jackson and Mudholkar, Control Procedures for Residuals Associated With Principal Component Analysis, 1979; Yeh et al.,
Matrix Profile I, ICDM 2016; Lloyd, Least Squares Quantization in PCM, 1982.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPAN = 24  # steps of a window
KEPT = 0.95  # share of the variance that principal components keep
REFERENCES_MAX, PROTOTYPES, ROUNDS = 1000, 128, 8
CLIP = 20.0  # spreads
Values = NDArray[np.float64]


def window_components(values: Values, normal: int) -> Values:
    """What the principal components of normal windows can't rebuild of the last ones, mean of SPAN windows."""
    windows = _windows(values, normal)
    known = windows[: normal - SPAN + 1]
    centre = known.mean(dim=0)
    variance, directions = torch.linalg.eigh(torch.cov((known - centre).T))
    share = torch.cumsum(variance.flip(0), 0) / variance.sum().clamp(min=1e-12)
    basis = directions.flip(1)[:, : int((share < KEPT).sum()) + 1]
    left = windows - centre
    return _mean_of_last(_each_step((left - (left @ basis) @ basis.T).square().sum(dim=1)))


def nearest_window(values: Values, normal: int) -> Values:
    """Distance of the last window to the nearest of up to REFERENCES_MAX normal ones, mean of SPAN windows."""
    windows = _windows(values, normal)
    known = windows[: normal - SPAN + 1]
    return _mean_of_last(_distance(windows, known[:: max(1, len(known) // REFERENCES_MAX)]))


def nearest_mean(values: Values, normal: int) -> Values:
    """The same to the nearest of PROTOTYPES k-means of the normal ones."""
    windows = _windows(values, normal)
    known = windows[: normal - SPAN + 1]
    means = known[torch.linspace(0, len(known) - 1, PROTOTYPES).long()].clone()
    for _ in range(ROUNDS):
        closest = torch.cdist(known, means).argmin(dim=1)
        many = torch.bincount(closest, minlength=PROTOTYPES)[:, None]
        sums = torch.zeros_like(means).index_add_(0, closest, known)
        means = torch.where(many > 0, sums / many.clamp(min=1), means)
    return _mean_of_last(_distance(windows, means))


def farthest_channel(values: Values, normal: int) -> Values:
    """The channel most spreads from its normal mean, mean of SPAN steps."""
    return _mean_of_last(np.abs(_scaled(values, normal)).max(axis=1))


SIMPLE: dict[str, Callable[[Values, int], Values]] = {
    "window PCA": window_components,
    "nearest window": nearest_window,
    "k-means": nearest_mean,
    "farthest channel": farthest_channel,
}


def _scaled(values: Values, normal: int) -> Values:
    spread = values[:normal].std(axis=0)
    return np.asarray(((values - values[:normal].mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)).clip(-CLIP, CLIP))


def _windows(values: Values, normal: int) -> Tensor:
    """Each window of SPAN steps, flat: (T - SPAN + 1, SPAN * C)."""
    return torch.from_numpy(_scaled(values, normal).astype(np.float32)).unfold(0, SPAN, 1).flatten(1)


def _distance(windows: Tensor, known: Tensor) -> Values:
    return _each_step(torch.cat([torch.cdist(part, known).amin(dim=1) for part in torch.split(windows, 4096)]))


def _each_step(of_windows: Tensor) -> Values:
    """A figure a step: that of the window that ends there, of the first steps that of the first window."""
    found = of_windows.numpy().astype(np.float64)
    return np.concatenate([np.full(SPAN - 1, found[0]), found])


def _mean_of_last(each: Values) -> Values:
    sums = np.concatenate([np.full(SPAN, 0.0), np.cumsum(each)])
    return np.asarray((sums[SPAN:] - sums[:-SPAN]) / np.minimum(np.arange(1, len(each) + 1), SPAN))

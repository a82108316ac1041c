"""Windowed principal components a twin: what the twin's last steps look like on normal days.

In:   scaled windows of the newest steps of one twin, flattened to F = span * C features.
Out:  centre (A, F) and basis (A, F, K), stacked over twins and padded with zero columns to one K, so that
      versions have one shape; the squared prediction error (SPE) of a window is the part the basis can't rebuild.

Source: Jackson and Mudholkar, Control Procedures for Residuals Associated With Principal Component Analysis, 1979.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.row_products import rows_times

FEATURES_MAX = 96


def span_for(channels: int, span: int = 12) -> int:
    """Steps in a PCA window: `span`, fewer when many channels would make the basis large.

    >>> span_for(2), span_for(10), span_for(60)
    (12, 9, 4)
    """
    return max(4, min(span, FEATURES_MAX // channels))


def fit(
    windows: NDArray[np.float32], *, explained: float, components_max: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre and basis of one twin from (n, F) scaled windows.

    The number of components is the smallest that explains the share `explained` of the variance.
    """
    n, features = windows.shape
    if n < 8:
        return np.zeros(features, np.float32), np.zeros((features, 1), np.float32)
    centre = windows.mean(axis=0, dtype=np.float64)
    deviation = windows.astype(np.float64) - centre
    variance, directions = np.linalg.eigh(deviation.T @ deviation / n)
    variance, directions = np.clip(variance[::-1], 0.0, None), directions[:, ::-1]
    total = variance.sum()
    if total <= 1e-12:
        return centre.astype(np.float32), np.zeros((features, 1), np.float32)
    enough = int(np.searchsorted(np.cumsum(variance) / total, explained)) + 1
    kept = max(1, min(enough, components_max, n // 8, features - 1))
    return centre.astype(np.float32), directions[:, :kept].astype(np.float32)


def stack(fits: list[tuple[NDArray[np.float32], NDArray[np.float32]]], width: int) -> tuple[Tensor, Tensor]:
    """Stack the twins' fits, zero columns up to `width`: centre (A, F), basis (A, F, width)."""
    centre = np.stack([centre for centre, _ in fits])
    basis = np.stack([np.pad(basis, ((0, 0), (0, width - basis.shape[1]))) for _, basis in fits])
    return torch.from_numpy(centre), torch.from_numpy(basis)


def unexplained(centre: Tensor, components: Tensor, windows: Tensor) -> Tensor:
    """What the components can't rebuild of each window. `centre` (N, F), `components` (N, K, F), `windows` (N, F) → (N, F)."""
    deviation = windows - centre  # (N, F)
    return deviation - rows_times((deviation[:, None, :] * components).sum(dim=2), components)

"""What is fitted a twin in closed form: scalers, principal components, and adapters taken over from the version before.

In:   values of all twins of a type, which cells count and train.
Out:  arrays stacked over twins.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import pca
from models.network import Forecaster

TRAIN_STEPS_MIN = 48
EXPLAINED = 0.99
COMPONENTS_MAX = 24
WINDOWS_MAX = 1500  # a twin's windows that the components are fitted to


def scalers(values: NDArray[np.float32], good: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Robust centre and spread of each twin and channel, (A, C) each, from its good cells.

    The spread has a floor, a share of the twin's own level and of the fleet's spread, so that a channel that never
    moved does not turn its first move into infinity.
    """
    twins, _, channels = values.shape
    loc, scale = np.zeros((twins, channels)), np.zeros((twins, channels))
    for twin in range(twins):
        for channel in range(channels):
            sample = values[twin, good[twin, :, channel], channel].astype(np.float64)
            if len(sample):
                low, loc[twin, channel], high = np.quantile(sample, [0.25, 0.5, 0.75])
                # the quartiles of a switch or of bursts may coincide: then the standard deviation says more
                scale[twin, channel] = max((high - low) / 1.349, 0.5 * sample.std())
    fleet = np.array([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in scale.T])
    floor = np.maximum(0.02 * fleet[None, :], 1e-3 * np.abs(loc))
    return loc.astype(np.float32), np.maximum(scale, np.maximum(floor, 1e-6)).astype(np.float32)


def usual_steps(x: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Robust size of the change from one step to the next, (A, C), of scaled values (A, T, C)."""
    both = good[:, 1:] & good[:, :-1]
    change = np.abs(np.diff(x, axis=1))
    found = np.full(x.shape[::2], np.nan)
    for twin, channel in np.ndindex(*found.shape):
        sample = change[twin, both[twin, :, channel], channel]
        if len(sample):
            found[twin, channel] = 1.4826 * np.median(sample)
    return np.asarray(np.clip(np.nan_to_num(found, nan=1.0), 0.01, 2.0), np.float32)


def span_for(channels: int, steps: int) -> int:
    """Steps in a PCA window: fewer on a short record, as every component needs windows to be seen in."""
    return min(pca.span_for(channels), max(4, steps // 40))


def components(x: NDArray[np.float32], good: NDArray[np.bool_], train: NDArray[np.bool_], span: int) -> tuple[Tensor, Tensor]:
    """Stacked PCA of each twin's training windows without a bad cell. `x`, `good` (A, T, C) → centre, basis."""
    whole = (good.all(axis=2)) & train
    fits = []
    for twin in range(len(x)):
        run = np.lib.stride_tricks.sliding_window_view(whole[twin], span).all(axis=1)
        starts = np.flatnonzero(run)
        starts = starts[:: max(1, len(starts) // WINDOWS_MAX)]
        windows = x[twin][starts[:, None] + np.arange(span)].reshape(len(starts), span * x.shape[2])
        fits.append(pca.fit(windows.clip(-20, 20), explained=EXPLAINED, components_max=COMPONENTS_MAX))
    return pca.stack(fits, min(COMPONENTS_MAX, span * x.shape[2] - 1))


def inherit(network: Forecaster, base: Forecaster, base_assets: tuple[str, ...], assets: tuple[str, ...]) -> None:
    """Start from the base: backbone and head as they are; a twin it does not know gets the fleet's mean adapter."""
    row_of = {asset: row for row, asset in enumerate(base_assets)}
    state = base.state_dict()
    state["step"] = network.step
    for name in ("down", "up", "bias"):
        mean = state[name].mean(dim=0)
        state[name] = torch.stack([state[name][row_of[asset]] if asset in row_of else mean for asset in assets])
    network.load_state_dict(state)

"""The level a channel should have, from time of day and the other channels, without the channel's own past.

In:   scaled windows, calendar features.
Out:  regression weights a twin and channel (A, C, FEATURES); the expected mean of the newest steps.

The forecast follows a fault within hours, as it reads the faulty channel's own past; this regression never does, so a
sensor that is off or drifts stays strange for as long as it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import calibration
from models.row_products import rows_times
from models.windows import SMOOTH_FEATURES

FOLDS = 6
SHORT, LONG = 4, 16  # steps: the level judged, and the other channels' memory
RIDGE = 3.0
WEEKLY = 7  # a constant, and sine and cosine of three harmonics


def feature_count(channels: int, *, weekly: bool) -> int:
    """Features of a channel's regression: what `seasons` gives, and both levels of all channels.

    >>> feature_count(2, weekly=False), feature_count(2, weekly=True)
    (11, 53)
    """
    return (WEEKLY if weekly else 1) * (1 + SMOOTH_FEATURES) + 2 * channels


def seasons(calendar: Tensor, *, weekly: bool) -> Tensor:
    """(N, CALENDAR_FEATURES) → a constant and the smooth curve of the day; with `weekly` a curve of its own each day of the
    week: every one of them times three harmonics of the week.

    >>> seasons(torch.zeros(1, 22), weekly=True).sum().item()
    1.0
    """
    day = torch.cat([torch.ones_like(calendar[:, :1]), calendar[:, :SMOOTH_FEATURES]], dim=1)
    if not weekly:
        return day
    sin, cos = calendar[:, -2:-1], calendar[:, -1:]
    sin2, cos2 = 2 * sin * cos, cos * cos - sin * sin
    week = torch.cat([torch.ones_like(sin), sin, cos, sin2, cos2, sin2 * cos + cos2 * sin, cos2 * cos - sin2 * sin], dim=1)
    return (week[:, :, None] * day[:, None]).flatten(1)


def levels(x: Tensor, good: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of the newest good cells of (N, steps, C): over SHORT and LONG steps, and where the short one is known."""
    counts = good[:, -SHORT:].sum(dim=1), good[:, -LONG:].sum(dim=1)
    clipped = x.clamp(-8, 8) * good
    short, long = (
        clipped[:, -steps:].sum(dim=1) / count.clamp(min=1) for steps, count in zip((SHORT, LONG), counts, strict=True)
    )
    return short, long, counts[0] * 2 >= SHORT


def expected(weights: Tensor, short: Tensor, long: Tensor, calendar: Tensor, *, weekly: bool) -> Tensor:
    """Expected short level, (N, C). `weights` (N, C, FEATURES); a channel's weights on itself are zero."""
    features = torch.cat([seasons(calendar, weekly=weekly), short, long], dim=1)  # (N, F)
    return rows_times(features, weights.transpose(1, 2))


def fit(
    short: NDArray[np.float32], long: NDArray[np.float32], known: NDArray[np.bool_], season: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Ridge regression of one twin: (M, C) levels, (M, features) of `seasons` → (C, FEATURES)."""
    channels, own = short.shape[1], season.shape[1]
    features = np.concatenate([season, short, long], axis=1).astype(np.float64)
    weights = np.zeros((channels, features.shape[1]))
    for channel in range(channels):
        used = np.ones(features.shape[1], np.bool_)
        used[[own + channel, own + channels + channel]] = False
        rows = known[:, channel]
        if rows.sum() < 16:
            continue
        f = features[rows][:, used]
        ridge = RIDGE * np.eye(f.shape[1])
        ridge[0, 0] = 1e-6  # the mean is not drawn to zero
        weights[channel, used] = np.linalg.solve(f.T @ f + ridge, f.T @ short[rows, channel])
    return weights.astype(np.float32)


@dataclass(frozen=True, slots=True)
class FleetLevels:
    weights: NDArray[np.float32]  # (A, C, FEATURES)
    left_out: NDArray[np.float32]  # (A, T, C) how far off each step is by weights that have not seen its stretch; 0: unknown
    tables: NDArray[np.float32]  # (A, C, Q)


def fit_fleet(
    x: NDArray[np.float32],
    good: NDArray[np.bool_],
    part: NDArray[np.bool_],
    calendars: NDArray[np.float32],
    *,
    judged: bool,
    weekly: bool,
) -> FleetLevels:
    """Weights of every twin, and tables from cross-fitting: each of FOLDS stretches of time is judged by weights of the others.

    Levels have a long memory, so a record holds few independent ones: two a stretch. A channel whose newest stretch lies
    clearly further off than the others is not judged at all, as its level wanders by itself.
    With `judged` false no channel is. With `weekly` each day of the week has a curve of its own.
    """
    twins, steps, channels = x.shape
    before = ((0, 0), (LONG - 1, 0), (0, 0))
    values, mask = torch.from_numpy(np.pad(x, before)), torch.from_numpy(np.pad(good, before).astype(np.float32))
    if not judged:
        nothing = np.zeros((twins, channels, feature_count(channels, weekly=weekly)), np.float32)
        return FleetLevels(nothing, np.zeros(x.shape, np.float32), np.tile(calibration.muted(), (twins, channels, 1)))
    season = seasons(torch.from_numpy(calendars), weekly=weekly).numpy()
    weights, off = [], np.zeros((twins, steps, channels), np.float32)
    steady = np.zeros((twins, channels), np.bool_)
    for twin in range(twins):
        windows, masks = (array[twin].unfold(0, LONG, 1).transpose(1, 2) for array in (values, mask))
        short_t, long_t, known_t = levels(windows, masks)
        short, long, known = short_t.numpy(), long_t.numpy(), known_t.numpy() & part[twin][:, None]
        weights.append(fit(short, long, known, season))
        used = np.flatnonzero(part[twin])
        medians = np.full((FOLDS, channels), np.nan)
        for number, fold in enumerate(np.array_split(used, FOLDS)):
            others = known.copy()
            others[fold] = False
            w = torch.from_numpy(fit(short, long, others, season))[None].expand(len(fold), -1, -1)
            guess = expected(w, short_t[fold], long_t[fold], torch.from_numpy(calendars[fold]), weekly=weekly).numpy()
            error = np.abs(short[fold] - guess) * known[fold]
            off[twin, fold] = error
            for channel in range(channels):
                sample = error[known[fold, channel], channel]
                if len(sample):
                    medians[number, channel] = np.median(sample)
        if np.isfinite(medians).all():
            steady[twin] = medians[-1] <= 2 * np.median(medians[:-1], axis=0) + 1e-3
    dense = np.where(off > 0, off, np.nan)
    memory = max(LONG, float(part.sum(axis=1).max()) / (2 * FOLDS))
    tables = np.stack([calibration.fit_tables(dense[:, :, channel], memory=memory) for channel in range(channels)], axis=1)
    return FleetLevels(np.stack(weights), off, np.where(steady[:, :, None], tables, calibration.muted()).astype(np.float32))

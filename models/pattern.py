"""Patterns: how far a twin's last window is from every one its type has shown, whatever the time of day.

In:   scaled windows of the last SPAN steps, in means of BIN steps.
Out:  prototypes (P, BINS * C), shared by a type's twins; the distance of a window to the nearest one.

What runs in cycles of its own, a batch, a beat, a wash, is foreseen by no calendar, and a forecast follows what it last saw,
also where a cycle stops, is turned round or takes another shape. A memory of usual windows does not.

Sources: Yeh et al., Matrix Profile I, ICDM 2016 (the distance to the nearest window as a measure of strangeness); Lloyd, Least
Squares Quantization in PCM, 1982 (k-means, so that the memory stays small).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import calibration

BIN, BINS = 8, 8
SPAN = BIN * BINS
CLIP = 8.0  # of a scaled value: one spike alone is for the forecast
PROTOTYPES, CELLS_MAX = 256, 1 << 16  # fewer prototypes where there are many channels
WINDOWS_MAX = 16_384  # that prototypes are fitted to, and that are held at once
ROUNDS = 8
FOLDS = 5
EXPLAINED = 0.9  # share of what changes within a window
KNOWN = 0.75  # share of good cells below which nothing is said


def count_for(channels: int) -> int:
    """Prototypes of a type with so many channels.

    >>> count_for(3), count_for(60)
    (256, 136)
    """
    return max(16, min(PROTOTYPES, CELLS_MAX // (BINS * channels)))


def binned(x: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Means of BIN steps, (N, BINS, C); whether enough of each window is good, (N,).

    A bin without a good cell has the mean of the channel's window.

    Args:
        x: (N, steps, C) scaled, 0 where not good; the newest SPAN steps count.
        good: (N, steps, C) float, 1 or 0.
    """
    n, _, channels = x.shape
    cells = (x[:, -SPAN:].clamp(-CLIP, CLIP) * good[:, -SPAN:]).reshape(n, BINS, BIN, channels).sum(dim=2)
    count = good[:, -SPAN:].reshape(n, BINS, BIN, channels).sum(dim=2)
    whole = cells.sum(dim=1, keepdim=True) / count.sum(dim=1, keepdim=True).clamp(min=1)
    means = torch.where(count > 0, cells / count.clamp(min=1), whole)
    return means, count.sum(dim=1).sum(dim=1) >= KNOWN * SPAN * channels


def nearest(prototypes: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest prototype, (N,), and what is left of each window beside it, (N, BINS, C)."""
    flat = means.flatten(1)
    squares = (prototypes * prototypes).sum(dim=1) - 2.0 * torch.nn.functional.linear(flat, prototypes)
    at = squares.argmin(dim=1)
    rest = flat - prototypes.index_select(0, at)
    return (rest * rest).sum(dim=1).sqrt(), rest.reshape(means.shape)


@dataclass(frozen=True, slots=True)
class FleetPatterns:
    """With no prototypes (P = 0) nobody is judged."""

    prototypes: NDArray[np.float32]  # (P, BINS * C)
    left_out: NDArray[np.float32]  # (A, T) distance to prototypes that have not seen the step's stretch; 0: unknown
    tables: NDArray[np.float32]  # (A, 1, Q)


def fit_fleet(
    x: NDArray[np.float32],
    good: NDArray[np.bool_],
    part: NDArray[np.bool_],
    *,
    seed: int,
    kept: NDArray[np.float32] | None = None,
) -> FleetPatterns:
    """Prototypes of the windows that end in `part`, and tables from cross-fitting: each of FOLDS stretches of time is judged
    by prototypes of the others.

    A twin is judged whose windows come again: prototypes of other stretches explain EXPLAINED of what changes within a window,
    and its newest stretch lies no further off than twice the others.

    Args:
        x: (A, T, C) scaled, 0 where not good.
        good: (A, T, C).
        part: (A, T) steps that count.
        seed: of the windows that k-means begins with.
        kept: prototypes of a version that twins are carried over from: taken as they are.
    """
    twins, steps, channels = x.shape
    features, known = _features(x, good)
    usable = known & part  # (A, T)
    fold = np.minimum((np.cumsum(part, axis=1) - 1) * FOLDS // np.maximum(part.sum(axis=1, keepdims=True), 1), FOLDS - 1)
    count = count_for(channels)
    off = np.zeros((twins, steps), np.float32)
    medians = np.full((twins, FOLDS), np.nan)
    for number in range(FOLDS):
        mine = usable & (fold == number)
        prototypes = torch.from_numpy(kept) if kept is not None else _means_of(features, usable & (fold != number), count, seed)
        if prototypes is None or not len(prototypes):
            continue
        off[mine] = _distances(prototypes, features[torch.from_numpy(mine)])
        for twin in np.flatnonzero(mine.any(axis=1)):
            medians[twin, number] = np.median(off[twin, mine[twin]])
    whole = torch.from_numpy(kept) if kept is not None else _means_of(features, usable, count, seed)
    judged = np.isfinite(medians).all(axis=1)
    judged[judged] = medians[judged, -1] <= 2 * np.median(medians[judged, :-1], axis=1) + 1e-3
    judged &= _explained(off, features, usable) >= EXPLAINED
    if whole is None or not judged.any():
        nothing = kept if kept is not None else np.zeros((0, BINS * channels), np.float32)
        return FleetPatterns(nothing, np.zeros_like(off), np.tile(calibration.muted(), (twins, 1, 1)))
    tables = calibration.fit_tables(np.where(off > 0, off, np.nan), memory=float(SPAN))[:, None]
    tables = np.where(judged[:, None, None], tables, calibration.muted()).astype(np.float32)
    return FleetPatterns(whole.numpy(), off * judged[:, None], tables)


def _features(x: NDArray[np.float32], good: NDArray[np.bool_]) -> tuple[Tensor, NDArray[np.bool_]]:
    """`binned` of the window that ends at each step: (A, T, BINS * C), and whether enough of it is good, (A, T)."""
    before = ((0, 0), (SPAN - 1, 0), (0, 0))
    cells = torch.from_numpy(np.pad(x, before)), torch.from_numpy(np.pad(good, before).astype(np.float32))
    features, known = [], []
    for series in zip(*cells, strict=True):
        windows = [one.unfold(0, SPAN, 1).transpose(1, 2) for one in series]
        parts = [binned(*(one[at : at + WINDOWS_MAX] for one in windows)) for at in range(0, x.shape[1], WINDOWS_MAX)]
        features.append(torch.cat([means.flatten(1) for means, _ in parts]))
        known.append(torch.cat([enough for _, enough in parts]).numpy())
    return torch.stack(features), np.stack(known)


def _distances(prototypes: Tensor, flat: Tensor) -> NDArray[np.float32]:
    parts = [nearest(prototypes, part[:, None])[0] for part in torch.split(flat, WINDOWS_MAX)]
    return np.asarray(torch.cat(parts).numpy())


def _means_of(features: Tensor, used: NDArray[np.bool_], count: int, seed: int) -> Tensor | None:
    """k-means of the used windows: (count, features); None where there are too few. Of few windows some means come twice."""
    rows, at = np.nonzero(used)
    if len(rows) < 2 * FOLDS:
        return None
    draw = np.random.default_rng(seed)
    drawn = np.sort(draw.choice(len(rows), min(len(rows), WINDOWS_MAX), replace=False))
    sample = features[rows[drawn], at[drawn]]
    fitted = min(count, len(sample) // 2)
    middle = sample[torch.from_numpy(draw.choice(len(sample), fitted, replace=False))].clone()
    for _ in range(ROUNDS):
        closest = ((middle * middle).sum(dim=1) - 2.0 * sample @ middle.T).argmin(dim=1)
        sums = torch.zeros_like(middle).index_add_(0, closest, sample)
        many = torch.bincount(closest, minlength=fitted)[:, None]
        middle = torch.where(many > 0, sums / many.clamp(min=1), middle)
    return middle[torch.arange(count) % fitted]


def _explained(distance: NDArray[np.float32], features: Tensor, used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the change within each twin's windows that lies nearer than the distance, (A,)."""
    found = np.zeros(len(used))
    for twin in np.flatnonzero(used.any(axis=1)):
        own = features[twin, torch.from_numpy(used[twin])].reshape(-1, BINS, features.shape[2] // BINS)
        within = float((own - own.mean(dim=1, keepdim=True)).square().sum(dim=(1, 2)).mean())
        found[twin] = 1 - float(np.square(distance[twin, used[twin]], dtype=np.float64).mean()) / max(within, 1e-12)
    return found

"""What an alarming step looks like, in numbers that mean the same for every twin of a type: what a fault is told by.

In:   what a version's detectors said of N steps (`models.port.Scores`), and the windows that end in them.
Out:  features (N, F), in spreads, shares and logarithms; no value of a twin in its own units.
Pure; a row depends on nothing but the row, and is rounded before anyone compares it.

Seven are of the step as a whole; `OF_CHANNEL` are of the channel that contributes most, once with their signs and once
without; `BY_CHANNEL` are told of every channel.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.port import Scores
from models.rounding import rounded

RECENT: Final = 12  # newest changes from step to step that are held against those before them
SHORT: Final = 4  # steps of a mean
OF_CHANNEL: Final = ("now", "before", "off", "trend", "apart", "ratio", "rough", "jump", "still", "bad", "contribution")
SIGNED: Final = OF_CHANNEL[:7]
BY_CHANNEL: Final = ("contribution", "now", "before", "rough", "still", "bad")
_FARTHEST: Final = 1e4  # spreads

Floats = NDArray[np.float64]


def feature_count(channels: int, detectors: int) -> int:
    """F for a type.

    >>> feature_count(3, 4)
    43
    """
    return detectors + 3 + len(OF_CHANNEL) + len(SIGNED) + len(BY_CHANNEL) * channels


def describe(scores: Scores, windows: NDArray[np.float32], quality: NDArray[np.uint8]) -> Floats:
    """Features of N steps.

    Args:
        scores: of the last step of each window.
        windows: (N, W, C) channel units, more than RECENT + SHORT steps.
        quality: (N, W, C).
    """
    n, _, channels = windows.shape
    found = _of_channels(scores, windows, quality)
    top = scores.contribution.argmax(axis=1)
    of_top = {name: found[name][np.arange(n), top] for name in OF_CHANNEL}
    shares = scores.contribution.astype(np.float64)
    columns = [
        *rounded(scores.mix).astype(np.float64).T,
        scores.score.astype(np.float64),
        1.0 / np.maximum(np.square(shares).sum(axis=1), 1.0 / channels),  # channels that take part
        (np.abs(found["before"]) > np.log1p(3.0)).mean(axis=1),
        *(of_top[name] for name in OF_CHANNEL),
        *(np.abs(of_top[name]) for name in SIGNED),
        *(found[name][:, channel] for name in BY_CHANNEL for channel in range(channels)),
    ]
    return rounded(np.stack(columns, axis=1)).astype(np.float64)


def deviation(scores: Scores, windows: NDArray[np.float32]) -> Floats:
    """(N,) largest distance of a channel from a forecast of the step, in its spreads: an alert shows the step that has most."""
    newest = windows[:, -1].astype(np.float64)
    both = (_apart(newest, scores.expected, scores.spread), _apart(newest, scores.before, scores.before_spread))
    return np.asarray(np.abs(np.stack(both)).max(axis=(0, 2)))


def _of_channels(scores: Scores, windows: NDArray[np.float32], quality: NDArray[np.uint8]) -> dict[str, Floats]:
    """Each of OF_CHANNEL for every channel, (N, C)."""
    spread = np.where(scores.spread > 0, scores.spread, 1.0).astype(np.float64)[:, None]  # (N, 1, C), NaN is not above 0
    x = windows / spread
    known = np.isfinite(x)
    changes, both = np.diff(x, axis=1), known[:, 1:] & known[:, :-1]
    changes = np.where(both, changes, 0.0).clip(-_FARTHEST, _FARTHEST)
    recent, past = changes[:, -RECENT:], changes[:, :-RECENT]
    seen_recent, seen_past = both[:, -RECENT:], both[:, :-RECENT]
    newest = windows[:, -1].astype(np.float64)
    return {
        "now": _folded(_apart(newest, scores.expected, scores.spread)),
        "before": _folded(_apart(newest, scores.before, scores.before_spread)),
        "off": _folded(_over(rounded(scores.off).astype(np.float64), scores.before_spread)),
        "trend": _folded(_mean(x[:, -SHORT:]) - _mean(x[:, -RECENT - SHORT : -RECENT])),
        "apart": _folded(_mean(x[:, -RECENT:]) - _mean(x[:, :-RECENT])),
        "ratio": _ratio(newest, scores.before.astype(np.float64), scores.before_spread),
        "rough": np.log((_rms(recent, seen_recent) + 0.1) / (_rms(past, seen_past) + 0.1)),
        "jump": np.log1p(np.abs(recent).max(axis=1)),
        "still": ((recent == 0) & seen_recent).mean(axis=1),
        "bad": (quality[:, -RECENT:] != 0).mean(axis=1),
        "contribution": scores.contribution.astype(np.float64),
    }


def _over(amount: Floats, spread: NDArray[np.float32]) -> Floats:
    """In spreads; 0 where one is unknown."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = amount / spread
    return np.where(np.isfinite(found), found, 0.0).clip(-_FARTHEST, _FARTHEST)


def _apart(seen: Floats, expected: NDArray[np.float32], spread: NDArray[np.float32]) -> Floats:
    return _over(seen - expected, spread)


def _folded(x: Floats) -> Floats:
    """
    >>> _folded(np.array([-1.0, 0.0])).round(3).tolist()
    [-0.693, 0.0]
    """
    x = np.nan_to_num(x, nan=0.0, posinf=_FARTHEST, neginf=-_FARTHEST)
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


def _mean(x: Floats) -> Floats:
    """Over the steps, of what is known; NaN where nothing is. (N, S, C) → (N, C)"""
    known = np.isfinite(x)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, x, 0.0).sum(axis=1) / known.sum(axis=1))


def _rms(changes: Floats, seen: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.sqrt(np.square(changes).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)))


def _ratio(seen: Floats, expected: Floats, spread: NDArray[np.float32]) -> Floats:
    """Logarithm of seen over expected, within a factor of 50; 0 where one of them is next to nothing."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = np.log(np.abs(seen) / np.abs(expected)).clip(-4.0, 4.0)
        telling = np.isfinite(found) & (np.abs(expected) > spread)
    return np.asarray(np.where(telling, found, 0.0))

"""Coverage: whether a window holds enough good readings for what a version makes of it to raise an alarm.

In:   the quality of windows, and the share of good steps that its windows of normal steps had.
Out:  which windows count; what steps say to the alarm rule.
Pure: a window's answer depends on nothing but the window.

p-values are conformal: they hold for windows like those that the tables were fitted to. A window that has just begun to fill, or
a gap went through, is none of these: forecasts lack what they read, and the first step after a gap lies as far from the last
one known as many steps do. So it is scored, and the score is shown, but it raises no alarm until its newest STEPS are there, nor
does it end one. One that shows nothing from before its newest step is that of a twin that has just come.

Steps are counted, not cells: one with any good cell counts. A broken sensor leaves its twin's other channels to be judged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.risk import ANEW, MUTE

STEPS = 16  # newest ones of a window: the memory of the level detector, the longest but for the forecast's
PART = 7 / 8  # of the usual share of good ones among them
USUAL_QUANTILE = 0.05  # of a twin's windows of normal steps: so many of them held fewer good steps
_FEW = 16  # windows, from which on a twin's own share is known


def covered(quality: NDArray[np.uint8], good_share: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether windows hold enough good steps, (N,).

    Args:
        quality: (N, window, C) bits of `twin.quality`, oldest first; a cell without any is good.
        good_share: (N,) of the newest STEPS of the twin's usual windows, 0..1.

    >>> window = np.zeros((2, 64, 1), np.uint8)
    >>> window[1, -12:-8] = 1
    >>> covered(window, np.float32([1, 1])).tolist(), covered(window, np.float32([1, 0.8])).tolist()
    ([True, False], [True, True])
    """
    found = np.ones(len(quality), np.bool_)
    newest = quality[:, -STEPS:]
    some = np.flatnonzero(newest.any(axis=(1, 2)))  # most windows have no bad cell
    found[some] = (newest[some] == 0).any(axis=2).mean(axis=1) >= PART * good_share[some]
    return found


def said(score: NDArray[np.float32], counts: NDArray[np.bool_], anew: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What steps say to `models.risk`: their scores, where their windows count; all (N,).

    >>> said(np.float32([3, 3, 3]), np.array([True, False, False]), np.array([False, False, True])).tolist()
    [3.0, -1.0, -2.0]
    """
    return np.where(counts, score, np.where(anew, ANEW, MUTE))


def begins_anew(quality: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether windows show nothing good before their newest step, (N,); `quality` as for `covered`."""
    return np.asarray(~(quality[:, :-1] == 0).any(axis=(1, 2)))


def usual_share(good: NDArray[np.bool_], part: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of good steps among STEPS, (A,), that all but a few of a twin's windows hold that end at steps of `part`.

    A twin with few such windows gets the fleet's.

    Args:
        good: (A, T, C) cells that count.
        part: (A, T) normal steps that tables are fitted to.
    """
    counts = np.cumsum(np.pad(good.any(axis=2), ((0, 0), (1, 0))), axis=1)
    shares = np.asarray((counts[:, STEPS:] - counts[:, :-STEPS]) / STEPS)  # of windows that end at step STEPS - 1 and on
    own = [shares[twin, ends] for twin, ends in enumerate(part[:, STEPS - 1 :])]
    found = np.array([np.quantile(one, USUAL_QUANTILE) if len(one) >= _FEW else np.nan for one in own])
    fleet = np.nanmedian(found) if np.isfinite(found).any() else 1.0
    return np.where(np.isfinite(found), found, fleet).clip(0, 1).astype(np.float32)

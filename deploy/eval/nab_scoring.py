"""Scores of the Numenta Anomaly Benchmark, from its published description.

In:   anomaly scores of each series, larger is stranger, and the labelled windows as rows of the series.
Out:  the benchmark's figure, from 0 (a detector that says nothing) to 100 (each window at its first row and nothing else).

A row at or above the threshold is a detection. In a window only the one that earns most counts: the earliest. Outside each
one costs, less just after a window. A window without one costs. The first rows of a series, its probationary period, count for
nothing. One threshold serves all series: the best over the whole corpus, as the benchmark chooses it for each profile.

Source: Lavin and Ahmad, Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark, ICMLA 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PROBATION_SHARE, PROBATION_OF_AT_MOST = 0.15, 5000  # of the rows of a series, of which no more are counted than these
FAR_BEHIND = 3.0  # window widths after a window, from which on a false detection costs all of its weight


@dataclass(frozen=True, slots=True)
class Profile:
    """What a found window earns, and a false detection and a missed window cost."""

    name: str
    found: float
    false: float
    missed: float


STANDARD = Profile("standard", found=1.0, false=0.11, missed=1.0)
FEW_FALSE = Profile("reward low false positives", found=1.0, false=0.22, missed=1.0)
FEW_MISSED = Profile("reward low false negatives", found=1.0, false=0.11, missed=2.0)
PROFILES = (STANDARD, FEW_FALSE, FEW_MISSED)


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """A series of `rows` readings; `windows` are first and last row of each, in order, without overlap."""

    name: str
    rows: int
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        return probation_rows(self.rows)


@dataclass(frozen=True, slots=True)
class CorpusScore:
    value: float  # 0..100
    threshold: float
    raw: float  # sum over all series
    by_series: dict[str, float]  # raw, at that threshold


def probation_rows(rows: int) -> int:
    """How many rows at the beginning of a series a detector may learn from, and does not answer for.

    >>> probation_rows(4032), probation_rows(22695)
    (604, 750)
    """
    return int(PROBATION_SHARE * min(rows, PROBATION_OF_AT_MOST))


def score_corpus(
    series: Sequence[LabelledSeries],
    scores: Sequence[NDArray[np.floating]],
    profile: Profile = STANDARD,
    *,
    threshold: float | None = None,
) -> CorpusScore:
    """The benchmark's figure of a detector.

    Args:
        series: the corpus.
        scores: of each series, one a row; not NaN.
        profile: weights.
        threshold: of a detection; None: the one with the best sum over the corpus.

    Raises:
        ValueError: a series has another number of scores than rows, or one that is not a number.
    """
    gains = [_gains(one, found, profile) for one, found in zip(series, scores, strict=True)]
    windows = sum(len(_counted(one)) for one in series)
    base = -profile.missed * windows
    if threshold is None:
        threshold = _best(np.concatenate([at for at, _ in gains]), np.concatenate([gain for _, gain in gains]))
    by_series = {
        one.name: -profile.missed * len(_counted(one)) + float(gain[at >= threshold].sum())
        for one, (at, gain) in zip(series, gains, strict=True)
    }
    raw = sum(by_series.values())
    perfect = profile.found * windows
    return CorpusScore(100 * (raw - base) / (perfect - base) if windows else 0.0, threshold, raw, by_series)


def row_weights(series: LabelledSeries, profile: Profile) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a detection at each row earns (or costs, below zero), and the window each row is in, -1 outside."""
    weight = np.full(series.rows, -1.0)
    window = np.full(series.rows, -1)
    at = np.arange(series.rows)
    for number, (first, last) in enumerate(series.windows):
        width = last - first + 1
        inside = slice(first, last + 1)
        window[inside] = number
        weight[inside] = _sigmoid(-(last - at[inside] + 1) / width) / _sigmoid(np.array([-1.0]))
        end = series.windows[number + 1][0] if number + 1 < len(series.windows) else series.rows
        after = slice(last + 1, end)
        weight[after] = _sigmoid((at[after] - last) / max(width - 1, 1))
    return np.where(window >= 0, weight * profile.found, weight * profile.false), window


def _gains(
    series: LabelledSeries, scores: NDArray[np.floating], profile: Profile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score of each row that counts, falling, and what lowering the threshold to it adds to the sum."""
    if len(scores) != series.rows or not np.isfinite(scores).all():
        raise ValueError(
            f"{series.name}: {len(scores)} scores of which {int(np.isfinite(scores).sum())} are numbers, expected {series.rows}; "
            "the corpus was not scored"
        )
    weight, window = row_weights(series, profile)
    order = np.argsort(-np.asarray(scores[series.probation :], np.float64), kind="stable") + series.probation
    gain, inside = weight[order], window[order]
    for number in _counted(series):
        at = np.flatnonzero(inside == number)
        best = np.maximum.accumulate(gain[at])  # the earliest detection so far
        gain[at] = np.diff(best, prepend=-profile.missed)
    return np.asarray(scores, np.float64)[order], gain


def _counted(series: LabelledSeries) -> list[int]:
    """Windows that reach beyond the probationary period."""
    return [number for number, (_, last) in enumerate(series.windows) if last >= series.probation]


def _best(scores: NDArray[np.float64], gain: NDArray[np.float64]) -> float:
    """The threshold with the largest sum; infinite where no detection at all is best, the highest one among equals."""
    order = np.argsort(-scores, kind="stable")
    ranked, total = scores[order], np.cumsum(gain[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each value: rows with one score come together
    if not len(ranked) or total[last].max() <= 0:
        return float("inf")
    return float(ranked[last[np.argmax(total[last])]])


def _sigmoid(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1 far before a window's end to -1 far behind it, 0 at the end; `position` in widths of the window."""
    return np.where(position > FAR_BEHIND, -1.0, 2 / (1 + np.exp(5 * position)) - 1)

"""VUS-PR: the volume under the surface of range-based precision and recall, over thresholds and tolerances.

In:   scores, larger is stranger; stretches of steps with a fault.
Out:  from 0 to 1; no threshold is chosen. A detector that knows nothing gets about the share of steps under a fault.

For a tolerance `l` labels fall off over l // 2 steps on both sides of a stretch, as sqrt(1 - distance / l). Steps at or above a
threshold are predicted; precision is the label they gather a step predicted, recall the label gathered over the mean of what
there is with and without the slopes, at most 1, times the share of stretches of which anything was found. The area under
precision over recall, by steps, is averaged over the tolerances.

Source: Paparrizos et al., Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly Detection,
PVLDB 15(11), 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def vus_pr(
    score: NDArray[np.floating],
    stretches: Sequence[tuple[int, int]],
    *,
    tolerance: int,
    left_out: NDArray[np.bool_] | None = None,
) -> float:
    """The mean area over tolerances of 0 to `tolerance` steps.

    Args:
        score: (T,), one step after the other; several series may follow each other.
        stretches: first step and end of each fault.
        tolerance: the largest.
        left_out: steps that count for nothing.

    >>> knows = np.array([0.0] * 10 + [1.0] * 5 + [0.0] * 10)
    >>> vus_pr(knows, [(10, 15)], tolerance=0), round(vus_pr(-knows, [(10, 15)], tolerance=0), 2)
    (1.0, 0.2)
    """
    counted = np.ones(len(score), np.bool_) if left_out is None else ~left_out
    inside = np.zeros(len(score), np.bool_)
    for first, end in stretches:
        inside[first:end] = True
    inside &= counted
    if not inside.any():
        return float("nan")
    order = np.argsort(-score[counted], kind="stable")
    ranked = score[counted][order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # steps with one score are predicted together
    areas = []
    for window in range(tolerance + 1):
        label = np.zeros(len(score))
        found = []
        for first, end in stretches:
            low, high = max(0, first - window // 2), min(len(score), end + window // 2)
            at = np.arange(low, high)
            distance = np.maximum(np.maximum(first - at, at - end + 1), 0)
            label[low:high] = np.maximum(label[low:high], np.sqrt(1 - distance / max(window, 1)))
            if counted[low:high].any():
                found.append(float(score[low:high][counted[low:high]].max()))
        gathered = np.cumsum(label[counted][order])[last]
        precision = gathered / (last + 1)
        strongest = np.sort(np.array(found))
        existing = 1 - np.searchsorted(strongest, ranked[last], side="left") / len(strongest)
        whole = (float(inside.sum()) + float(label[counted].sum())) / 2
        recall = np.minimum(gathered / whole, 1.0) * existing
        areas.append(float((np.diff(recall, prepend=0.0) * precision).sum()))
    return float(np.mean(areas))

"""Echoes: a value that was off for a step or two stays in the windows of some detectors, which then find step after step strange.

In:   a version's score of each step and the share of each detector in it, in each twin's order.
Out:  the score, less where nothing but such windows speaks.
For ranking only: alarms know nothing of it.

After a fault that lasts, the shift and the level detector speak too, or the forecast is off again and again: that is no echo.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detectors import DETECTORS
from models.row_arrays import RowArrays
from models.waves import last_steps

LOOK = 24  # steps
PEAKS_MAX = 2  # steps of these at which the forecast was off
PEAK_LEAST, PEAK_SHARE = 1.5, 0.5  # decades of the forecast, and of those of the score, that make it off
SPAN = 12  # steps an echo may last: the shape detector's
SILENT_LEAST, SILENT_SHARE = 1.0, 0.35  # decades, and share of the score's, below which a detector is silent
AGAIN = (7, 8)  # steps after a peak when the shift detector's forecast begins there
LEVEL_STEPS = 5  # while the level detector holds the peak itself
DAMPED = 0.25


class EchoState(RowArrays):
    """At which of the last steps the forecast was off, of up to `capacity` twins."""

    def __init__(self, capacity: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {"off": np.zeros((capacity, LOOK), np.float32)}  # 1 or 0, newest last

    def update(self, rows: NDArray[np.int64], score: NDArray[np.float32], mix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take steps of many twins, a twin's steps in order.

        Args:
            rows: (N,).
            score: (N,) -log10 p.
            mix: (N, D) share of each detector.

        Returns:
            (N,) the score, DAMPED of it where it is an echo.
        """
        decades = score[:, None] * mix / np.maximum(mix.max(axis=1, keepdims=True, initial=0.0), 1e-30)
        forecast, shift, level = (decades[:, DETECTORS.index(name)] for name in ("forecast", "shift", "level"))
        off = (forecast >= PEAK_LEAST) & (forecast >= PEAK_SHARE * score)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        recent = np.empty((len(rows), LOOK), np.float32)
        recent[order] = last_steps(ordered, off[order].astype(np.float32), self.arrays["off"])
        last = order[np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])]
        self.arrays["off"][rows[last]] = recent[last]
        age = np.where(recent.any(axis=1), recent[:, ::-1].argmax(axis=1), LOOK)
        silent = np.maximum(SILENT_SHARE * score, SILENT_LEAST)
        echo = (age >= 1) & (age < SPAN) & (recent.sum(axis=1) <= PEAKS_MAX) & (forecast < silent)
        echo &= (shift < silent) | ((age >= AGAIN[0]) & (age <= AGAIN[1]))
        echo &= (level < silent) | (age < LEVEL_STEPS)
        return np.where(echo, DAMPED * score, score).astype(np.float32)

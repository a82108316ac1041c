"""Stillness: a channel that changes far less from step to step than it ever did. A forecast of what stands still is right.

In:   normal steps of all twins of a type; then windows of the newest steps.
Out:  how surprising the stillest channel of each window is, in decades, and which it is.

Only channels that never rested while they were learnt are judged. What is measured is the logarithm of the mean change over
STEPS steps, beside what it usually is; tables are conformal (`models.calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models import calibration
from models.windows import good_cells
from twin.block import StepBlock

STEPS = 16
WINDOWS_MIN = 48  # of a channel, to know what is usual
SPREAD_MIN = 0.05  # of the logarithm
LOWEST = np.log(1e-6)  # of what is usual: nothing counts as stiller
DOUBTFUL = 2.0  # decades that count for nothing


@dataclass(frozen=True, slots=True)
class Stillness:
    """What is usual of each twin's channels; NaN where a channel is not judged."""

    row_of: dict[str, int]
    usual: NDArray[np.float64]  # (A, C) mean logarithm of the change
    spread: NDArray[np.float64]  # (A, C)
    tables: NDArray[np.float32]  # (A, Q)

    def decades(
        self, assets: list[str], values: NDArray[np.float32], quality: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Surprise of the stillest channel beyond DOUBTFUL, (N,), and which it is, (N,).

        Args:
            assets: N of them; one that was not learnt is not judged.
            values: (N, STEPS + 1, C) newest last.
            quality: of the values.
        """
        rows = np.array([self.row_of.get(asset, -1) for asset in assets], np.int64)
        stiller = _stiller(_changes(values, good_cells(values, quality)), self.usual[rows], self.spread[rows])
        stiller[rows < 0] = 0.0
        statistic = torch.from_numpy(stiller.max(axis=1, initial=0.0).astype(np.float32))
        found = calibration.surprise(torch.from_numpy(self.tables[rows]), statistic).numpy()
        return np.maximum(found - DOUBTFUL, 0.0).astype(np.float64), stiller.argmax(axis=1)


def fit_stillness(block: StepBlock) -> Stillness:
    """From normal steps."""
    good = good_cells(block.values, block.quality)
    twins, steps, channels = block.values.shape
    usual, spread = np.full((twins, channels), np.nan), np.full((twins, channels), np.nan)
    largest = np.full((twins, max(steps - STEPS, 1)), np.nan, np.float32)
    for twin in range(twins):
        if steps <= STEPS:
            continue
        windows = (np.lib.stride_tricks.sliding_window_view(one[twin], STEPS + 1, axis=0) for one in (block.values, good))
        change = _changes(*(one.transpose(0, 2, 1) for one in windows))
        for channel in range(channels):
            sample = change[np.isfinite(change[:, channel]), channel]
            if len(sample) >= WINDOWS_MIN and sample.min() > 0:
                logs = np.log(sample)
                usual[twin, channel] = np.median(logs)
                spread[twin, channel] = max(1.4826 * np.median(np.abs(logs - usual[twin, channel])), SPREAD_MIN)
        stiller = _stiller(change, usual[twin], spread[twin])
        largest[twin] = np.where(np.isfinite(change).any(axis=1), stiller.max(axis=1, initial=0.0), np.nan)
    judged = np.isfinite(usual).any(axis=1)
    tables = calibration.fit_tables(largest, memory=float(STEPS))
    tables = np.where(judged[:, None], tables, calibration.muted()).astype(np.float32)
    return Stillness({asset: row for row, asset in enumerate(block.assets)}, usual, spread, tables)


def _changes(values: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean change from step to step in (N, STEPS + 1, C), (N, C); NaN where less than half of them is known."""
    both = good[:, 1:] & good[:, :-1]
    change = np.where(both, np.abs(np.diff(np.where(good, values, 0.0).astype(np.float64), axis=1)), 0.0)
    count = both.sum(axis=1)
    return np.where(count * 2 >= STEPS, change.sum(axis=1) / np.maximum(count, 1), np.nan)


def _stiller(change: NDArray[np.float64], usual: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many spreads stiller than usual, at least 0, (N, C); 0 where nothing is known."""
    logs = np.log(np.maximum(change, 1e-300))
    below = np.minimum(usual - logs, -LOWEST) / spread
    return np.where(np.isfinite(below), np.maximum(below, 0.0), 0.0)

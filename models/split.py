"""Which steps train, which calibrate, which are held out: a split in time, a twin at a time.

In:   which cells of a `StepBlock` count.
Out:  `Split`; blocks narrowed to what is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.block import StepBlock

HOLDOUT_SHARE, CALIBRATION_SHARE = 0.15, 0.35


@dataclass(frozen=True, slots=True)
class Split:
    """Which steps may be targets of training and of calibration, (A, T) each; the hold-out begins at `holdout_start`."""

    train: NDArray[np.bool_]
    calibrate: NDArray[np.bool_]
    holdout_start: int

    def only(self, twins: NDArray[np.int64]) -> Split:
        return Split(self.train[twins], self.calibrate[twins], self.holdout_start)


def split_in_time(good: NDArray[np.bool_], holdout_share: float = HOLDOUT_SHARE) -> Split:
    """Split each twin's own usable steps: older part, newer part, and the common newest hold-out. `good` is (A, T, C)."""
    usable = good.any(axis=2)
    steps = usable.shape[1]
    holdout_start = steps - int(steps * holdout_share)
    before = usable & (np.arange(steps) < holdout_start)
    place = np.cumsum(before, axis=1)  # 1 for a twin's first usable step
    cut = np.ceil(place[:, -1:] * (1 - CALIBRATION_SHARE))
    return Split(before & (place <= cut), before & (place > cut), holdout_start)


def only_twins(block: StepBlock, twins: NDArray[np.int64]) -> StepBlock:
    assets = tuple(block.assets[row] for row in twins)
    return StepBlock(assets, block.channels, block.first_step, block.period_ns, block.values[twins], block.quality[twins])


def bad_marked(block: StepBlock, good: NDArray[np.bool_]) -> StepBlock:
    """The block with every cell that does not count marked bad, excluded ones too."""
    quality = np.where(good, block.quality, np.maximum(block.quality, 1)).astype(np.uint8)
    return StepBlock(block.assets, block.channels, block.first_step, block.period_ns, block.values, quality)

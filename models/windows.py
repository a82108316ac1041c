"""Windows: the last steps of a twin, as the networks see them.

In:   `StepBlock` (training, evaluation) or windows gathered by the stream; channel units, NaN where nothing is known.
Out:  windows in channel units with their quality; calendar features; which cells count.
Pure: no clock, no I/O. Training, evaluation and the stream share these few functions, so they see the same windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.block import StepBlock
from twin.quality import Quality

DAY_NS = 86_400 * 1_000_000_000
WEEK_NS = 7 * DAY_NS
# the low ones follow the day; the high ones let a network place what a schedule does at a certain hour
DAY_HARMONICS = (1, 2, 3, 4, 6, 8, 12, 24, 48, 96)
CALENDAR_FEATURES = 2 * len(DAY_HARMONICS) + 2  # sin and cos of the day's harmonics, sin and cos of the week
SMOOTH_FEATURES = 6  # the first ones: three harmonics


def good_cells(values: NDArray[np.float32], quality: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Cells that count: a finite value and no quality bit set.

    >>> good_cells(np.array([1.0, np.nan, 2.0], np.float32), np.array([0, 0, 1], np.uint8))
    array([ True, False, False])
    """
    return np.asarray(np.isfinite(values) & (quality == 0))


def calendar(time_ns: NDArray[np.int64], *, day: bool = True, week: bool = True) -> NDArray[np.float32]:
    """Sine and cosine of the day (its harmonics) and of the week at `time_ns`, shape (..., CALENDAR_FEATURES).

    What the training span does not hold at least twice must be switched off, or the network takes it for a clock.

    >>> calendar(np.array([0]))[0, :2].tolist(), calendar(np.array([0]), day=False)[0, :2].tolist()
    ([0.0, 1.0], [0.0, 0.0])
    """
    of_day = (time_ns % DAY_NS) * (2 * np.pi / DAY_NS)
    of_week = (time_ns % WEEK_NS) * (2 * np.pi / WEEK_NS)
    angles = np.stack([of_day * harmonic for harmonic in DAY_HARMONICS] + [of_week], axis=-1)
    used = np.array([day] * len(DAY_HARMONICS) + [week], np.float64)[:, None]
    both = np.stack([np.sin(angles), np.cos(angles)], axis=-1) * used  # (..., harmonics + 1, 2)
    return both.reshape(*angles.shape[:-1], CALENDAR_FEATURES).astype(np.float32)


def padded(block: StepBlock, window: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The block with window - 1 unknown steps before it, so that its first step has a whole window."""
    before = window - 1
    values = np.pad(block.values, ((0, 0), (before, 0), (0, 0)), constant_values=np.nan)
    quality = np.pad(block.quality, ((0, 0), (before, 0), (0, 0)), constant_values=int(Quality.MISSING))
    return values, quality


def gather(
    values: NDArray[np.float32], quality: NDArray[np.uint8], assets: NDArray[np.int64], steps: NDArray[np.int64], window: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Windows that end at step `steps[i]` of twin `assets[i]`, from `padded` arrays: (N, window, C) each."""
    at = steps[:, None] + np.arange(window)[None, :]  # padded arrays are window - 1 longer at the front
    return values[assets[:, None], at], quality[assets[:, None], at]

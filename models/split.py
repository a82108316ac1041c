"""Which steps train, which calibrate, which are held out: a split in time, a twin at a time.

A first model trains on the older part of a twin's steps and calibrates on the newer one, as it will serve: ahead of what it
knows. An update must learn what is new, so there the parts take turns, in stretches longer than a window, and the newest trains.

In:   which cells of a `StepBlock` count.
Out:  `Split`; blocks narrowed to what is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.windows import DAY_NS
from twin.block import StepBlock

HOLDOUT_SHARE, CALIBRATION_SHARE = 0.15, 0.35
HOLDOUT_OF_NEW = 3  # an update holds out one in so many of the steps that are new
TURNS, TURN_STEPS_MIN = 20, 128  # of an update: stretches that take turns, as many as there is room for


@dataclass(frozen=True, slots=True)
class Split:
    """Which steps may be targets of training and of calibration, (A, T) each; the hold-out begins at `holdout_start`."""

    train: NDArray[np.bool_]
    calibrate: NDArray[np.bool_]
    holdout_start: int

    def only(self, twins: NDArray[np.int64]) -> Split:
        return Split(self.train[twins], self.calibrate[twins], self.holdout_start)


def holdout_steps(block: StepBlock, seen_to_ns: int | None = None) -> int:
    """How many of a block's newest steps are held out for the gate: HOLDOUT_SHARE, of an update a third of what is new at most.

    What is held out is not learnt before the next update. A day is held out in any case, as it shows the whole rhythm, where
    that is not more than HOLDOUT_SHARE.

    Args:
        seen_to_ns: the newest step that the champion was made from; None: there is no champion.

    >>> nothing = np.zeros((1, 4032, 1))
    >>> fortnight = StepBlock(("a",), ("x",), 0, 300 * 10**9, nothing.astype(np.float32), nothing.astype(np.uint8))
    >>> times = fortnight.time_ns().tolist()
    >>> [holdout_steps(fortnight, known) for known in (None, times[-1201], times[-61])]
    [604, 400, 288]
    """
    most = int(block.steps * HOLDOUT_SHARE)
    if seen_to_ns is None:
        return most
    new = int((block.time_ns() > seen_to_ns).sum())
    return min(max(new // HOLDOUT_OF_NEW, DAY_NS // block.period_ns), most)


def split_in_time(good: NDArray[np.bool_], holdout: int, *, newest_train: bool = False) -> Split:
    """Split each twin's own usable steps before the common newest hold-out.

    Args:
        good: (A, T, C) cells that count.
        holdout: newest steps of the block that are left alone.
        newest_train: training and calibration take turns, where a twin has steps enough for that; else the older part trains.

    >>> split = split_in_time(np.ones((1, 2048, 1), bool), 307, newest_train=True)
    >>> split.train[0, :split.holdout_start:128].astype(int)
    array([1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1])
    """
    usable = good.any(axis=2)
    steps = usable.shape[1]
    holdout_start = steps - holdout
    before = usable & (np.arange(steps) < holdout_start)
    place = np.cumsum(before, axis=1)  # 1 for a twin's first usable step
    cut = np.ceil(place[:, -1:] * (1 - CALIBRATION_SHARE))
    train = place <= cut
    if newest_train:
        train = np.where(place[:, -1:] >= 3 * TURN_STEPS_MIN, _trains_in_turn(place), train)
    return Split(before & train, before & ~train, holdout_start)


def _trains_in_turn(place: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where each twin's steps train, (A, T), by their `place` among its own: turns of equal length, the last one trains."""
    count = np.maximum(place[:, -1:], 1)
    turns = np.clip(count // TURN_STEPS_MIN, 1, TURNS)
    return np.asarray(~_CALIBRATES[turns, np.clip((place - 1) * turns // count, 0, TURNS - 1)])


def _calibrating(turns: int) -> list[int]:
    """Which of so many turns calibrate: evenly spread, never the last one.

    >>> _calibrating(20), _calibrating(3)
    ([1, 4, 7, 10, 12, 15, 18], [1])
    """
    many = round(turns * CALIBRATION_SHARE)
    return [int((number + 0.5) * turns / many) for number in range(many)]


_CALIBRATES = np.array([np.isin(np.arange(TURNS), _calibrating(turns)) for turns in range(TURNS + 1)])


def only_twins(block: StepBlock, twins: NDArray[np.int64]) -> StepBlock:
    assets = tuple(block.assets[row] for row in twins)
    return StepBlock(assets, block.channels, block.first_step, block.period_ns, block.values[twins], block.quality[twins])


def bad_marked(block: StepBlock, good: NDArray[np.bool_]) -> StepBlock:
    """The block with every cell that does not count marked bad, excluded ones too."""
    quality = np.where(good, block.quality, np.maximum(block.quality, 1)).astype(np.uint8)
    return StepBlock(block.assets, block.channels, block.first_step, block.period_ns, block.values, quality)

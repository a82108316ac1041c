"""Old regimes: the stretches of a type's past that an update has beside the newest steps, for learning and for judging.

In:   `Stretches`, what must not train marked bad.
Out:  which of them train and which no version ever trains on; those that train, scaled, with their calendar.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.windows import calendar, good_cells
from twin.stretches import Stretches

JUDGED = 3  # one stretch in so many is for judging only, the same for all versions


@dataclass(frozen=True, slots=True)
class OldSteps:
    """S stretches × L steps × C channels, scaled as the newest steps are."""

    twins: NDArray[np.int64]  # (S,) row of each stretch's twin
    x: NDArray[np.float32]  # (S, L, C), 0 where not good
    good: NDArray[np.bool_]  # (S, L, C)
    calendars: NDArray[np.float32]  # (S, L, CALENDAR_FEATURES)


def for_training_and_judging(old: Stretches) -> tuple[Stretches, Stretches]:
    """Split stretches by a hash of twin and time, so that what judges one version has trained none."""
    names = zip(old.assets, old.first_step.tolist(), strict=True)
    judged = np.array([zlib.crc32(f"{asset}\0{first}".encode()) % JUDGED == 0 for asset, first in names], np.bool_)
    return old.only(~judged), old.only(judged)


def scaled(
    old: Stretches,
    assets: tuple[str, ...],
    loc: NDArray[np.float32],
    scale: NDArray[np.float32],
    *,
    day: bool,
    week: bool,
) -> OldSteps | None:
    """The stretches of these twins in their units: `loc`, `scale` (A, C). None where no good cell is left."""
    row_of = {asset: row for row, asset in enumerate(assets)}
    old = old.only(np.array([asset in row_of for asset in old.assets], np.bool_))
    good = good_cells(old.values, old.quality)
    if not good.any():
        return None
    twins = np.array([row_of[asset] for asset in old.assets], np.int64)
    x = np.where(good, (old.values - loc[twins][:, None]) / scale[twins][:, None], 0.0).clip(-1e4, 1e4).astype(np.float32)
    return OldSteps(twins, x, good, calendar(old.time_ns(), day=day, week=week))

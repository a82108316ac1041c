"""Twins that an update takes over from the version before just as they are, because too little of them may train.

In:   which steps of each twin are good, which of them train and calibrate, the version before.
Out:  which twins are learnt anew and which are carried over; their tensors, bit for bit.

A twin that was under an alert for most of the record would otherwise be fitted to the few steps that are left of it, or
be unknown to the next version: nobody would watch it, and its alert would clear by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.detectors import DETECTORS, Detectors
from models.fleet_fit import TRAIN_STEPS_MIN
from models.port import LEARNING
from models.served import ServedModel
from models.split import Split

CALIBRATION_STEPS_MIN = 8
LEFT_MIN = 0.25  # share of a twin's good steps that may train, below which it is not fitted to them
ADAPTERS = ("network.down", "network.up")  # their shape tells the rank
PER_TWIN = (
    *("loc", "scale", "centre", "basis", "level_weights", "good_share"),
    *("network.step", *ADAPTERS, "network.bias"),
    *(f"table_{name}" for name in (*DETECTORS, "fused")),
)


@dataclass(frozen=True, slots=True)
class Twins:
    """Rows of a block: each twin is learnt anew, carried over, or in neither: it goes on learning."""

    learnt: NDArray[np.int64]
    carried: NDArray[np.int64]


def sort_out(base: ServedModel | None, assets: tuple[str, ...], good: NDArray[np.bool_], split: Split) -> Twins:
    """Which twins have steps enough to be learnt anew, and which of the others the version before knows.

    Args:
        good: (A, T, C) cells that count, also those that must not train.
        split: what trains and calibrates of them.
    """
    known = np.zeros(len(assets), np.bool_) if base is None else base.rows(assets) != LEARNING
    trains, calibrates = split.train.sum(axis=1), split.calibrate.sum(axis=1)
    there = good[:, : split.holdout_start].any(axis=2).sum(axis=1)
    enough = (trains >= TRAIN_STEPS_MIN) & (calibrates >= CALIBRATION_STEPS_MIN)
    learnt = enough & ~(known & (trains + calibrates < LEFT_MIN * there))
    return Twins(np.flatnonzero(learnt), np.flatnonzero(known & ~learnt))


def carry_over(detectors: Detectors, base: ServedModel, assets: tuple[str, ...]) -> None:
    """Give the last rows of all tensors what the base holds of these twins; adapters of another rank stay the nearest ones."""
    if not assets:
        return
    rows = torch.from_numpy(base.rows(assets))
    mine, theirs = detectors.tensors(), base.detectors.tensors()
    same_rank = detectors.architecture.rank == base.info.architecture.rank
    with torch.no_grad():
        for name in PER_TWIN:
            if same_rank or name not in ADAPTERS:
                mine[name][-len(assets) :] = theirs[name][rows]

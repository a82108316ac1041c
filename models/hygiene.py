"""Hygiene of an update: which steps are left out of training and why, counted for the record of the version.

In:   closed steps of a type; what alerts and people say of them.
Out:  `LeftOut`, one mask a reason; counts by reason, figures `hygiene_*` of the version.
Pure: no clock, no I/O, no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality, word

_GRAVEST = np.array([word(bits).replace("-", "_") for bits in range(2 * int(Quality.MISSING))])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Steps of N rows × T steps, (N, T) each; a step has one reason at most."""

    alerted: NDArray[np.bool_]  # under an alert, or shortly before one
    labelled: NDArray[np.bool_]  # feedback calls it a fault, whatever the alerts say
    brought_back: NDArray[np.bool_]  # under an alert that people call a false alarm, or in a period they call normal: it trains
    common: NDArray[np.bool_]  # under an alert of a cause that most twins of the type share: it trains

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True where a step must not train."""
        return np.asarray(self.alerted | self.labelled)


def counts(
    values: NDArray[np.float32], quality: NDArray[np.uint8], left_out: LeftOut, prefix: str = "hygiene"
) -> dict[str, float]:
    """What of N rows × T steps × C channels trains and what does not, by reason.

    Steps count where they closed with a value of any channel; cells in them by their gravest quality bit.

    >>> nothing = np.zeros((1, 3), bool)
    >>> left_out = LeftOut(np.array([[True, False, False]]), nothing, nothing, nothing)
    >>> found = counts(np.ones((1, 3, 1), np.float32), np.array([[[0], [0], [4]]], np.uint8), left_out)
    >>> {name: int(count) for name, count in found.items() if count}
    {'hygiene_steps': 3, 'hygiene_steps_used': 1, 'hygiene_steps_alerted': 1, 'hygiene_cells_spike': 1}
    """
    closed = np.isfinite(values).any(axis=2)
    good = np.isfinite(values) & (quality == 0)
    found = {
        "steps": closed,
        "steps_used": good.any(axis=2) & ~left_out.mask,
        "steps_alerted": closed & left_out.alerted,
        "steps_labelled": closed & left_out.labelled,
        "steps_brought_back": closed & left_out.brought_back,
        "steps_common": closed & left_out.common,
    }
    bits, many = np.unique(quality[closed] & np.uint8(len(_GRAVEST) - 1), return_counts=True)
    cells = dict.fromkeys([str(name) for name in dict.fromkeys(_GRAVEST) if name != "good"], 0)
    for bit, count in zip(bits.tolist(), many.tolist(), strict=True):
        if _GRAVEST[bit] != "good":
            cells[str(_GRAVEST[bit])] += count
    return {f"{prefix}_{name}": float(mask.sum()) for name, mask in found.items()} | {
        f"{prefix}_cells_{name}": float(count) for name, count in sorted(cells.items())
    }

"""Closed steps of all twins of one type, dense: what training, what-ifs and evaluation read.

In:   closed steps from the arenas (`twin.arena`), the same ones that serving scores.
Out:  `StepBlock`, arrays (asset, step, channel) on one event-time grid.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StepBlock:
    """A assets × T steps × C channels of one type.

    Step t covers event time [(first_step + t) * period_ns, (first_step + t + 1) * period_ns).
    `values` is float32 in channel units, NaN where the twin had no closed step or nothing to fill with;
    `quality` holds the bits of `twin.quality` (MISSING where values is NaN).
    """

    assets: tuple[str, ...]
    channels: tuple[str, ...]
    first_step: int
    period_ns: int
    values: NDArray[np.float32]
    quality: NDArray[np.uint8]

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    def time_ns(self) -> NDArray[np.int64]:
        """End of each step, (T,)."""
        return (np.arange(self.steps, dtype=np.int64) + self.first_step + 1) * self.period_ns

    def between(self, start: int, stop: int) -> StepBlock:
        """Steps [start, stop) by position."""
        return StepBlock(
            self.assets,
            self.channels,
            self.first_step + start,
            self.period_ns,
            self.values[:, start:stop],
            self.quality[:, start:stop],
        )

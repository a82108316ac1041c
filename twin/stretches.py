"""Stretches of closed steps from anywhere in a type's past, each of its own twin and time: what a model must not forget.

In:   closed steps that were kept (`streams.reservoir`).
Out:  `Stretches`, arrays (stretch, step, channel); the dense counterpart of one grid is `twin.block.StepBlock`.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality


@dataclass(frozen=True, slots=True)
class Stretches:
    """S stretches × L steps × C channels of one type.

    Step t of stretch s covers event time [(first_step[s] + t) * period_ns, (first_step[s] + t + 1) * period_ns).
    Values and quality as in a `StepBlock`.
    """

    assets: tuple[str, ...]
    first_step: NDArray[np.int64]  # (S,)
    period_ns: int
    values: NDArray[np.float32]
    quality: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.assets)

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    def time_ns(self) -> NDArray[np.int64]:
        """End of each step, (S, L)."""
        return (self.first_step[:, None] + np.arange(self.steps, dtype=np.int64) + 1) * self.period_ns

    def only(self, kept: NDArray[np.bool_]) -> Stretches:
        """The stretches of which `kept` (S,) is true."""
        assets = tuple(asset for asset, keep in zip(self.assets, kept.tolist(), strict=True) if keep)
        return Stretches(assets, self.first_step[kept], self.period_ns, self.values[kept], self.quality[kept])

    def without(self, left_out: NDArray[np.bool_]) -> Stretches:
        """The same with all cells of the steps in `left_out` (S, L) marked, so that they count as little as bad ones."""
        marked = np.where(left_out[:, :, None], self.quality | np.uint8(Quality.OUT_OF_RANGE), self.quality)
        return Stretches(self.assets, self.first_step, self.period_ns, self.values, marked.astype(np.uint8))

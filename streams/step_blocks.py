"""Closed steps of one twin type, collected into the dense block that models train on.

In:   closed steps as the arenas hand them out, in any order of twins.
Out:  `StepBlock` of the newest `max_steps`. Memory is bounded by `max_cells`: a type too large for it gets a shorter block.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twin.block import StepBlock
from twin.quality import Quality
from twin.types import TwinType

log = logging.getLogger(__name__)

MAX_CELLS = 64_000_000  # of a type: 5 bytes each


class StepBlockBuilder:
    """The newest closed steps of one type, in a ring on its event-time grid: (asset, step % capacity, channel).

    A twin that has been silent for longer than the ring gives its row back.
    """

    def __init__(self, type: TwinType, *, max_steps: int, max_cells: int = MAX_CELLS) -> None:
        self.type = type
        self._max_steps, self._max_cells = max_steps, max_cells
        self._row_of: dict[str, int] = {}
        self._steps = max_steps
        self._newest = self._oldest = -1
        self.good_steps = 0  # twin-steps with a good cell that were taken so far
        self._allocate(16)

    def _allocate(self, rows: int) -> None:
        channels = len(self.type.channels)
        self._values = np.full((rows, self._steps, channels), np.nan, np.float32)
        self._quality = np.full((rows, self._steps, channels), Quality.MISSING, np.uint8)
        self._last = np.full(rows, -1, np.int64)  # newest closed step of each row

    def __len__(self) -> int:
        """Steps on the grid between the oldest and the newest closed one that are held."""
        return min(self._newest - self._oldest + 1, self._steps) if self._row_of else 0

    @property
    def newest(self) -> int:
        """Number of the newest closed step of any twin; -1 before the first."""
        return self._newest

    @property
    def cells(self) -> int:
        """Twins × steps × channels held: what training takes time for."""
        return len(self._row_of) * len(self) * len(self.type.channels)

    def closed_steps(self) -> int:
        """Closed steps held of the twin that has most of them: what warm-up waits for."""
        if not self._row_of:
            return 0
        return int((~np.isnan(self._values).all(axis=2)).sum(axis=1).max())

    def add(
        self, assets: Sequence[str], step: NDArray[np.int64], values: NDArray[np.float32], quality: NDArray[np.uint8]
    ) -> None:
        """Take N closed steps: (N,), (N,), (N, C), (N, C). A step given again replaces itself."""
        if not len(step):
            return
        self._move_to(int(step.max()), int(step.min()))
        held = step > self._newest - self._steps
        names = [asset for asset, keep in zip(assets, held, strict=True) if keep]
        row = self._rows(names)
        # making room for new twins may have shortened the ring
        step, values, quality = step[held], values[held], quality[held]
        held = step > self._newest - self._steps
        row, step = row[held], step[held]
        self.good_steps += int((np.isfinite(values[held]) & (quality[held] == 0)).any(axis=1).sum())
        slot = step % self._steps
        self._values[row, slot] = values[held]
        self._quality[row, slot] = np.where(np.isnan(values[held]), quality[held] | np.uint8(Quality.MISSING), quality[held])
        np.maximum.at(self._last, row, step)

    @property
    def assets(self) -> list[str]:
        """Twins that have a step in the block, by name."""
        first = self._newest - len(self) + 1
        return sorted(asset for asset, row in self._row_of.items() if self._last[row] >= first)

    def block(self, *, assets: Sequence[str] | None = None, steps: int | None = None) -> StepBlock:
        """A copy of what is held, assets by name: all of them, or `assets`; all steps, or the newest `steps`.

        Raises ValueError when nothing is held.
        """
        steps = min(len(self), len(self) if steps is None else steps)
        if not steps:
            raise ValueError(
                f"{self.type.id}: no closed step was replayed yet, expected at least one; there is no block to train on"
            )
        first = self._newest - steps + 1
        assets = self.assets if assets is None else assets
        row = np.array([self._row_of[asset] for asset in assets])[:, None]
        slot = (np.arange(steps) + first) % self._steps
        return StepBlock(
            tuple(assets), self.type.channel_names, first, self.type.period_ns, self._values[row, slot], self._quality[row, slot]
        )

    def _move_to(self, newest: int, oldest: int) -> None:
        """Slots of steps between the newest so far and the newest now still hold steps that are too old."""
        if not self._row_of:
            self._newest, self._oldest = newest, oldest
            return
        self._oldest = min(self._oldest, oldest)
        if newest <= self._newest:
            return
        stale = np.unique(np.arange(max(self._newest, newest - self._steps) + 1, newest + 1) % self._steps)
        self._values[:, stale] = np.nan
        self._quality[:, stale] = Quality.MISSING
        self._newest = newest
        self._oldest = max(self._oldest, newest - self._steps + 1)

    def _rows(self, assets: Sequence[str]) -> NDArray[np.int64]:
        if any(asset not in self._row_of for asset in assets):
            for asset in [asset for asset, row in self._row_of.items() if self._last[row] <= self._newest - self._steps]:
                self._last[self._row_of.pop(asset)] = -1  # silent for longer than the ring: nothing of it is held
            new = dict.fromkeys(asset for asset in assets if asset not in self._row_of)
            self._make_room(len(new))
            taken = set(self._row_of.values())
            free = (row for row in range(len(self._last)) if row not in taken)
            self._row_of.update(zip(new, free, strict=False))
        return np.fromiter((self._row_of[asset] for asset in assets), np.int64, len(assets))

    def _make_room(self, count: int) -> None:
        """Rows for `count` more twins: more rows, or, where memory does not allow that, rows of a shorter ring."""
        needed = len(self._row_of) + count
        if needed <= len(self._last):
            return
        rows = max(needed, 2 * len(self._last))
        fitting = self._max_cells // (rows * len(self.type.channels))
        if fitting < self._steps:
            rows, fitting = needed, max(1, self._max_cells // (needed * len(self.type.channels)))
        held = self.block() if len(self) else None
        if fitting < self._steps:
            log.warning(
                "replay-shortened", extra={"type": self.type.id, "twins": needed, "steps": fitting, "expected": self._steps}
            )
            self._steps = fitting
            self._oldest = max(self._oldest, self._newest - fitting + 1)
        self._allocate(rows)
        self._row_of = {}
        if held is not None:
            kept = held.between(max(0, held.steps - self._steps), held.steps)
            self._row_of = {asset: row for row, asset in enumerate(kept.assets)}
            slot = (np.arange(kept.steps) + kept.first_step) % self._steps
            self._values[: len(kept.assets), slot], self._quality[: len(kept.assets), slot] = kept.values, kept.quality
            known = np.asarray(~np.isnan(kept.values).all(axis=2))
            newest = kept.first_step + kept.steps - 1 - known[:, ::-1].argmax(axis=1)
            self._last[: len(kept.assets)] = np.where(known.any(axis=1), newest, -1)

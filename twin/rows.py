"""Rows: the struct-of-arrays that the twins of one type live in, one row a twin.

In:   asset ids that come and go.
Out:  their rows; arrays grow by doubling, and a freed row is used again without a trace of the twin before.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twin.closing import CARRIED, Carry
from twin.quality import Quality
from twin.reading import NO_TIME
from twin.types import TwinType

NO_OFFSET = np.iinfo(np.int64).max
MISSING = np.uint8(Quality.MISSING)
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Roster:
    """The twins of an arena at one moment, by row. Compared by identity: the same one until a twin comes or goes."""

    assets: tuple[str, ...]  # "" where a row is free
    partition: NDArray[np.int64]


class Rows:
    """A twins × R ring slots × C channels, and a few numbers a twin.

    Args:
        type: the compiled type.
        slots: R, steps that a twin's ring holds.
        capacity: rows to begin with.
    """

    def __init__(self, type: TwinType, *, slots: int, capacity: int) -> None:
        self.type = type
        self.slots = slots
        self.row_of: dict[str, int] = {}
        self.asset_of: list[str | None] = []
        self._free: list[int] = []
        self._roster: Roster | None = None
        self._capacity = 0
        channels = len(type.channels)
        self.values = np.empty((0, self.slots, channels), np.float32)
        self.quality = np.empty((0, self.slots, channels), np.uint8)
        self.cell_time = np.empty((0, self.slots, channels), np.int64)
        self.slot_offset = np.empty((0, self.slots), np.int64)
        self.next_step = np.empty(0, np.int64)
        self.max_time = np.empty(0, np.int64)
        self.next_offset = np.empty(0, np.int64)
        self.first_offset = np.empty(0, np.int64)  # of its first reading
        self.silent = np.empty(0, np.bool_)  # see `twin.silence`
        self.pause = np.empty(0, np.int64)  # its habit, see `twin.pauses`
        self.partition = np.empty(0, np.int64)
        self.carry = Carry.empty(0, channels)
        self._grow(capacity)

    def __len__(self) -> int:
        return len(self.row_of)

    @property
    def capacity(self) -> int:
        return self._capacity

    def row(self, asset: str, partition: int) -> int:
        """Row of a twin, made when it is new."""
        found = self.row_of.get(asset)
        if found is not None:
            return found
        if self._free:
            row = self._free.pop()
        else:
            row = len(self.asset_of)
            if row == self._capacity:
                self._grow(self._capacity * 2)
            self.asset_of.append(None)
        self._roster = None
        self.row_of[asset] = row
        self.asset_of[row] = asset
        self.clear(row)
        self.partition[row] = partition
        return row

    def remove(self, asset: str) -> None:
        """Forget a twin; its row is used again."""
        self.free(self.leave(asset))

    def leave(self, asset: str) -> int:
        """A twin that is here no longer; its row keeps its name until it is free."""
        return self.row_of.pop(asset)

    def free(self, row: int) -> None:
        """A row that its twin has left is used again."""
        self._roster = None
        self.asset_of[row] = None
        self.clear(row)
        self._free.append(row)

    def roster(self) -> Roster:
        """Who lives where now, in copies."""
        if self._roster is None:
            assets = tuple(asset or "" for asset in self.asset_of)
            self._roster = Roster(assets, self.partition[: len(assets)].copy())
        return self._roster

    def _grow(self, capacity: int) -> None:
        """Room for more rows. What is large stays untouched until a twin comes (`clear`): until then it takes no memory."""
        used = len(self.asset_of)

        def room(array: NDArray[_T]) -> NDArray[_T]:
            more = np.empty((capacity, *array.shape[1:]), array.dtype)
            more[:used] = array[:used]
            return more

        def filled(array: NDArray[_T], fill: int) -> NDArray[_T]:
            more = room(array)
            more[used:] = fill
            return more

        self.values, self.quality = room(self.values), room(self.quality)
        self.cell_time, self.slot_offset = room(self.cell_time), room(self.slot_offset)
        self.carry = Carry(*(room(getattr(self.carry, name)) for name in CARRIED))
        self.next_step, self.max_time = filled(self.next_step, NO_TIME), filled(self.max_time, NO_TIME)
        self.next_offset, self.partition = filled(self.next_offset, 0), filled(self.partition, -1)
        self.first_offset, self.silent = filled(self.first_offset, NO_OFFSET), filled(self.silent, False)
        self.pause = filled(self.pause, 0)
        self._capacity = capacity

    def clear(self, row: int) -> None:
        """As if the twin had just come."""
        self.values[row] = np.nan
        self.quality[row] = MISSING
        self.cell_time[row] = NO_TIME
        self.slot_offset[row] = NO_OFFSET
        self.next_step[row] = NO_TIME
        self.max_time[row] = NO_TIME
        self.next_offset[row] = 0
        self.first_offset[row] = NO_OFFSET
        self.silent[row] = False
        self.pause[row] = 0
        self.carry.put(slice(row, row + 1), Carry.empty(1, len(self.type.channels)))

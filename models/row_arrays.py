"""State of many twins as plain arrays, a row a twin: forgotten, grown, saved and restored a row at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowArrays:
    """`arrays` may be saved and restored whole, or a row at a time. A row of zeros is a twin of which nothing is known."""

    arrays: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def reset(self, row: int) -> None:
        """Forget one twin."""
        for array in self.arrays.values():
            array[row] = 0

    def grow(self, capacity: int) -> None:
        """Make room for more twins; those known keep their rows."""
        more = capacity - len(self)
        if more > 0:
            for name, array in self.arrays.items():
                self.arrays[name] = np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])

    def export(self, row: int) -> dict[str, NDArray[Any]]:
        """One twin's state, copied."""
        return {name: array[row].copy() for name, array in self.arrays.items()}

    def restore(self, row: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `export` gave.

        Raises:
            ValueError: an array is missing or has another shape; nothing was changed.
        """
        for name, array in self.arrays.items():
            found = np.shape(state[name]) if name in state else None
            if found != array.shape[1:]:
                raise ValueError(
                    f"{type(self).__name__}, row {row}: {name} has shape {found}, expected {array.shape[1:]}; row left as it was"
                )
        for name, array in self.arrays.items():
            array[row] = state[name]

"""Values that came after their step had closed.

In:   one batch, and which of its values are too late for their steps.
Out:  which of them stand in their closed steps already; the arena looks as soon as the step has closed.
Pure: no clock, no I/O.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.reading import ReadingBatch

Ints = NDArray[np.int64]


class Stragglers:
    """Values of one batch that came after their step had closed: redeliveries of what it holds, or late.

    Args:
        position, step: (M,) where they stand in the batch, and their steps.
        held_from: (M,) the first step that the window still held when they came.
    """

    def __init__(self, batch: ReadingBatch, position: Ints, step: Ints, held_from: Ints) -> None:
        self.position, self.step, self.held_from = position, step, held_from
        self.row, self.channel = batch.row[position], batch.channel[position]
        self.value = batch.value[position].astype(np.float32)
        self.seen = np.zeros(len(position), np.bool_)
        self.repeated = np.zeros(len(position), np.bool_)

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
        position, step: (M,) where their readings stand in the batch, and the steps of those.
        held_from: (M,) the first step that the window still held when they came.

    All arrays are by value: a reading stands in them once for each channel it has a value of.
    """

    def __init__(self, batch: ReadingBatch, position: Ints, step: Ints, held_from: Ints) -> None:
        values = batch.values[:, position].T
        at, self.channel = np.nonzero(~np.isnan(values))
        self.position, self.step, self.held_from = position[at], step[at], held_from[at]
        self.row = batch.row[self.position]
        self.value = values[at, self.channel].astype(np.float32)
        self.seen = np.zeros(len(at), np.bool_)
        self.repeated = np.zeros(len(at), np.bool_)

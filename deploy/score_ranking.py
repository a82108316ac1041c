"""The score of a file: what ranks its steps. Risk and alerts know nothing of it.

In:   steps as the stream scores them, in each twin's order.
Out:  one number a step, larger is stranger, and each channel's share in it.

Up to one counts what the version is surprised by, lately too (`models/novelty.py`), without echoes (`models/echo.py`), or how
still a channel stands (`models/stillness.py`), whichever is more. Beside it counts how new a value is to its channel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.echo import EchoState
from models.novelty import HALF_OF_SURPRISE, LastingSurprise, NoveltyState, strangeness
from models.stillness import STEPS, Stillness
from models.windows import good_cells
from streams.scoring import Scored


class Ranking:
    """What it remembers of the twins of one type."""

    def __init__(self, channels: int, still: Stillness) -> None:
        self.still = still
        self.novelty, self.lasting, self.echo = NoveltyState(0, channels), LastingSurprise(0), EchoState(0)

    def grow(self, capacity: int) -> None:
        for state in (self.novelty, self.lasting, self.echo):
            state.grow(capacity)

    def update(self, scored: Scored, assets: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores (N,) and contributions (N, C) of steps of the twins `assets`."""
        closed = scored.closed
        novel = self.novelty.update(closed.row, closed.values, good_cells(closed.values, closed.quality))
        surprise = self.lasting.update(closed.row, self.echo.update(closed.row, scored.score, scored.mix))
        decades, stillest = self.still.decades(assets, *closed.windows.newest(np.arange(len(closed)), STEPS + 1))
        rests = decades / (decades + HALF_OF_SURPRISE)
        contribution = scored.contribution.copy()
        stiller = np.flatnonzero(rests > surprise)
        contribution[stiller] = 0.0
        contribution[stiller, stillest[stiller]] = 1.0
        return strangeness(np.maximum(surprise, rests), contribution, novel)

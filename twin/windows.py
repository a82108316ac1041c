"""Windows of closed steps: kept as the stretches that they share, gathered when somebody scores them.

In:   rings of an arena, and which steps of which twins close.
Out:  `Windows`. The k steps that one twin closes in a batch hold W - 1 + k steps of it, not W * k.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Patches:
    """Cells in which a window differs from its stretch: a later one shows what an earlier one could not know. By window."""

    window: Ints  # (P,) which of the N windows
    place: Ints  # (P,) step within it, 0 the oldest
    channel: Ints  # (P,)
    value: Floats  # (P,)

    @staticmethod
    def none() -> Patches:
        nothing = np.empty(0, np.int64)
        return Patches(nothing, nothing, nothing, np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of `size` steps, each a run of the S steps of `cells`; C channels. Copies: the arena may move on."""

    size: int
    cells: Floats  # (S, C) channel units, NaN where nothing is known
    cell_quality: NDArray[np.uint8]  # (S, C)
    last: Ints  # (N,) where in them each window ends
    patches: Patches

    def __len__(self) -> int:
        return len(self.last)

    @property
    def values(self) -> Floats:
        """All windows in full, (N, W, C)."""
        return self.newest(np.arange(len(self)), self.size)[0]

    @property
    def quality(self) -> NDArray[np.uint8]:
        """Quality of all windows in full, (N, W, C)."""
        return self.newest(np.arange(len(self)), self.size)[1]

    def newest(self, at: Ints, steps: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Values and quality of the newest `steps` steps of some windows, (n, steps, C) each, oldest first.

        Args:
            at: (n,) different windows.
        """
        first = self.last[at] - (steps - 1)
        values = _runs(self.cells, first, steps)
        if len(self.patches.window):
            place = np.full(len(self), -1)
            place[at] = np.arange(len(at))
            row, step = place[self.patches.window], self.patches.place - (self.size - steps)
            mine = (row >= 0) & (step >= 0)
            values[row[mine], step[mine], self.patches.channel[mine]] = self.patches.value[mine]
        return values, _runs(self.cell_quality, first, steps)

    @staticmethod
    def joined(parts: Sequence[Windows]) -> Windows:
        """The windows of several, one part after the other."""
        steps = np.cumsum([0, *(len(part.cells) for part in parts)])
        count = np.cumsum([0, *(len(part) for part in parts)])
        patches = [part.patches for part in parts]
        return Windows(
            parts[0].size,
            np.concatenate([part.cells for part in parts]),
            np.concatenate([part.cell_quality for part in parts]),
            np.concatenate([part.last + before for part, before in zip(parts, steps, strict=False)]),
            Patches(
                np.concatenate([one.window + before for one, before in zip(patches, count, strict=False)]),
                np.concatenate([one.place for one in patches]),
                np.concatenate([one.channel for one in patches]),
                np.concatenate([one.value for one in patches]),
            ),
        )


@dataclass(frozen=True, slots=True)
class Stretches:
    """The S steps that N windows of `size` steps are made of, twin after twin."""

    size: int
    twin: Ints  # (S,)
    step: Ints  # (S,)
    last: Ints  # (N,) where each window ends

    @classmethod
    def of(cls, twin: Ints, step: Ints, size: int) -> Stretches:
        """The stretches of windows that end in these steps of these twins, (N,) each, sorted."""
        begins = np.ones(len(twin), np.bool_)
        begins[1:] = twin[1:] != twin[:-1]
        head = np.flatnonzero(begins)
        tail = np.append(head[1:] - 1, len(twin) - 1)[: len(head)]
        length = step[tail] - step[head] + size
        start = np.cumsum(length) - length
        oldest = step[head] - (size - 1)
        whose = np.repeat(np.arange(len(head)), length)
        steps = np.arange(len(whose)) + (oldest - start)[whose]
        return cls(size, twin[head][whose], steps, step + np.repeat(start - oldest, tail - head + 1))

    def smallest(self, of_step: Ints) -> Ints:
        """The smallest number within each window, (N,). `of_step`: (S,)."""
        held, found = 1, of_step
        while 2 * held <= self.size:
            found = np.minimum(found[:-held], found[held:])
            held *= 2
        first = self.last - (self.size - 1)
        return np.asarray(np.minimum(found[first], found[first + self.size - held]))


def taken(ring: NDArray[_T], at: Ints) -> NDArray[_T]:
    """Cells (..., C) of a ring (A, R, C), `at` row * R + slot: whole rows of C, much faster than by two indices."""
    return np.asarray(ring.reshape(-1, ring.shape[2]).take(at, axis=0))


def _runs(of: NDArray[_T], first: Ints, steps: int) -> NDArray[_T]:
    """Runs of `steps` rows of (S, C) that begin at `first`, copied whole: (n, steps, C)."""
    channels = of.shape[1]
    if not len(first):
        return np.empty((0, steps, channels), of.dtype)
    runs = np.lib.stride_tricks.sliding_window_view(of.reshape(-1), steps * channels)[::channels]
    return np.asarray(runs[first].reshape(len(first), steps, channels))

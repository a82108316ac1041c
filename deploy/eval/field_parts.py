"""What made-up fields are made of: causes, noise, and when faults come.

In:   a generator of random numbers.
Out:  arrays of steps, or stretches of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]


def driven(draw: np.random.Generator, steps: int, channels: int, *, causes: int, noise: float) -> Values:
    """Channels that are sums of slow causes, and noise of their own: (steps, channels)."""
    each = np.column_stack([wandering(draw, steps, memory) for memory in draw.uniform(5, 60, causes)])
    return np.asarray(each @ draw.normal(size=(causes, channels)) + noise * draw.normal(size=(steps, channels)))


def wandering(draw: np.random.Generator, steps: int, memory: float) -> Values:
    """An autoregression of spread one that forgets within so many steps."""
    keeps = np.exp(-1 / memory)
    kernel = np.sqrt(1 - keeps**2) * keeps ** np.arange(int(8 * memory))
    return np.convolve(draw.normal(size=steps + len(kernel) - 1), kernel, "valid")


def stretches(
    draw: np.random.Generator, normal: int, steps: int, *, count: int, length: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """So many stretches after the normal part, spread evenly with some chance, none in another's reach."""
    room = (steps - normal - 200) // count
    for number in range(count):
        lasts = int(draw.integers(*length))
        first = normal + 200 + number * room + int(draw.integers(0, max(room - lasts - 40, 1)))
        yield first, min(first + lasts, steps)

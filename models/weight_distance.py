"""How far apart two versions' weights are, tensor by tensor.

In:   the bytes of two version files.
Out:  `TensorDistance` of every tensor that either has. Needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import safetensors.numpy


@dataclass(frozen=True, slots=True)
class TensorDistance:
    """Of one tensor. `l2`, `relative`, `largest` None: one version lacks it, or the shapes differ."""

    name: str
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    l2: float | None  # Euclidean norm of the difference
    relative: float | None  # over the norm before; infinite where that was 0 and the difference is not
    largest: float | None  # of a single weight


def tensor_distances(before: bytes, after: bytes) -> list[TensorDistance]:
    """Every tensor of two version files, the one that moved most first, then those without a distance, by name."""
    old, new = safetensors.numpy.load(before), safetensors.numpy.load(after)
    found = []
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        shapes = (None if a is None else a.shape, None if b is None else b.shape)
        if a is None or b is None or a.shape != b.shape:
            found.append(TensorDistance(name, *shapes, None, None, None))
            continue
        difference = b.astype(np.float64) - a.astype(np.float64)
        l2, norm = float(np.linalg.norm(difference)), float(np.linalg.norm(a.astype(np.float64)))
        relative = l2 / norm if norm else math.inf if l2 else 0.0
        found.append(TensorDistance(name, *shapes, l2, relative, float(np.abs(difference).max(initial=0.0))))
    return sorted(found, key=lambda one: (one.relative is None, -(one.relative or 0.0), one.name))

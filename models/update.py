"""What goes into one update of one twin type, and what comes out: plain arrays and paths, so that both travel to a process.

Knows no torch: who only hands jobs over need not load it. `models.updating` carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin.block import StepBlock
from twin.types import TwinType


@dataclass(frozen=True, slots=True)
class Weights:
    """A version by where it lies and what it must hash to."""

    version: str
    uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class UpdateJob:
    """What one update needs.

    `fine_tune` False: the backbone is trained anew (first model, or far more steps than the backbone has seen).
    """

    home: Path
    type: TwinType
    block: StepBlock
    exclude: NDArray[np.bool_]  # (A, T)
    champion: Weights | None
    fine_tune: bool
    number: int
    alarms_per_twin_day: float
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class Update:
    """A trained version, written, and the gate's word on it."""

    version: str
    uri: str
    sha256: str
    contract: str
    base: str | None
    promote: bool
    why: str
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class UpdateFailed:
    """There is no version; the old one keeps serving. `early`: nothing is wrong, more steps are needed."""

    why: str
    early: bool = False

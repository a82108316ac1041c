"""What goes into judging a version on live steps, and what comes out: plain arrays and paths, so that both travel to a process.

Knows no torch. `models.live_judging` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.update import Weights
from twin.block import StepBlock
from twin.types import TwinType


@dataclass(frozen=True, slots=True)
class LiveJob:
    """Steps from `start` on have closed after both versions were trained; earlier ones are context.

    `chance`: that a version which is no worse is found worse by its loss.
    """

    home: Path
    type: TwinType
    block: StepBlock
    exclude: NDArray[np.bool_]  # (A, T) under an alarm or marked faulty: losses are not judged there
    start: int
    newer: Weights
    older: Weights
    alarms_per_twin_day: float
    chance: float
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the newer version did beside the older one."""

    outcome: Literal["no worse", "worse", "undecided"]
    why: str
    figures: dict[str, float] = field(default_factory=dict)

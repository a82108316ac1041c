"""What goes into an update of one twin type, or a look for drift, and what comes out: arrays and paths, that travel to a process.

Knows no torch: who only hands jobs over need not load it. `models.updating` and `models.drift` carry them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.fault_labels import LabelledPeriod
from models.fault_report import FaultReport
from models.gate_stage import Stage
from models.origin import Compute, Origin
from twin.block import StepBlock
from twin.stretches import Stretches
from twin.types import TwinType

LossName = Literal["student", "gaussian", "quantile"]  # see `models.losses`


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
    `old`: stretches from before the block, what must not train marked bad; None: nothing is remembered. `shadow`: a version that
    passes the gate stands in the shadow before it serves. `earlier`: versions that served before the champion, the oldest first.
    `labels`: what people called which period, the newest word last. `trial`: which other structure is tried beside the
    champion's (`models.structure_trial`), the next one at each turn; None: none. `loss`: what the weights are taught by.
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
    old: Stretches | None = None
    shadow: bool = False
    earlier: tuple[Weights, ...] = ()
    labels: tuple[LabelledPeriod, ...] = ()
    trial: int | None = None
    loss: LossName = "student"


@dataclass(frozen=True, slots=True)
class Surprises:
    """How much a version was surprised, step by step: medians over the twins that are watched, NaN where nobody closed a step."""

    version: str
    first_step: int
    medians: NDArray[np.float64]

    @property
    def next_step(self) -> int:
        return self.first_step + len(self.medians)


@dataclass(frozen=True, slots=True)
class DriftJob:
    """What one look for drift needs. `earlier`: what the looks before found of this champion; None: this is the first.

    At most the `steps_max` newest steps are scored; what has risen up to step `ignored_to` is no news.
    """

    home: Path
    type: TwinType
    block: StepBlock
    champion: Weights
    earlier: Surprises | None
    steps_max: int
    ignored_to: int
    threads: int


@dataclass(frozen=True, slots=True)
class DriftFound:
    """The series with the new steps; in words what has risen, None where nothing has."""

    surprises: Surprises
    risen: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """A trained version, written, and the gate's word on it: in all, and stage by stage. `trigger`: why it was trained at all.

    `judged_to_ns`: end of the newest step that training or gate has seen. `anchors`: versions that were the best on the hold-out.
    """

    version: str
    uri: str
    sha256: str
    contract: str
    base: str | None
    promote: bool
    why: str
    figures: dict[str, float]
    trigger: str = ""
    stages: tuple[Stage, ...] = ()
    judged_to_ns: int | None = None
    origin: Origin | None = None
    compute: Compute | None = None
    anchors: tuple[str, ...] = ()
    faults: FaultReport | None = None


@dataclass(frozen=True, slots=True)
class UpdateFailed:
    """There is no version; the old one keeps serving. `early`: nothing is wrong, more steps are needed."""

    why: str
    early: bool = False
    trigger: str = ""
    compute: Compute | None = None

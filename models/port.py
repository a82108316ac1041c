"""What the stream asks of a model: score windows of many twins in one call. Nothing here knows Kafka.

In:   windows gathered from the arenas, channel units, NaN where nothing is known.
Out:  `Scores`; a row's scores depend on nothing but that row, whatever else is in the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.fault_head import FaultHead
from models.rounding import rounded
from models.stuck_runs import StuckRuns
from twin.errors import LivetwinError

LEARNING = -1  # row of a twin that the served version does not know yet


class VersionRefused(LivetwinError):
    """A version that does not load or does not fit; the message says which, found, expected; the old one keeps serving.

    `reason` is one word for scripts: missing | size | truncated | hash | version | contract | non-finite | shape | slow | blind.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Scores:
    """For N rows of C channels. Rows of twins that are still learning: NaN expected and spread, score 0, p 1, not covered.

    Numbers are rounded (float32, 5 significant digits) before anything is compared with them, so that batch shapes change
    no decision. From `before` on they only explain, and hold no rows where no explanation was asked for; `off`, `leading` and
    `mix` are not rounded, as nothing compares them.
    """

    expected: NDArray[np.float32]  # (N, C) forecast of the step that is scored, channel units
    spread: NDArray[np.float32]  # (N, C) one standard deviation of that forecast, channel units
    score: NDArray[np.float32]  # (N,) -log10 of the fused p-value: larger = stranger
    covered: NDArray[np.bool_]  # (N,) the window holds enough good readings for an alarm (`models.coverage`)
    before: NDArray[np.float32]  # (N, C) forecast of the same step made some steps earlier, before a fault could bend it
    before_spread: NDArray[np.float32]  # (N, C)
    contribution: NDArray[np.float32]  # (N, C) share of each channel in the score, rows sum to 1 (or 0)
    off: NDArray[np.float32]  # (N, C) seen less expected, as the detector that leads at the channel compares them
    leading: NDArray[np.int8]  # (N, C) place of that detector in `Served.detector_steps`
    mix: NDArray[np.float32]  # (N, detectors) share of each detector in the score, rows sum to 1 (or 0)

    @property
    def p_value(self) -> NDArray[np.float32]:
        """(N,) fused, calibrated per twin: uniform on normal steps. Made when asked for: a stream compares `score` alone."""
        return rounded(10.0 ** -self.score.astype(np.float64))

    @staticmethod
    def unknown(count: int, channels: int, detectors: int, *, explained: bool) -> Scores:
        """Of `count` rows of twins that are still learning."""
        why = count if explained else 0
        return Scores(
            expected=np.full((count, channels), np.nan, np.float32),
            spread=np.full((count, channels), np.nan, np.float32),
            score=np.zeros(count, np.float32),
            covered=np.zeros(count, np.bool_),
            before=np.full((why, channels), np.nan, np.float32),
            before_spread=np.full((why, channels), np.nan, np.float32),
            contribution=np.zeros((why, channels), np.float32),
            off=np.zeros((why, channels), np.float32),
            leading=np.zeros((why, channels), np.int8),
            mix=np.zeros((why, detectors), np.float32),
        )


class Served(Protocol):
    """One loaded version, warmed up, ready for any number of rows."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def contract(self) -> str: ...

    @property
    def window(self) -> int:
        """Steps a window must have, the scored step (the last) included."""
        ...

    @property
    def alarm_p(self) -> float:
        """p-value at which a step counts towards an alarm: calibrated to the target alarm rate."""
        ...

    @property
    def peak_size(self) -> float:
        """Decades of surprise that the highest of a few steps reaches beyond where peaks begin, mean (`models.alarm_rate`)."""
        ...

    @property
    def detector_steps(self) -> Mapping[str, int]:
        """Detectors, in the order in which `Scores` names them, with the steps over which each compares."""
        ...

    @property
    def stuck_runs(self) -> StuckRuns:
        """How long its channels repeat a value when all is well."""
        ...

    @property
    def fault_head(self) -> FaultHead | None:
        """What tells faults apart, as people labelled them; None: too little was labelled."""
        ...

    @property
    def alarms_per_twin_day(self) -> float:
        """The target alarm rate."""
        ...

    def rows(self, assets: Sequence[str]) -> NDArray[np.int64]:
        """Row of each asset in this version's per-twin tensors, LEARNING for one it does not know."""
        ...

    def score(
        self,
        rows: NDArray[np.int64],
        windows: NDArray[np.float32],
        quality: NDArray[np.uint8],
        time_ns: NDArray[np.int64],
        *,
        explained: bool = True,
    ) -> Scores:
        """Score the last step of each window.

        Args:
            rows: (N,) from `rows`.
            windows: (N, window, C) channel units; oldest first; NaN where nothing is known.
            quality: (N, window, C) bits of `twin.quality`; only cells without any bit count.
            time_ns: (N,) end of the scored step.
            explained: whether what only explains is asked for; the rest is the same bits with it and without.
        """
        ...

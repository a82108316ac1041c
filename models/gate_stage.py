"""What a stage of the gate gets and gives: stretches of steps to judge on, a yes or no with its reason.

Knows no torch: results travel with an update to the process that announces it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin.block import StepBlock


@dataclass(frozen=True, slots=True)
class Stretch:
    """Closed steps to judge on.

    `start`: first step that is judged; earlier ones are context for windows. `exclude` (A, T): steps under an alarm or
    marked faulty, which are not judged; None: there are none.
    """

    block: StepBlock
    start: int = 0
    exclude: NDArray[np.bool_] | None = None

    def judged(self) -> NDArray[np.bool_]:
        """(A, T), True where a step is judged."""
        found = np.zeros(self.block.values.shape[:2], np.bool_)
        found[:, self.start :] = True
        if self.exclude is not None:
            found &= ~self.exclude
        return found


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's word on a version. `why` says what was found and what was expected, whichever way it went."""

    name: str
    passed: bool
    why: str
    figures: dict[str, float] = field(default_factory=dict)

"""For how long and on what share of the twins a new version is tried before and after it serves.

In:   settings.
Out:  a plain record for the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveSteps:
    """Numbers of live steps; 0: not at all.

    `shadow`: a challenger is compared with the champion before it serves. `canary`: after that it serves `canary_share` of the
    type's twins. `watch`: newest steps on which a champion is compared with the version before it.
    """

    shadow: int = 0
    watch: int = 0
    canary: int = 0
    canary_share: float = 0.0

    @property
    def tries_on_twins(self) -> bool:
        """Whether there are canary twins: after a shadow only."""
        return self.shadow > 0 and self.canary > 0 and self.canary_share > 0

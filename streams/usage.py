"""What scoring takes: CPU time and steps scored of one processor, and the energy that follows from them.

A record speaks of a process, not of the log: nothing but figures for people is computed from it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.records import Record


class ProcessorUsage(Record):
    """`monitoring`, key `usage/<instance>`: what one processor has done and taken since it was started."""

    kind: Literal["usage"] = "usage"
    instance: str = Field(description="drawn at the start of the process")
    since_ns: int = Field(description="wall clock of its start")
    time_ns: int = Field(description="wall clock")
    scored_steps: int = Field(description="closed steps that a version scored")
    cpu_s: float = Field(description="CPU time of the whole process: reading, folding, scoring, writing")
    watts: float | None = Field(default=None, description="of one busy thread; null: not known")
    source: str | None = Field(default=None, description="how the watts are known")

    @property
    def energy_wh(self) -> float | None:
        """Of the processor (CPU) alone; memory and GPU are not in it."""
        return None if self.watts is None else self.cpu_s * self.watts / 3600


def wh_per_million_steps(usages: list[ProcessorUsage]) -> float | None:
    """Watt hours a million scored steps over several processes; None: not known, or nothing was scored."""
    known = [(one.energy_wh, one.scored_steps) for one in usages if one.energy_wh is not None]
    steps = sum(scored for _, scored in known)
    return sum(energy for energy, _ in known) / steps * 1e6 if steps else None

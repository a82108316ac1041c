"""Triggers: when a type is trained, in the words of Modyn: time, volume, drift; besides by hand, and for the first model.

In:   how far a type's closed steps are, when its versions were announced, what was asked for, drift that was found.
Out:  `Trigger` with the reason in words, or None. A budget of CPU seconds a day puts off all but what was asked for by hand and
      the first model.
Clocks are handed in, so that tests need not wait.

Source: Böther et al., Modyn: Data-Centric Machine Learning Pipeline Orchestration, SIGMOD 2025.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from streams.model_records import ModelVersion
from streams.step_blocks import StepBlockBuilder

log = logging.getLogger(__name__)

DAY_S = 86_400.0
BUDGET_LEFT = "budget_left_cpu_s"  # figure of a version: what was left of the budget after it; absent without a budget

Kind = Literal["first", "time", "volume", "drift", "hand"]


@dataclass(frozen=True, slots=True)
class TriggerRules:
    """See `deploy.settings.TrainerSettings`; 0 switches a trigger or the budget off."""

    every_s: float
    min_steps: int  # closed steps a twin before the first model
    every_good_steps: int = 0
    on_drift: bool = True
    budget_cpu_s_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Trigger:
    kind: Kind
    found: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.found}"


class Budget:
    """CPU seconds for updates: `per_day` come in evenly over a day and are never more than that; an update may overdraw them.

    >>> budget = Budget(864.0, now_s=0.0)
    >>> budget.spend(900.0, now_s=0.0)
    >>> budget.wait_s(now_s=0.0), budget.wait_s(now_s=3600.0)
    (3600.0, 0.0)
    """

    def __init__(self, per_day: float, *, now_s: float) -> None:
        self._per_day = per_day
        self._left, self._at_s = per_day, now_s

    def restore(self, left: float, at_s: float) -> None:
        """Go on from what an earlier process had left."""
        self._left, self._at_s = min(left, self._per_day), at_s

    def left(self, now_s: float) -> float:
        return min(self._per_day, self._left + max(0.0, now_s - self._at_s) * self._per_day / DAY_S)

    def spend(self, cpu_s: float, *, now_s: float) -> None:
        self._left, self._at_s = self.left(now_s) - cpu_s, now_s

    def holds(self, cpu_s: float, *, now_s: float) -> bool:
        """Whether so much is left, or there is no budget to keep."""
        return not self._per_day or self.left(now_s) >= cpu_s

    def wait_s(self, *, now_s: float) -> float:
        """Seconds until there is something to spend again; 0 when there is, or without a budget."""
        left = self.left(now_s)
        return 0.0 if not self._per_day or left >= 0 else -left * DAY_S / self._per_day


@dataclass(slots=True)
class _Seen:
    """What is known of one type between two looks."""

    newest: int = -1  # newest step at the last look
    enough_s: float | None = None  # when it first had enough steps
    tried_s: float | None = None  # when the last round began
    tried_newest: int = -1  # newest step in it
    tried_good: int | None = None  # good steps up to it
    drift: str | None = None  # what was found since
    deferred: bool = False


class Triggers:
    """Of all types. Times are wall clock seconds: a round before a restart counts too."""

    def __init__(self, rules: TriggerRules, *, now_s: float) -> None:
        self.rules = rules
        self.budget = Budget(rules.budget_cpu_s_per_day, now_s=now_s)
        self._seen: dict[str, _Seen] = {}

    def due(self, builder: StepBlockBuilder, *, asked: bool, has_model: bool, announced_s: float, now_s: float) -> Trigger | None:
        """Whether the type is to be trained now, and why.

        Args:
            builder: its closed steps.
            asked: by hand.
            has_model: a version of it serves.
            announced_s: when its newest version was announced; 0: never.
            now_s: the time.
        """
        rules, seen = self.rules, self._seen.setdefault(builder.type.id, _Seen())
        grown, seen.newest = builder.newest - seen.newest, builder.newest
        if seen.tried_good is None:
            seen.tried_good = builder.good_steps
        if asked:
            return Trigger("hand", "asked for")
        if builder.closed_steps() < rules.min_steps:
            return None
        if seen.tried_s is None and not has_model:
            # while a backlog streams in, the first model waits for the rest of it, but not for ever
            seen.enough_s = now_s if seen.enough_s is None else seen.enough_s
            if grown < rules.min_steps // 4 or now_s - seen.enough_s >= rules.every_s:
                return Trigger("first", f"{builder.closed_steps()} closed steps a twin, {rules.min_steps} at least")
            return None
        if builder.newest <= seen.tried_newest:
            return None
        trigger = self._fired(builder, seen, announced_s, now_s)
        if trigger is not None and (wait_s := self.budget.wait_s(now_s=now_s)) > 0:
            if not seen.deferred:
                left = round(self.budget.left(now_s), 1)
                found = {"model": builder.type.slug, "trigger": str(trigger), "budget_left_cpu_s": left, "wait_s": round(wait_s)}
                log.info("update-deferred", extra=found)
            seen.deferred = True
            return None
        return trigger

    def _fired(self, builder: StepBlockBuilder, seen: _Seen, announced_s: float, now_s: float) -> Trigger | None:
        rules = self.rules
        if seen.drift is not None:
            return Trigger("drift", seen.drift)
        good = builder.good_steps - (seen.tried_good or 0)
        if rules.every_good_steps and good >= rules.every_good_steps:
            return Trigger("volume", f"{good} good twin-steps since the last update, {rules.every_good_steps} asked for")
        # a version from the future says nothing: a clock was set back
        last_s = max(seen.tried_s or 0.0, announced_s if announced_s <= now_s else 0.0)
        if now_s - last_s >= rules.every_s:
            since = f"{now_s - last_s:.0f} s since the last update" if last_s else "no update yet"
            return Trigger("time", f"{since}, every {rules.every_s:g} s")
        return None

    def budget_figure(self, *, now_s: float) -> dict[str, float]:
        """What a version's record tells of the budget, for the next process to go on from; nothing without one."""
        return {BUDGET_LEFT: round(self.budget.left(now_s), 3)} if self.rules.budget_cpu_s_per_day else {}

    def go_on(self, versions: Iterable[ModelVersion]) -> None:
        """Go on with the budget where an earlier process stopped, as the newest of its versions tells."""
        told = [version for version in versions if BUDGET_LEFT in version.figures]
        if told:
            newest = max(told, key=lambda version: version.time_ns)
            self.budget.restore(newest.figures[BUDGET_LEFT], newest.time_ns / 1e9)

    def drifted(self, type_id: str, found: str) -> None:
        """Note drift that was found: the type is due."""
        self._seen.setdefault(type_id, _Seen()).drift = found

    def began(self, builder: StepBlockBuilder, *, now_s: float) -> None:
        """Note that a round of this type begins."""
        seen = self._seen.setdefault(builder.type.id, _Seen())
        seen.tried_s, seen.tried_newest, seen.tried_good = now_s, builder.newest, builder.good_steps
        seen.drift, seen.deferred = None, False

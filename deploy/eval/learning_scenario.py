"""What an evaluation of learning is run on: weeks of a fleet in which something changes, and when updates may learn it.

Out:  `Scenario`: what every sensor shows, the times of drift and updates, the faults put in, what people say of them.
Times are steps from the beginning of the scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.records import EventRecord
from twin.block import StepBlock
from twin.fleet import TwinDeclaration

LATE_HOURS = 1  # after a fault has ended: an alert that begins until then is of the fault


@dataclass(frozen=True, slots=True)
class Span:
    """Steps [start, stop)."""

    start: int
    stop: int

    def __contains__(self, step: int) -> bool:
        return self.start <= step < self.stop


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault of one twin. `spreads`: of the process, so neighbours may rightly alarm too."""

    asset: str
    kind: str
    span: Span
    spreads: bool = False

    def explains(self, onset: int, plan: Plan) -> bool:
        """Whether an alert with this onset may be of this fault: it began while the fault was on, or soon after."""
        return self.span.start <= onset < self.span.stop + LATE_HOURS * plan.steps_a_day // 24


@dataclass(frozen=True, slots=True)
class Plan:
    """The course of a scenario. The first champion learns from the steps before `before`."""

    steps_a_day: int
    before: Span  # as it was learnt, no drift yet
    drifted: Span  # the drift is there, nothing has learnt it
    updates: tuple[int, ...]  # when an update is trained from all that has closed
    judged: tuple[Span, ...]  # after each update: a stretch without faults
    faults: Span | None = None  # after the drift: faults are put in
    returned: Span | None = None  # the old regime is back, without faults
    returned_faults: Span | None = None
    end: int = 0

    @property
    def drifted_until(self) -> int:
        """The step at which the old regime is back."""
        return self.returned.start if self.returned else self.end


def drift_plan(steps_a_day: int, *, learnt_days: int = 7, fault_days: int = 2) -> Plan:
    """Drift, two updates, faults, one update more, the old regime again, faults.

    >>> plan = drift_plan(288)
    >>> plan.updates[0] / 288, plan.end / 288
    (11.0, 19.0)
    """

    def span(first: float, last: float) -> Span:
        return Span(round(first * steps_a_day), round(last * steps_a_day))

    day = float(learnt_days)
    third = day + 7 + fault_days
    return Plan(
        steps_a_day=steps_a_day,
        before=span(day, day + 2),
        drifted=span(day + 2, day + 4),
        updates=tuple(round(at * steps_a_day) for at in (day + 4, day + 6, third)),
        judged=(span(day + 4, day + 6), span(day + 6, day + 7), span(third, third + 1)),
        faults=span(day + 7, third),
        returned=span(third, third + 1),
        returned_faults=span(third + 1, third + 1 + fault_days),
        end=span(0, third + 1 + fault_days).stop,
    )


def slow_plan(steps_a_day: int, *, learnt_days: int = 7, growing_days: int = 7, every_days: int = 2) -> Plan:
    """A fault begins two days after the first champion and grows, while updates are trained.

    >>> [at / 288 for at in slow_plan(288).updates]
    [11.0, 13.0, 15.0]
    """
    begins, ends = learnt_days + 2, learnt_days + 2 + growing_days
    updates = tuple(day * steps_a_day for day in range(begins + every_days, ends, every_days))
    return Plan(
        steps_a_day=steps_a_day,
        before=Span(learnt_days * steps_a_day, begins * steps_a_day),
        drifted=Span(begins * steps_a_day, ends * steps_a_day),
        updates=updates,
        judged=tuple(Span(at, min(at + every_days * steps_a_day, ends * steps_a_day)) for at in updates),
        end=ends * steps_a_day,
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run, and the same fleet, noise and weather otherwise: `undrifted` without the drift, beside which its cost is told, and
    `settled` with it there from the beginning, from which is learnt how much of that can be won back at all."""

    name: str
    interfaces: tuple[Mapping[str, Any], ...]
    declarations: tuple[TwinDeclaration, ...]
    plan: Plan
    blocks: Mapping[str, StepBlock]  # by type
    undrifted: Mapping[str, StepBlock] | None
    settled: Mapping[str, StepBlock] | None = None
    faults: tuple[Injected, ...] = ()
    slow: tuple[Injected, ...] = ()  # faults that grow over days
    announced: tuple[EventRecord, ...] = ()  # changes that are told when they happen

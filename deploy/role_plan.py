"""Which processes `livetwin up` runs, when each starts and in which order they stop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RolePlan:
    """One process: the words after `livetwin`; wave 2 starts once twins live; a lower `stop_order` stops first."""

    name: str
    words: tuple[str, ...]
    wave: int
    stop_order: int


def plan_roles(*, processors: int, demo: str, own_historian: bool) -> list[RolePlan]:
    """One process a role, `processors` of that one.

    Args:
        demo: `water`, `host` or `none`.
        own_historian: the historian is a process of its own, not part of the gateway.

    >>> [role.name for role in plan_roles(processors=2, demo="water", own_historian=False)]
    ['gateway', 'processor-1', 'processor-2', 'feed', 'alerting', 'trainer']
    """
    names = ["processor"] if processors == 1 else [f"processor-{number + 1}" for number in range(processors)]
    roles = [RolePlan("gateway", ("gateway",), 1, 5)]
    roles += [RolePlan(name, ("processor",), 1, 1) for name in names]
    if demo != "none":
        roles.append(RolePlan("feed", ("feed", demo), 1, 0))
    if own_historian:
        roles.append(RolePlan("historian", ("historian",), 1, 4))
    return [*roles, RolePlan("alerting", ("alerting",), 2, 2), RolePlan("trainer", ("trainer",), 2, 3)]

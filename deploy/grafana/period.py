"""The period that a dashboard shows at first: where the newest steps of its twins are, which may be far from now.

In:   how far the newest step of each type is ahead of the wall clock.
Out:  Grafana's words for a period, such as `now-24h`; relative ones, so that panels of the wall clock can have one of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twin.types import TwinType

HOUR_NS = 3_600_000_000_000
_SIMULATED_H = 7 * 24  # to both sides: a simulated clock runs on into what is the future here
_LIVE_H = 24
_STEP_H = 12  # so that a dashboard is not written anew for each hour of a fast clock


def hours_ahead(newest_ns: Mapping[str, int], types: Iterable[TwinType], now_ns: int) -> dict[str, int]:
    """Of each type with steps, by id: how far its newest step is ahead of now, in hours; coarse, for a simulated clock.

    A live type whose newest step is of the last day counts as being here.
    """
    found = {}
    for kind in types:
        if kind.id in newest_ns:
            ahead = (newest_ns[kind.id] - now_ns) // HOUR_NS
            if kind.max_ahead_ns is None:
                found[kind.id] = ahead // _STEP_H * _STEP_H
            else:
                found[kind.id] = 0 if -_LIVE_H <= ahead <= 1 else ahead
    return found


def first_period(types: Iterable[TwinType], ahead_h: Mapping[str, int]) -> tuple[str, str]:
    """From and to. Live types count before simulated ones, whose clocks are of another calendar; newer steps before older ones.

    >>> tank = TwinType("dtmi:a:Tank;1", "Tank", (), 1, 0, None, 0, 0)
    >>> pump = TwinType("dtmi:a:Pump;1", "Pump", (), 1, 0, 60_000_000_000, 0, 0)
    >>> first_period([tank], {}), first_period([tank], {tank.id: 240})
    (('now-168h', 'now+168h'), ('now+72h', 'now+408h'))
    >>> first_period([tank, pump], {tank.id: 240, pump.id: 0}), first_period([pump], {pump.id: -100})
    (('now-24h', 'now'), ('now-124h', 'now-99h'))
    """
    types = list(types)
    live = [kind for kind in types if kind.max_ahead_ns is not None]
    counted = [kind for kind in live if kind.id in ahead_h] or [kind for kind in types if kind.id in ahead_h]
    if not counted:
        return (_at(-_LIVE_H), _at(0)) if live or not types else (_at(-_SIMULATED_H), _at(_SIMULATED_H))
    newest = max(counted, key=lambda kind: ahead_h[kind.id])
    ahead = ahead_h[newest.id]
    if newest.max_ahead_ns is None:
        return _at(ahead - _SIMULATED_H), _at(ahead + _SIMULATED_H)
    return _at(ahead - _LIVE_H), _at(ahead + 1 if ahead else 0)


def _at(hours: int) -> str:
    return f"now{hours:+d}h" if hours else "now"

"""Revisions of a type: the same DTMI but for its version. Which of them share what was learnt.

In:   compiled types.
Out:  the revisions whose tensor contract is the same: one that changes texts, limits or static data only.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable

from twin.types import TwinType


def sharing_weights(kind: TwinType, types: Iterable[TwinType]) -> list[TwinType]:
    """The other revisions of a type with its tensor contract: earlier ones first, newest first; then later ones in order.

    >>> from twin.types import Channel
    >>> def pump(version, *names):
    ...     return TwinType(f"dtmi:p:Pump;{version}", "Pump", tuple(map(Channel, names)), 1, 0, None, 0, 0)
    >>> pumps = [pump(1, "flow"), pump(2, "flow"), pump(3, "flow", "heat"), pump(4, "flow"), pump(5, "flow")]
    >>> [one.id[-1] for one in sharing_weights(pumps[3], pumps)]
    ['2', '1', '5']
    """
    family, _, _ = kind.id.partition(";")
    others = [one for one in types if one.id != kind.id and one.id.startswith(f"{family};")]
    if not others:
        return []
    same = [one for one in others if one.contract == kind.contract]
    earlier = [one for one in same if _number(one) < _number(kind)]
    later = [one for one in same if _number(one) > _number(kind)]
    return sorted(earlier, key=_number, reverse=True) + sorted(later, key=_number)


def _number(kind: TwinType) -> tuple[int, ...]:
    """The version as numbers: 4 has versions such as 1.2."""
    return tuple(int(part) for part in kind.id.partition(";")[2].split(".") if part.isdecimal())

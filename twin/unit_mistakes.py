"""Units that are taken for one another: what a number in a channel's unit would have been had it come in another unit.

In:   a channel's unit.
Out:  affine conversions back: value in the channel's unit = number that came * scale + offset.
Pure: no clock, no I/O. Only units that are mixed up in practice count (`twin.common_units`), not all there are.
"""

from __future__ import annotations

from functools import cache

from twin.common_units import COMMON, affine, canonical


@cache
def conversions_back(unit: str | None) -> tuple[tuple[float, float], ...]:
    """(scale, offset) for each unit that `unit` is taken for: value = number that came * scale + offset.

    >>> [round(100 * scale + offset, 3) for scale, offset in conversions_back("degreeCelsius")]
    [37.778, -173.15]
    >>> conversions_back("furlong"), conversions_back(None)
    ((), ())
    """
    name = canonical(unit or "")
    own = COMMON.get(name)
    if own is None or not own.mixed_up:
        return ()
    others = (one for one, found in COMMON.items() if found.quantity == own.quantity and found.mixed_up and one != name)
    return tuple(back for one in others if (back := affine(one, name)) is not None)

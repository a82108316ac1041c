"""Quality of one cell (twin, step, channel): a bit field, and a word for people."""

from __future__ import annotations

import enum


class Quality(enum.IntFlag):
    """Bits of a cell. Zero is good; only good cells train."""

    GOOD = 0
    OUT_OF_RANGE = 1
    STUCK = 2
    SPIKE = 4
    GAP = 8  # no reading came in this step; the value was filled by the type's rule
    WRONG_UNIT = 16
    MISSING = 32  # nothing to fill with yet; the value is NaN


_WORDS = (
    (Quality.MISSING, "missing"),
    (Quality.WRONG_UNIT, "wrong-unit"),  # before out of range, which it explains
    (Quality.OUT_OF_RANGE, "out-of-range"),
    (Quality.STUCK, "stuck"),
    (Quality.SPIKE, "spike"),
    (Quality.GAP, "gap"),
)


def word(bits: int) -> str:
    """The gravest bit's word.

    >>> word(0), word(Quality.STUCK | Quality.GAP)
    ('good', 'stuck')
    """
    for bit, name in _WORDS:
        if bits & bit:
            return name
    return "good"

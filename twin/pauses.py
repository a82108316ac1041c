"""How long a twin pauses between its records by habit: a high quantile of its own pauses, moved from record to record.

In:   the steps of a twin's records, in log order.
Out:  by how many steps its habit is above `base`, a pause that surprises nobody; 0 of a twin that sends regularly.
Pure and exact: whole numbers, so the same records in any batches give the same.

A longer pause than by habit moves the habit up by a step (no further than that pause), any other down by 1 / UNIT of one: it
rests where one pause in UNIT + 1 is longer. So one outage of a regular sender says next to nothing, and a sender at
random is known after some dozen records.

Source: Robbins and Monro, A Stochastic Approximation Method, 1951 (the quantile of a stream).
"""

from __future__ import annotations

from collections.abc import Sequence

UNIT = 128  # of a step


def habits(excess: int, pauses: Sequence[int], base: int, most: int) -> list[int]:
    """The habit after each record, in 1 / UNIT of a step above `base`.

    Args:
        excess: the habit before them.
        pauses: of each record, in steps since the newest one before it.
        base, most: steps that a habit is never below, and never above.

    >>> habits(0, [1, 1, 20, 1, 20], base=4, most=48)
    [0, 0, 128, 127, 255]
    """
    found = []
    for pause in pauses:
        beyond = (pause - base) * UNIT
        excess = min(excess + UNIT, beyond, (most - base) * UNIT) if beyond > excess else max(0, excess - 1)
        found.append(excess)
    return found

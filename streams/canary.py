"""Canary twins: a share of a type's twins is scored by a challenger while the champion scores the others.

In:   names of twins, the challenger that is tried and the share.
Out:  which twins it scores, the same for whoever asks: trainer, processors, a replay of the log years later.

Who is drawn follows from the name of the twin and of the challenger alone, so it is a function of the log, no twin changes sides
while a challenger is tried, and the next challenger meets other twins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.port import Served
from streams.model_records import Canary
from twin.rows import Roster

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Divided:
    """Two versions in force at the same offsets, each for its own twins. None: its weights are not here, its twins unscored."""

    champion: Served | None
    canary: Served | None
    drawn_by: Canary


InForce = Served | Divided | None


def drawn(assets: Sequence[str], canary: Canary) -> NDArray[np.bool_]:
    """Which twins the canary version scores, (A,).

    >>> canary = Canary(version="0002-ab", sha256="", uri="", share=0.25, since_ns=0)
    >>> float(drawn([f"pump-{number}" for number in range(4000)], canary).mean().round(1))
    0.2
    """
    seed = canary.version.encode()
    numbers = (int.from_bytes(hashlib.blake2b(asset.encode(), digest_size=8, key=seed[:64]).digest(), "big") for asset in assets)
    return np.asarray(np.fromiter(numbers, np.uint64, len(assets)) < np.uint64(canary.share * 2.0**64))


class Draws:
    """Who is drawn, remembered as long as the same twins are asked about."""

    def __init__(self) -> None:
        self._known: tuple[Roster, Canary, NDArray[np.bool_]] | None = None

    def by_twin(self, found: InForce, steps: Ints, rows: Ints, roster: Roster) -> Iterator[tuple[Served | None, Ints]]:
        """Positions `steps` of `rows` by the version that scores them."""
        if not isinstance(found, Divided):
            yield found, steps
            return
        canary = self._of(roster, found.drawn_by)[rows[steps]]
        for served, mine in ((found.champion, ~canary), (found.canary, canary)):
            if mine.any():
                yield served, steps[mine]

    def of_twin(self, found: InForce, row: int, roster: Roster) -> Served | None:
        """The version that scores the twin in this row."""
        if not isinstance(found, Divided):
            return found
        return found.canary if self._of(roster, found.drawn_by)[row] else found.champion

    def _of(self, roster: Roster, canary: Canary) -> NDArray[np.bool_]:
        if self._known is None or self._known[0] is not roster or self._known[1] != canary:
            self._known = roster, canary, drawn(roster.assets, canary)
        return self._known[2]

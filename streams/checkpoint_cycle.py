"""Checkpoints of a large fleet a part at a time, so that no batch waits for all of it.

In:   twins with the offset their state stands for; how many may be saved now.
Out:  which to save now, and, once all that had changed when the cycle began are saved, that the mark may follow.

The mark is where each partition stood when the cycle began: every twin's newest checkpoint is of that moment or later, and a twin
skips what its own offset says it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from streams.checkpoint import export_twin, twin_key
from streams.scoring import TypeScorer
from twin.arena import Arena

CheckpointRecord = tuple[int, bytes, bytes | None]  # partition, key, value


@dataclass(frozen=True, slots=True)
class Due:
    """A twin that is to be saved."""

    partition: int
    asset: str
    arena: Arena
    row: int
    units: Mapping[str, str] = field(default_factory=dict)  # in which its source sends, where they are not the type's


def record_of(due: Due, scorer: TypeScorer) -> CheckpointRecord:
    """The checkpoint of a twin as it is now."""
    return due.partition, twin_key(due.asset), export_twin(due.arena, scorer, due.row, due.units)


@dataclass(slots=True)
class CheckpointCycle:
    """What has been saved of which twin, and what is still due in this cycle."""

    saved_offset: dict[str, int] = field(default_factory=dict)  # asset → offset of its newest checkpoint
    _due: deque[str] = field(default_factory=deque)
    _marks: dict[int, int] = field(default_factory=dict)
    _under_way: bool = False

    def begin(self, twins: Iterable[Due], marks: Mapping[int, int]) -> None:
        """All that has changed since it was saved is due; `marks`: where each partition stands now."""
        self._due = deque(one.asset for one in twins if self.saved_offset.get(one.asset) != int(one.arena.next_offset[one.row]))
        self._marks, self._under_way = dict(marks), True

    @property
    def under_way(self) -> bool:
        return self._under_way

    def take(self, most: int, where: Callable[[str], Due | None]) -> list[Due]:
        """Up to `most` twins to save now.

        `where` tells where a twin is by now: it may have moved to another type's arena since the cycle began, or have gone.
        """
        taken: list[Due] = []
        while self._due and len(taken) < most:
            one = where(self._due.popleft())
            if one is not None:
                self.saved_offset[one.asset] = int(one.arena.next_offset[one.row])
                taken.append(one)
        return taken

    def finished_marks(self) -> dict[int, int]:
        """Where each partition stood at the beginning, once nothing is due any more; empty before."""
        if self._due:
            return {}
        marks, self._marks, self._under_way = self._marks, {}, False
        return marks

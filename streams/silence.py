"""Silence: twins that their partition has moved on without.

In:   the arenas of owned partitions, after a fold.
Out:  a `TwinState` with health `silent` for each twin that has just fallen silent. No wall clock decides: a twin is silent
      when others of its type and partition are further ahead in event time than its gaps are filled for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from streams.outputs import numbers
from streams.records import TwinState
from twin.arena import Arena
from twin.closing import NEVER
from twin.quality import word
from twin.reading import NO_TIME

ROUNDS = 4  # records of every other twin that came since the last one of a silent twin


class Silence:
    """Which twins of one type are silent now; rows are the arena's."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._silent = np.zeros(arena.capacity, np.bool_)

    def reset(self, row: int) -> None:
        if row < len(self._silent):
            self._silent[row] = False

    def fallen_silent(self) -> Iterator[TwinState]:
        """States of twins that have fallen silent since the last call."""
        arena = self._arena
        if len(self._silent) < arena.capacity:
            self._silent = np.concatenate([self._silent, np.zeros(arena.capacity - len(self._silent), np.bool_)])
        rows = np.flatnonzero(arena.max_time != NO_TIME)
        if not len(rows):
            return
        # a twin of which no step has closed has no state to show
        now = self._left_behind(rows) & (arena.carry.data_step[rows] != NEVER)
        new = rows[now & ~self._silent[rows]]
        self._silent[rows] = now
        for row in new.tolist():
            yield self._state(row)

    def _left_behind(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Behind in event time by twice what gaps are filled for, and in the log by several rounds of all twins.

        The second tells a silent twin from one whose share of a backlog is still to come.
        """
        arena = self._arena
        partition = arena.partition[rows]
        latest, newest = np.full((2, int(partition.max()) + 1), NO_TIME)
        np.maximum.at(latest, partition, arena.max_time[rows])
        np.maximum.at(newest, partition, arena.next_offset[rows])
        steps = (latest[partition] - arena.max_time[rows]) // arena.type.period_ns
        rounds = (newest[partition] - arena.next_offset[rows]) // np.bincount(partition)[partition]
        return np.asarray((steps > 2 * arena.gap_steps) & (rounds > ROUNDS))

    def _state(self, row: int) -> TwinState:
        arena = self._arena
        last = min(int(arena.next_step[row]) - 1, int(arena.carry.data_step[row]) + arena.gap_steps)
        slot = last % arena.slots
        names = arena.type.channel_names
        return TwinState(
            asset=arena.asset_of[row] or "",
            type=arena.type.id,
            time_ns=(last + 1) * arena.type.period_ns,
            values=dict(zip(names, numbers(arena.values[row, slot]), strict=True)),
            quality=dict(zip(names, map(word, arena.quality[row, slot].tolist()), strict=True)),
            health="silent",
            risk=0.0,
            model_version=None,
            partition=int(arena.partition[row]),
            offset=int(arena.next_offset[row]) - 1,
        )


class Silences:
    """One for each type, made when it is asked for."""

    def __init__(self) -> None:
        self._of: dict[str, Silence] = {}

    def of(self, arena: Arena) -> Silence:
        found = self._of.get(arena.type.id)
        if found is None:
            found = self._of[arena.type.id] = Silence(arena)
        return found

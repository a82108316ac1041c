"""Silence as `twin.state` shows it: the twins that have just fallen silent (`twin.silence`), with the last that they sent.

In:   the arenas of owned partitions, after a fold; who fell silent in it.
Out:  a `TwinState` with health `silent` for each that has not come back since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.outputs import numbers
from streams.records import TwinState
from twin.arena import Arena
from twin.closing import NEVER
from twin.quality import word
from twin.silence import Fall


def silent_states(arena: Arena, falls: Iterable[Fall]) -> Iterator[tuple[Fall, TwinState]]:
    """A twin of which no step has closed has no state to show, nor has one that is of another type by now."""
    for row, fall in {fall.row: fall for fall in falls}.items():
        here = arena.row_of.get(arena.asset_of[row] or "") == row
        if here and arena.silent[row] and arena.carry.data_step[row] != NEVER:
            yield fall, _state(arena, row)


def _state(arena: Arena, row: int) -> TwinState:
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

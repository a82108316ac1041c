"""A large fleet is saved a part at a time, and the mark waits for the last of them."""

from __future__ import annotations

from streams.checkpoint_cycle import CheckpointCycle, Due
from tests.streams.plant import TYPE
from twin.arena import Arena
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S


def fleet(count: int) -> tuple[Arena, list[Due]]:
    arena = Arena(TYPE)
    due = [Due(0, f"t{index}", arena, arena.row(f"t{index}", 0)) for index in range(count)]
    return arena, due


def feed(arena: Arena, row: int, offset: int) -> None:
    builder = ReadingBatchBuilder(len(arena.type.channels))
    builder.add(row, [0], offset * NS_PER_S, [1.0], offset, 0)
    arena.fold(builder.build())


def test_the_mark_comes_after_the_last_part_and_stands_where_the_cycle_began() -> None:
    arena, due = fleet(5)
    for index in range(5):
        feed(arena, due[index].row, index)
    cycle = CheckpointCycle()
    here = {one.asset: one for one in due}
    cycle.begin(due, {0: 5})
    assert [one.asset for one in cycle.take(2, here.get)] == ["t0", "t1"]
    assert (cycle.finished_marks(), cycle.under_way) == ({}, True)
    feed(arena, due[0].row, 9)  # changed again after it was saved: due in the next cycle
    del here["t3"]  # gone
    here["t4"] = moved = Due(0, "t4", other := Arena(TYPE), other.row("t4", 0))  # of another type since the cycle began
    assert cycle.take(2, here.get) == [due[2], moved]
    assert (cycle.finished_marks(), cycle.under_way) == ({0: 5}, False)
    cycle.begin([due[0], due[1], due[2], moved], {0: 10})
    assert [one.asset for one in cycle.take(9, here.get)] == ["t0"]
    assert cycle.finished_marks() == {0: 10}

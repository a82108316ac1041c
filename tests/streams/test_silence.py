"""A twin is silent when its partition moves on without it; a backlog that is still to come is no silence."""

from __future__ import annotations

from streams.silence import Silence
from tests.streams.plant import TYPE
from twin.arena import Arena
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S


def fold(arena: Arena, sent: list[tuple[str, int]], offset: int) -> int:
    builder = ReadingBatchBuilder(len(arena.type.channels))
    for asset, second in sent:
        builder.add(arena.row(asset, 0), [0, 1], second * NS_PER_S, [1.0, 2.0], offset, second * NS_PER_S)
        offset += 1
    arena.fold(builder.build())
    return offset


def test_a_twin_that_stops_is_silent_once_and_shows_its_last_values() -> None:
    arena = Arena(TYPE)
    silence = Silence(arena)
    offset = fold(arena, [(asset, second) for second in range(30) for asset in ("a", "b", "c")], 0)
    assert list(silence.fallen_silent()) == []
    offset = fold(arena, [(asset, second) for second in range(30, 60) for asset in ("a", "b")], offset)
    states = list(silence.fallen_silent())
    assert [(state.asset, state.health) for state in states] == [("c", "silent")]
    assert states[0].values == {"flow": 1.0, "heat": 2.0}
    assert list(silence.fallen_silent()) == []
    offset = fold(arena, [(asset, second) for second in range(60, 90) for asset in ("a", "b", "c")], offset)
    assert list(silence.fallen_silent()) == []
    fold(arena, [(asset, second) for second in range(90, 120) for asset in ("a", "b")], offset)
    assert [state.asset for state in silence.fallen_silent()] == ["c"]


def test_a_backlog_that_comes_twin_by_twin_makes_nobody_silent() -> None:
    arena = Arena(TYPE)
    silence = Silence(arena)
    offset = fold(arena, [(asset, 0) for asset in ("a", "b", "c")], 0)
    for asset in ("a", "b", "c"):
        builder = ReadingBatchBuilder(len(arena.type.channels))
        for second in range(1, 300):
            builder.add(arena.row(asset, 0), [0], second * NS_PER_S, [1.0], offset, 0)
        offset += 1
        arena.fold(builder.build())
        assert list(silence.fallen_silent()) == []


def test_a_twin_none_of_whose_steps_has_closed_has_no_state_to_be_silent_with() -> None:
    arena = Arena(TYPE)
    silence = Silence(arena)
    offset = fold(arena, [("once", 0)], 0)
    fold(arena, [(asset, second) for second in range(60) for asset in ("a", "b")], offset)
    assert [state.to_bytes() for state in silence.fallen_silent()] == []

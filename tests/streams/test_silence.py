"""A twin is silent when its partition moves on without it; a backlog that is still to come is no silence."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from streams.log_record import PlainRecord
from streams.records import TwinState
from streams.silence import Silence
from tests.streams.plant import START, TYPE
from tests.streams.test_partitions_overlap import Owner
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


def sent() -> list[PlainRecord]:
    """Two twins of one partition go on, the third stops; the last records close no step."""
    rounds = [(asset, second) for second in range(40) for asset in ("p0", "p2", "p4") if asset != "p4" or second < 10]
    rounds += [("p0", 39), ("p2", 39)] * 3
    return [
        PlainRecord("t", 0, offset, 0, asset.encode(), orjson.dumps({"asset": asset, "time": START + second, "flow": 1.0}))
        for offset, (asset, second) in enumerate(rounds)
    ]


def last_states(folder: Path, size: int, *, committed: int = 0) -> dict[str, TwinState]:
    """What `twin.state` holds in the end, of records that are folded so many at a time."""
    partitions, found = Owner(folder).partitions, {}
    partitions.own(0, position=0, committed=committed, epoch=1)
    records = sent()
    for start in range(0, len(records), size):
        outputs = partitions.score(partitions.fold(records[start : start + size]))
        partitions.passed(outputs)
        for topic, _, _, value, _ in outputs.records:
            if topic == "t.twin.state":
                state = TwinState.model_validate_json(value)
                found[state.asset] = state
    return found


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_who_is_silent_in_the_end_does_not_depend_on_batches(tmp_path: Path, size: int) -> None:
    found = last_states(tmp_path, size)
    assert {asset: state.health for asset, state in found.items()} == {"p0": "learning", "p2": "learning", "p4": "silent"}
    assert found == last_states(tmp_path, 3)


def test_a_twin_that_falls_silent_in_the_batch_that_reaches_beyond_the_committed_offset_is_told(tmp_path: Path) -> None:
    assert last_states(tmp_path, 1000, committed=40)["p4"].health == "silent"

"""Checkpoints go on to the bit; older schemas are migrated, what can't be read is refused with what happens now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streams import checkpoint_bytes
from streams.checkpoint import export_twin, mark_value, read_mark, read_twin, restore_twin
from streams.conditions import OFF
from streams.folded import joined
from streams.scoring import TypeScorer
from tests.streams.plant import START, TYPE, readings
from twin.arena import Arena, ClosedSteps
from twin.errors import CheckpointRefused
from twin.plausible import recent_of
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S

RECORDED = Path(__file__).parent / "fixtures" / "twin-checkpoint-schema-1.safetensors"
HALF = 150  # steps folded before the recorded checkpoint, every 17th from the 5th on missing


def fold(arena: Arena, first: int, end: int) -> list[ClosedSteps]:
    builder, row = ReadingBatchBuilder(len(arena.type.channels)), arena.row("p2", 1)
    values = readings(300)[2]
    for step in range(first, end):
        if step % 17 != 5:
            builder.add(row, [0, 1], (START + step) * NS_PER_S, values[step].tolist(), step, 0)
    return arena.fold(builder.build()).closed


def steps(rounds: list[ClosedSteps]) -> dict[str, np.ndarray]:
    (found,) = joined(rounds)
    names = ("step", "values", "quality", "first_offset", "closed_by")
    windows = {"windows": found.windows.values, "window quality": found.windows.quality}
    return {name: getattr(found, name) for name in names} | windows


@pytest.mark.parametrize("origin", ["recorded by schema 1", "written now"])
def test_what_goes_on_from_a_checkpoint_equals_what_never_stopped(origin: str) -> None:
    whole = Arena(TYPE)
    scorer = TypeScorer(whole)
    fold(whole, 0, HALF)
    scorer.risk.arrays["duration"][0] = 45
    scorer.thresholds.arrays["sums"][0] = 1.5, 2.5, 0.1, 1 / 3
    scorer.counts.arrays["day_alarms"][0, 3] = 4
    written = RECORDED.read_bytes() if origin.startswith("recorded") else export_twin(whole, scorer, 0)
    expected = steps(fold(whole, HALF, 300))

    arena = Arena(TYPE)
    other = arena.row("p5", 1)  # so that the row is another one
    scorer, row = TypeScorer(arena), arena.row("p2", 1)
    restore_twin(read_twin(written), arena, scorer, row)
    assert row != other
    found = steps(fold(arena, 0, 300))  # what it has folded already is skipped
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert int(scorer.risk.arrays["duration"][row]) == 45
    sums = scorer.thresholds.arrays["sums"][row].tolist()
    assert scorer.counts.arrays["day_alarms"][row].sum() == (0 if origin.startswith("recorded") else 4)
    assert sums == ([0.0] * 4 if origin.startswith("recorded") else [1.5, 2.5, 0.1, 1 / 3])
    if origin.startswith("recorded"):
        assert scorer.conditions.onset[row][scorer.conditions.onset[row] != OFF].tolist() == [(START + 103) * NS_PER_S]
        assert scorer.risk.arrays["alarm"][row]


def test_the_same_state_gives_the_same_bytes_and_few_of_them() -> None:
    arena = Arena(TYPE)
    scorer = TypeScorer(arena)
    fold(arena, 0, HALF)
    written = export_twin(arena, scorer, 0)
    assert written == export_twin(arena, scorer, 0)
    assert len(written) < len(RECORDED.read_bytes()) / 3


def test_a_twin_that_was_met_and_never_scored_has_a_checkpoint_when_its_arena_has_grown() -> None:
    arena = Arena(TYPE, capacity=1)
    scorer = TypeScorer(arena)
    for asset in ("p1", "p3", "p2"):
        row = arena.row(asset, 1)
    assert arena.capacity > len(scorer.conditions.onset)
    assert read_twin(export_twin(arena, scorer, row)).asset == "p2"


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        (lambda b: b[: len(b) // 2], "not readable"),
        (lambda b: b"", "not readable"),
        (lambda b: b[:10] + bytes(len(b) - 10), "not readable"),
        (lambda b: b[:4] + (9).to_bytes(2, "little") + b[6:], "schema 9"),
        (lambda b: RECORDED.read_bytes().replace(b'\\"schema\\":\\"1\\"', b'\\"schema\\":\\"7\\"'), "schema 7"),
        (lambda b: RECORDED.read_bytes()[:-100], "not readable"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_happens_now(damaged: object, says: str) -> None:
    arena = Arena(TYPE)
    scorer = TypeScorer(arena)
    fold(arena, 0, HALF)
    value = damaged(export_twin(arena, scorer, 0))  # type: ignore[operator]
    with pytest.raises(CheckpointRefused, match=says) as refused:
        read_twin(value)
    assert checkpoint_bytes.WAY_OUT in str(refused.value)


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (b"", "not readable"),
        (b"[]", "not readable"),
        (b'{"schema": 2, "offset": null, "epoch": 1}', "not readable"),
        (b'{"schema": 2, "offset": 7}', "not readable"),
        (b'{"schema": 2, "offset": -7, "epoch": 1}', "offset -7"),
        (b'{"schema": 9, "offset": 7, "epoch": 1}', "schema 9"),
    ],
)
def test_a_mark_that_cannot_be_used_is_refused_with_what_happens_now(mark: bytes, says: str) -> None:
    assert read_mark(mark_value(7, 3)) == (7, 3)
    with pytest.raises(CheckpointRefused, match=says) as refused:
        read_mark(mark)
    assert checkpoint_bytes.WAY_OUT in str(refused.value)


def test_a_checkpoint_that_does_not_tell_since_when_a_version_serves_keeps_its_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arena = Arena(TYPE)
    scorer = TypeScorer(arena)
    fold(arena, 0, HALF)
    header, arrays, _ = checkpoint_bytes.unpack(export_twin(arena, scorer, 0))
    arrays |= {"threshold.threshold": np.array([2.75]), "threshold.version": np.array([7])}
    known = {name: array for name, array in arrays.items() if name not in ("threshold.since", "threshold.promised")}
    with monkeypatch.context() as older:
        older.setattr(checkpoint_bytes, "SCHEMA", 5)
        written = checkpoint_bytes.pack(header, known)
    row = arena.row("p9", 1)
    restore_twin(read_twin(written), arena, scorer, row)
    found = {name: array[row].item() for name, array in scorer.thresholds.arrays.items() if name != "sums"}
    assert (found["threshold"], found["version"], found["since"], found["promised"]) == (2.75, 7, 0, 2.75)


def test_a_checkpoint_of_another_contract_or_shape_leaves_the_row_fresh() -> None:
    arena = Arena(TYPE)
    scorer = TypeScorer(arena)
    fold(arena, 0, HALF)
    header, arrays, _ = checkpoint_bytes.unpack(export_twin(arena, scorer, 0))
    for change in ({"contract": "0" * 16}, {"window": 32}):
        with pytest.raises(CheckpointRefused, match="was written for"):
            restore_twin(read_twin(checkpoint_bytes.pack(header | change, arrays)), arena, scorer, arena.row("p9", 1))
    for name in ("open.values", "risk.alarm", "threshold.sums", "conditions.onset", "carry.recent_value"):
        fresh = Arena(TYPE)
        row = fresh.row("p2", 1)
        damaged = checkpoint_bytes.pack(header, arrays | {name: np.zeros(77, np.float32)})
        with pytest.raises(CheckpointRefused, match="folded again"):
            restore_twin(read_twin(damaged), fresh, TypeScorer(fresh), row)
        assert int(fresh.next_offset[row]) == 0
        assert np.isnan(fresh.values[row]).all()


def test_recent_values_are_read_off_the_window_of_a_checkpoint_that_had_none() -> None:
    limited = replace(TYPE, channels=tuple(replace(channel, spike_limit=100.0) for channel in TYPE.channels))
    arena = Arena(limited)
    fold(arena, 0, HALF)
    last = int(arena.next_step[0])
    slots = np.arange(last - arena.window, last) % arena.slots
    found = recent_of(arena.values[0, slots], arena.quality[0, slots], last - arena.window)
    np.testing.assert_array_equal(found.value, arena.carry.recent_value[0])
    np.testing.assert_array_equal(found.step, arena.carry.recent_step[0])

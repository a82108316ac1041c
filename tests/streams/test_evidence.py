"""Evidence shows what convinces: the forecast made before a fault, and the step that was farthest from it."""

from __future__ import annotations

import numpy as np
import pytest

from streams.checkpoint import export_twin, read_twin, restore_twin
from streams.outputs import states
from streams.records import Signal
from streams.scoring import Scored, Switches, TypeScorer
from streams.signals import signal, signals
from tests.streams.plant import ASSETS, START, TYPE, readings, trained
from twin.arena import Arena
from twin.errors import CheckpointRefused
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S

STEPS = 300
FAULT = 200


@pytest.fixture(scope="module")
def scored() -> tuple[TypeScorer, list[Scored]]:
    return replayed()


def replayed(*, explained: bool = False) -> tuple[TypeScorer, list[Scored]]:
    """Six twins scored; the flow of p3 falls by five at step FAULT and stays there."""
    values = readings(STEPS, faults=False)
    values[3, FAULT:, 0] -= 5
    arena = Arena(TYPE)
    scorer = TypeScorer(arena)
    scorer.switches[0] = Switches()
    scorer.switches[0].add(0, trained())
    found = []
    for first in range(0, STEPS, 50):
        builder = ReadingBatchBuilder(len(arena.type.channels))
        for step in range(first, first + 50):
            for row, asset in enumerate(ASSETS):
                at = (START + step) * NS_PER_S
                builder.add(arena.row(asset, 0), [0, 1], at, values[row, step].tolist(), step * 6 + row, at)
        found += [scorer.score(closed, explained=explained) for closed in arena.fold(builder.build()).closed]
    return scorer, found


def test_a_step_change_is_told_against_the_forecast_made_before_it(scored: tuple[TypeScorer, list[Scored]]) -> None:
    scorer, found = scored
    assets = [asset or "" for asset in scorer.arena.asset_of]
    told: list[Signal] = [signal(one, each, scorer.conditions, assets) for one in found for each in one.transitions]
    raised = [one for one in told if one.kind == "raise" and one.onset_ns >= (START + FAULT) * NS_PER_S]
    assert [one.asset for one in raised] == ["p3"]
    top = raised[0].evidence.channels[0]
    assert top.name == "flow"
    assert top.seen is not None and top.expected is not None  # noqa: PT018
    assert top.expected - top.seen > 3, "the raise shows a forecast that had followed the fault already"
    assert raised[0].evidence.deviation > 5
    assert top.detector in {"forecast", "shift", "level", "shape"}
    assert top.off is not None
    assert -7 < top.off < -1, "flow fell by five"
    assert top.over_ns is not None
    assert raised[0].evidence.summary.startswith("flow ")
    assert "below" in raised[0].evidence.summary
    assert sum(raised[0].evidence.detectors.values()) == pytest.approx(1, abs=1e-3)
    assert raised[0].evidence.first_offset <= FAULT * 6 <= raised[0].evidence.last_offset


def test_signals_of_many_steps_are_those_of_each_alone(scored: tuple[TypeScorer, list[Scored]]) -> None:
    scorer, found = scored
    assets = [asset or "" for asset in scorer.arena.asset_of]
    (most,) = [one for one in found if len(one.transitions) == max(len(each.transitions) for each in found)]
    alone = [signal(most, each, scorer.conditions, assets).to_bytes() for each in most.transitions]
    assert len(set(alone)) > 10
    assert [one.to_bytes() for one in signals(most, most.transitions, scorer.conditions, assets)] == alone


def test_steps_that_a_signal_speaks_of_are_explained_as_when_every_step_is(scored: tuple[TypeScorer, list[Scored]]) -> None:
    told, every = scored[1], replayed(explained=True)[1]
    asked = 0
    for one, whole in zip(told, every, strict=True):
        at = np.unique([each.index for each in one.transitions if each.fall is None]).astype(int)
        asked += len(at)
        for name in ("before", "before_spread", "contribution", "off", "leading", "mix"):
            assert getattr(one, name)[at].tobytes() == getattr(whole, name)[at].tobytes(), name
        assert one.score.tobytes() == whole.score.tobytes()
        silent = np.setdiff1d(np.arange(len(one.closed)), at)
        assert not one.contribution[silent].any()
    assert 0 < asked < sum(len(one.closed) for one in told) / 2


def test_the_state_of_a_twin_in_alarm_says_so(scored: tuple[TypeScorer, list[Scored]]) -> None:
    scorer, found = scored
    assets = [asset or "" for asset in scorer.arena.asset_of]
    near = next(one for one in found if one.closed.step.max() >= START + FAULT + 20)
    last = {state.asset: state for state in states(near, np.ones(len(near.closed), np.bool_), assets, scorer.conditions)}
    assert last["p3"].health == "alarm"
    assert last["p0"].health == "ok"


def test_a_checkpoint_gives_the_same_twin_back_to_the_bit(scored: tuple[TypeScorer, list[Scored]]) -> None:
    scorer, _ = scored
    row = scorer.arena.row_of["p3"]
    saved = export_twin(scorer.arena, scorer, row)
    arena = Arena(TYPE)
    other = TypeScorer(arena)
    fresh = arena.row("p3", 0)
    restore_twin(read_twin(saved), arena, other, fresh)
    assert export_twin(arena, other, fresh) == saved


def test_a_checkpoint_of_another_window_is_refused_with_the_way_out(scored: tuple[TypeScorer, list[Scored]]) -> None:
    scorer, _ = scored
    saved = read_twin(export_twin(scorer.arena, scorer, scorer.arena.row_of["p3"]))
    arena = Arena(TYPE, window=32)
    with pytest.raises(CheckpointRefused, match=r"window 64, expected .* and 32; its partition is folded again"):
        restore_twin(saved, arena, TypeScorer(arena), arena.row("p3", 0))
    with pytest.raises(CheckpointRefused, match="not readable"):
        read_twin(b"\x10\0\0\0\0\0\0\0nonsense")

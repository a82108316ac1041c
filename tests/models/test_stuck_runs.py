"""How long equal runs are normal: sensors that round, machines that rest and points that are set are not called stuck."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.stuck_runs import LEAST, StuckRuns, learn_runs

TWINS, STEPS = 4, 2000


def noise(seed: int = 0) -> NDArray[np.float64]:
    return np.asarray(np.random.default_rng(seed).normal(0, 1, (TWINS, STEPS)))


def learnt(values: NDArray[np.float64], good: NDArray[np.bool_] | None = None) -> StuckRuns:
    shown = values.astype(np.float32)[:, :, None]
    return learn_runs(shown, np.ones(shown.shape, np.bool_) if good is None else good[:, :, None])


def test_a_sensor_that_never_repeats_itself_is_stuck_soon() -> None:
    assert learnt(noise()) == StuckRuns((LEAST,), ((),))


def test_a_machine_that_rests_at_zero_is_still_judged_when_it_runs() -> None:
    values = 50 + noise()
    values[:, 300:500] = values[:, 900:960] = 0
    assert learnt(values) == StuckRuns((LEAST,), ((0.0,),))


def test_a_sensor_that_rounds_may_repeat_itself_for_longer_or_for_ever() -> None:
    walk = np.cumsum(noise(), axis=1) / 3
    shorter, longer = learnt(np.round(walk, 0)), learnt(np.round(walk / 3, 0))
    assert shorter.after[0] == 0 or shorter.after[0] > 3 * LEAST
    assert longer == StuckRuns((0,), ((),))
    assert LEAST <= learnt(np.round(noise(), 1)).after[0] <= 3 * LEAST


@pytest.mark.parametrize("pattern", ["constant", "command", "set point"])
def test_what_hardly_moves_is_never_called_stuck(pattern: str) -> None:
    steps = np.arange(STEPS)
    values = {"constant": np.full(STEPS, 3.7), "command": steps // 100 % 2, "set point": 20 + steps // 300}[pattern]
    assert learnt(np.tile(values.astype(float), (TWINS, 1))).after == (0,)


def test_a_sensor_that_was_stuck_while_it_was_learnt_from_spoils_nothing() -> None:
    values, good = noise(), np.ones((TWINS, STEPS), np.bool_)
    values[1, 800:944] = values[1, 800]
    assert learnt(values).after == (LEAST,)
    good[1, 800:944] = False
    assert learnt(values, good) == StuckRuns((LEAST,), ((),))


def test_what_was_learnt_goes_through_json_and_back() -> None:
    values = noise()
    values[:, 300:500] = 0.1
    found = learnt(values)
    assert StuckRuns.from_dict({"after": list(found.after), "rests": [list(one) for one in found.rests]}) == found
    assert np.float32(found.rests[0][0]) == np.float32(0.1)

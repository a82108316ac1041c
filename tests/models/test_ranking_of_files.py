"""What ranks the steps of a file beside surprise: echoes count less, stillness counts."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors import DETECTORS
from models.echo import DAMPED, EchoState
from models.stillness import STEPS, fit_stillness
from models.windows import gather, padded
from twin.block import StepBlock


def mixed(**decades: float) -> np.ndarray:
    return np.array([decades.get(name, 0.1) for name in DETECTORS], np.float32)


def damped(steps: list[np.ndarray], *, at_once: int) -> np.ndarray:
    """Scores after the echo is told, in calls of so many steps; the loudest detector is the score."""
    state, found = EchoState(1), []
    each = np.stack(steps)
    for start in range(0, len(each), at_once):
        part = each[start : start + at_once]
        mix = part / part.sum(axis=1, keepdims=True)
        found.append(state.update(np.zeros(len(part), np.int64), part.max(axis=1), mix) / part.max(axis=1))
    return np.concatenate(found)


SPIKE = [*[mixed()] * 5, mixed(forecast=6, shape=5), mixed(forecast=6, shape=8), *[mixed(shape=8)] * 9, *[mixed()] * 5]


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_windows_that_still_hold_a_spike_count_less_and_the_spike_counts_in_full(at_once: int) -> None:
    share = damped(SPIKE, at_once=at_once)
    assert share[5:7].tolist() == [1, 1]
    assert share[7:16] == pytest.approx(DAMPED)


def test_a_level_that_stays_off_and_a_forecast_that_is_off_again_are_no_echo() -> None:
    stays = [*[mixed()] * 5, mixed(forecast=6, shape=5), *[mixed(shift=5, shape=8)] * 12]
    assert (np.delete(damped(stays, at_once=100), [12, 13]) == 1).all()  # two steps are told apart from an echo by nothing
    again = [*[mixed()] * 5, *[mixed(forecast=6, shape=8), mixed(shape=8)] * 6]
    assert damped(again, at_once=100)[10:].tolist() == [1] * 7


def block_of(values: np.ndarray) -> StepBlock:
    return StepBlock(("a",), tuple("xyz"), 0, 10**9, values[None].astype(np.float32), np.zeros((1, *values.shape), np.uint8))


def test_a_noisy_channel_that_stands_still_is_named_and_one_that_always_rests_is_not() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(1500, 3))
    values[:, 2] = draw.random(1500) < 0.01  # a switch
    still = fit_stillness(block_of(values[:1000]))
    values[1200:1240, 1] = values[1200, 1]
    values[1300:1400, 2] = 0
    later = block_of(values)
    at = np.arange(1000, 1500)
    windows = gather(*padded(later, STEPS + 1), np.zeros(500, np.int64), at, STEPS + 1)
    decades, channel = still.decades(["a"] * 500, *windows)
    inside = (at >= 1200 + STEPS) & (at < 1240)
    assert (decades[inside] > 2).all()
    assert (channel[inside] == 1).all()
    assert (decades[(at < 1200) | (at >= 1240 + STEPS)] == 0).all()
    assert (still.decades(["unknown"] * 500, *windows)[0] == 0).all()


def test_filled_gaps_are_not_still() -> None:
    draw = np.random.default_rng(0)
    still = fit_stillness(block_of(draw.normal(size=(1000, 3))))
    values, quality = np.ones((1, STEPS + 1, 3), np.float32), np.full((1, STEPS + 1, 3), 4, np.uint8)
    assert still.decades(["a"], values, quality)[0].tolist() == [0]

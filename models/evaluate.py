"""Evaluation: a version over recorded steps, exactly as the stream scores them.

In:   a served version and a `StepBlock`.
Out:  `Evaluation`: scores, risk and alarms of every step of every twin.
Used by the gate, by `score`, by the lab and by tests; there is no second way to score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.coverage import begins_anew, said
from models.online_threshold import OnlineThresholds, Promises
from models.port import LEARNING, Served
from models.risk import RiskState
from models.windows import gather, padded
from twin.block import StepBlock
from twin.quality import Quality

ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of one twin, steps counted from the start of the block."""

    asset: str
    onset: int
    top_channel: str
    severity: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A twins × T steps; p 1, score and risk 0 where a twin was learning or had no closed step."""

    p_value: NDArray[np.float32]  # (A, T)
    score: NDArray[np.float32]  # (A, T)
    risk: NDArray[np.float32]  # (A, T)
    alarm: NDArray[np.bool_]  # (A, T)
    top_channel: NDArray[np.int64]  # (A, T) index of the channel with the largest contribution
    expected: NDArray[np.float32]  # (A, T, C)
    spread: NDArray[np.float32]  # (A, T, C)
    scored: NDArray[np.bool_]  # (A, T)
    alarms: tuple[Alarm, ...]  # in order of onset


def evaluate(served: Served, block: StepBlock, *, start: int = 0, risk: RiskState | None = None) -> Evaluation:
    """Score the steps from `start` on (earlier ones are context only) and let risk follow them in order.

    Args:
        served: the version.
        block: closed steps of its type.
        start: first step to score.
        risk: alarm memory to go on with, one row an asset of the block; None: a new one.
    """
    twins, steps, channels = block.values.shape
    values, quality = padded(block, served.window)
    times = block.time_ns()
    state = risk if risk is not None else RiskState(twins)
    shape = (twins, steps)
    p_value, score, level = np.ones(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    alarm, covered, anew = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    top = np.zeros(shape, np.int64)
    expected, spread = np.full((*shape, channels), np.nan, np.float32), np.full((*shape, channels), np.nan, np.float32)
    closed = (block.quality & int(Quality.MISSING)).min(axis=2) == 0  # at least one channel has a value
    scored = closed & (served.rows(block.assets) != LEARNING)[:, None]
    scored[:, :start] = False
    at, twin = np.nonzero(scored.T)  # by step, then by twin
    rows = served.rows(block.assets)
    for begin in range(0, len(at), ROWS_AT_ONCE):
        t, a = at[begin : begin + ROWS_AT_ONCE], twin[begin : begin + ROWS_AT_ONCE]
        windows = gather(values, quality, a, t, served.window)
        found = served.score(rows[a], *windows, times[t])
        p_value[a, t], score[a, t], top[a, t] = found.p_value, found.score, found.contribution.argmax(axis=1)
        expected[a, t], spread[a, t], covered[a, t] = found.expected, found.spread, found.covered
        anew[a, t] = begins_anew(windows[1])
    twin, at = np.nonzero(scored)  # by twin, then by step
    judged = covered[twin, at]
    heights = state.heights(twin, said(score[twin, at], judged, anew[twin, at]))
    promised = Promises.of([served], block.period_ns).at(np.zeros(len(twin), np.int64), ~judged)
    alarm_at = OnlineThresholds(twins).follow(twin, block.first_step + at, heights.height, promised)
    update = state.follow(twin, heights, alarm_at)
    level[twin, at], alarm[twin, at] = update.risk, update.alarm
    onsets = np.flatnonzero(update.rising)
    alarms = [
        Alarm(block.assets[twin[one]], int(at[one]), block.channels[top[twin[one], at[one]]], int(update.severity[one]))
        for one in onsets[np.lexsort((twin[onsets], at[onsets]))].tolist()
    ]
    return Evaluation(p_value, score, level, alarm, top, expected, spread, scored, tuple(alarms))

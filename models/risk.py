"""Risk: from one surprise a step to a smooth risk and an alarm, a twin, by k-of-n persistence with hysteresis.

In:   surprises (-log10 p) of closed steps, in each twin's order, and the surprise from which the twin alarms.
Out:  `RiskUpdate`; the state is a dict of plain arrays, so that it goes into checkpoints as it is.
Pure and exact: the same surprises in the same order give the same bits.

A step's height is the K-th largest of the last N surprises: what K of them reach. Its level is the height over that of the
alarm: 1 exactly when K of the last N steps are beyond it; risk is a smooth function of the level, 0.5 at 1. An alarm rises
there, and falls after QUIET steps in a row below the weaker level CLEAR.

A step may say nothing (MUTE: its window holds too few good readings), nor does one by which fewer than K of the last N have said
anything: an alarm that is on is held there, neither calmer nor longer. It falls with a step that begins ANEW: nothing in its
window is left of what was before, so the twin is one that has just come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.row_arrays import RowArrays
from models.waves import place_in_run

K, N = 3, 5
CLEAR = 0.6
QUIET = 6
LEVEL_MAX = 8.0
MUTE, ANEW = np.float32(-1), np.float32(-2)  # surprises of steps that say nothing
LONG = 24  # steps of alarm after which the severity is one grade graver
SEVERITIES = ("none", "warning", "minor", "major", "critical")
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Thresholds = float | NDArray[np.float64]
_GRADES = np.array([0.5, 0.65, 0.8, 0.92], np.float32)  # risk from which an alarm is a warning, minor, major, critical


@dataclass(frozen=True, slots=True)
class RiskUpdate:
    """For the N rows of one call. `severity` is a code: SEVERITIES[code]."""

    risk: NDArray[np.float32]  # 0..1; >= 0.5 exactly while alarm
    alarm: NDArray[np.bool_]
    rising: NDArray[np.bool_]  # the alarm began with this step
    severity: NDArray[np.uint8]
    held: NDArray[np.bool_]  # in alarm, of which this step says nothing


@dataclass(frozen=True, slots=True)
class Heights:
    """For the M steps of one call of `RiskState.heights`."""

    recent: Floats  # (M, N) surprises up to each step, newest last
    height: Floats  # (M,) what K of them reach; below 0: fewer said anything


@dataclass(frozen=True, slots=True)
class Calm:
    """For the M steps of one call of `RiskState.calm`."""

    risk: Floats  # what `update` says of a step of a twin that is not in alarm
    stirred: NDArray[np.bool_]  # an alarm was on before, or begins here


class RiskState(RowArrays):
    """Alarm memory of up to `capacity` twins."""

    def __init__(self, capacity: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {
            "surprise": np.zeros((capacity, N), np.float32),  # newest last; MUTE, ANEW
            "alarm": np.zeros(capacity, np.bool_),
            "quiet": np.zeros(capacity, np.int32),  # steps in a row below CLEAR while in alarm
            "duration": np.zeros(capacity, np.int32),  # steps in alarm
            "peak": np.zeros(capacity, np.float32),  # highest risk of this alarm
        }

    def update(self, rows: Ints, surprise: Floats, alarm_at: Thresholds) -> RiskUpdate:
        """Take one step of each of `rows` (each at most once in a call); `alarm_at` is in decades, as `surprise` is."""
        a = self.arrays
        recent = np.concatenate([a["surprise"][rows, 1:], surprise[:, None]], axis=1)
        a["surprise"][rows] = recent
        height = _height(recent)
        level, risk = _level_and_risk(height, alarm_at)

        was = a["alarm"][rows] & (surprise != ANEW)
        held = was & _mute(recent, height)
        quiet = np.where(held, a["quiet"][rows], np.where(was & (level < CLEAR), a["quiet"][rows] + 1, 0))
        alarm = held | (level >= 1) | (was & (quiet < QUIET))
        rising = alarm & ~was
        duration = np.where(alarm, a["duration"][rows] + ~held, 0)
        # in alarm risk stays at or above one half, out of it below: the two say the same
        risk = np.where(alarm, np.maximum(risk, np.float32(0.5)), np.minimum(risk, np.float32(0.4999)))
        peak = np.where(alarm, np.maximum(np.where(was, a["peak"][rows], np.float32(0)), risk), np.float32(0))
        severity = _severity(alarm, duration, peak)

        a["alarm"][rows] = alarm
        a["quiet"][rows] = np.where(alarm, quiet, 0)
        a["duration"][rows] = duration
        a["peak"][rows] = peak
        return RiskUpdate(risk.astype(np.float32), alarm, rising, severity, held)

    def heights(self, rows: Ints, surprise: Floats) -> Heights:
        """Look at many steps of each twin at once; nothing is changed. The steps of a twin stand beside each other, in order."""
        count = len(rows)
        rank = place_in_run(rows)
        recent = np.empty((count, N), np.float32)
        for back in range(N):
            within = rank >= back
            recent[within, N - 1 - back] = surprise[np.flatnonzero(within) - back]
            recent[~within, N - 1 - back] = self.arrays["surprise"][rows[~within], N - back + rank[~within]]
        return Heights(recent, _height(recent))

    def follow(self, rows: Ints, found: Heights, alarm_at: Thresholds) -> RiskUpdate:
        """Take many steps, as `heights` found them. The same as `update`, a step of each at a time."""
        a = self.arrays
        levels, risks = (one.tolist() for one in _level_and_risk(found.height, alarm_at))
        mute, anew = _mute(found.recent, found.height).tolist(), (found.recent[:, -1] == ANEW).tolist()
        alarm, rising, held, duration, peak, quiet = (
            np.zeros(len(rows), kind) for kind in (bool, bool, bool, np.int32, np.float32, np.int32)
        )
        clear, half, below = float(np.float32(CLEAR)), 0.5, float(np.float32(0.4999))
        before = -1
        for step, row in enumerate(rows.tolist()):
            if row != before:
                was, calm_for, lasted, highest = (a[name][row].item() for name in ("alarm", "quiet", "duration", "peak"))
                before = row
            was = was and not anew[step]
            hold = was and mute[step]
            if not hold:
                calm_for = calm_for + 1 if was and levels[step] < clear else 0
            now = hold or levels[step] >= 1 or (was and calm_for < QUIET)
            if now:
                risks[step] = max(risks[step], half)
                lasted, highest = lasted + (not hold), max(highest if was else 0.0, risks[step])
                held[step] = hold
                alarm[step], rising[step] = True, not was
                duration[step], peak[step], quiet[step] = lasted, highest, calm_for
            else:
                risks[step] = min(risks[step], below)
                calm_for, lasted, highest = 0, 0, 0.0
            was = now
        last = np.flatnonzero(np.append(rows[1:] != rows[:-1], True)[: len(rows)])
        a["surprise"][rows[last]] = found.recent[last]
        for name, array in (("alarm", alarm), ("quiet", quiet), ("duration", duration), ("peak", peak)):
            a[name][rows[last]] = array[last]
        return RiskUpdate(np.array(risks, np.float32), alarm, rising, _severity(alarm, duration, peak), held)

    def calm(self, rows: Ints, height: Floats, alarm_at: Thresholds) -> Calm:
        """Many steps of each twin at once, as if none were in alarm; nothing is changed.

        Twins none of whose steps are `stirred` may be given to `settle_calm`; the others must go through `follow`.
        """
        level, risk = _level_and_risk(height, alarm_at)
        return Calm(np.minimum(risk, np.float32(0.4999)), self.arrays["alarm"][rows] | (level >= 1))

    def settle_calm(self, rows: Ints, recent: Floats) -> None:
        """Take over where twins that stayed calm are now: `recent` of the last step of each of `rows`."""
        self.arrays["surprise"][rows] = recent
        for name in ("alarm", "quiet", "duration", "peak"):
            self.arrays[name][rows] = 0


def _severity(alarm: NDArray[np.bool_], duration: NDArray[Any], peak: NDArray[np.float32]) -> NDArray[np.uint8]:
    grade = np.searchsorted(_GRADES, peak, side="right") + (duration > LONG)
    return np.where(alarm, np.clip(grade, 1, 4), 0).astype(np.uint8)


def _height(recent: Floats) -> Floats:
    return np.asarray(np.partition(recent, N - K, axis=1)[:, N - K])  # K-th largest


def _mute(recent: Floats, height: Floats) -> NDArray[np.bool_]:
    return np.asarray((recent[:, -1] < 0) | (height < 0))


def _level_and_risk(height: Floats, alarm_at: Thresholds) -> tuple[Floats, Floats]:
    # rounded before it is compared: a last bit of the division decides nothing
    level = np.round(np.clip(height / np.float64(alarm_at), 0.0, LEVEL_MAX), 4).astype(np.float32)
    cubed = level * level * level
    return level, np.asarray(cubed / (np.float32(1) + cubed), np.float32)

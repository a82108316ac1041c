"""Risk: from one p-value a step to a smooth risk and an alarm, a twin, by k-of-n persistence with hysteresis.

In:   p-values of closed steps, in each twin's order.
Out:  `RiskUpdate`; the state is a dict of plain arrays, so that it goes into checkpoints as it is.
Pure and exact: the same p-values in the same order give the same bits.

A step's strength is its -log10 p over that of the threshold: 1 at the threshold. The K-th largest of the last N
strengths reaches 1 exactly when K of the last N steps are beyond the threshold; risk is a smooth function of it,
0.5 at 1. An alarm rises there, and falls after QUIET steps in a row below the weaker level CLEAR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

K, N = 3, 5
CLEAR = 0.6
QUIET = 6
STEEPNESS = 3  # whole number: risk is computed by products alone, the same bits everywhere
STRENGTH_MAX = 8.0
LONG = 24  # steps of alarm after which the severity is one grade graver
SEVERITIES = ("none", "warning", "minor", "major", "critical")
_GRADES = np.array([0.5, 0.65, 0.8, 0.92], np.float32)  # risk from which an alarm is a warning, minor, major, critical


@dataclass(frozen=True, slots=True)
class RiskUpdate:
    """For the N rows of one call. `severity` is a code: SEVERITIES[code]."""

    risk: NDArray[np.float32]  # 0..1; >= 0.5 exactly while alarm
    alarm: NDArray[np.bool_]
    rising: NDArray[np.bool_]  # the alarm began with this step
    severity: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Calm:
    """For the M steps of one call of `RiskState.calm`."""

    risk: NDArray[np.float32]  # what `update` says of a step of a twin that is not in alarm
    recent: NDArray[np.float32]  # (M, N) strengths up to each step, newest last
    stirred: NDArray[np.bool_]  # an alarm was on before, or begins here


class RiskState:
    """Alarm memory of up to `capacity` twins. `arrays` may be saved and restored whole, or a row at a time."""

    def __init__(self, capacity: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {
            "strength": np.zeros((capacity, N), np.float32),  # newest last
            "alarm": np.zeros(capacity, np.bool_),
            "quiet": np.zeros(capacity, np.int32),  # steps in a row below CLEAR while in alarm
            "duration": np.zeros(capacity, np.int32),  # steps in alarm
            "peak": np.zeros(capacity, np.float32),  # highest risk of this alarm
        }

    def __len__(self) -> int:
        return len(self.arrays["alarm"])

    def update(self, rows: NDArray[np.int64], p_value: NDArray[np.float32], alarm_p: float | NDArray[np.float64]) -> RiskUpdate:
        """Take one step of each of `rows` (each at most once in a call)."""
        a = self.arrays
        recent = np.concatenate([a["strength"][rows, 1:], _strength(p_value, alarm_p)[:, None]], axis=1)
        a["strength"][rows] = recent
        level, risk = _level_and_risk(recent)

        was = a["alarm"][rows]
        quiet = np.where(was & (level < CLEAR), a["quiet"][rows] + 1, 0)
        alarm = (level >= 1) | (was & (quiet < QUIET))
        rising = alarm & ~was
        duration = np.where(alarm, a["duration"][rows] + 1, 0)
        # in alarm risk stays at or above one half, out of it below: the two say the same
        risk = np.where(alarm, np.maximum(risk, np.float32(0.5)), np.minimum(risk, np.float32(0.4999)))
        peak = np.where(alarm, np.maximum(np.where(was, a["peak"][rows], np.float32(0)), risk), np.float32(0))
        severity = _severity(alarm, duration, peak)

        a["alarm"][rows] = alarm
        a["quiet"][rows] = np.where(alarm, quiet, 0)
        a["duration"][rows] = duration
        a["peak"][rows] = peak
        return RiskUpdate(risk.astype(np.float32), alarm, rising, severity)

    def follow(self, rows: NDArray[np.int64], p_value: NDArray[np.float32], alarm_p: float | NDArray[np.float64]) -> RiskUpdate:
        """Take many steps: a twin's stand beside each other, in order. The same as `update`, a step of each at a time."""
        a = self.arrays
        recent = self._recent(rows, p_value, alarm_p)
        levels, risks = (one.tolist() for one in _level_and_risk(recent))
        alarm, rising, duration, peak, quiet = (
            np.zeros(len(rows), kind) for kind in (bool, bool, np.int32, np.float32, np.int32)
        )
        clear, half, below = float(np.float32(CLEAR)), 0.5, float(np.float32(0.4999))
        before = -1
        for step, row in enumerate(rows.tolist()):
            if row != before:
                was, calm_for, lasted, highest = (a[name][row].item() for name in ("alarm", "quiet", "duration", "peak"))
                before = row
            calm_for = calm_for + 1 if was and levels[step] < clear else 0
            now = levels[step] >= 1 or (was and calm_for < QUIET)
            if now:
                risks[step] = max(risks[step], half)
                lasted, highest = lasted + 1, max(highest if was else 0.0, risks[step])
                alarm[step], rising[step] = True, not was
                duration[step], peak[step], quiet[step] = lasted, highest, calm_for
            else:
                risks[step] = min(risks[step], below)
                calm_for, lasted, highest = 0, 0, 0.0
            was = now
        last = np.flatnonzero(np.append(rows[1:] != rows[:-1], True)[: len(rows)])
        a["strength"][rows[last]] = recent[last]
        for name, array in (("alarm", alarm), ("quiet", quiet), ("duration", duration), ("peak", peak)):
            a[name][rows[last]] = array[last]
        return RiskUpdate(np.array(risks, np.float32), alarm, rising, _severity(alarm, duration, peak))

    def calm(self, rows: NDArray[np.int64], p_value: NDArray[np.float32], alarm_p: float | NDArray[np.float64]) -> Calm:
        """Look at many steps of each twin at once, as if none were in alarm; nothing is changed.

        The steps of a twin stand beside each other, in order. Twins none of whose steps are `stirred` may be given to
        `settle_calm`; the others must go through `follow`.
        """
        recent = self._recent(rows, p_value, alarm_p)
        level, risk = _level_and_risk(recent)
        return Calm(np.minimum(risk, np.float32(0.4999)), recent, self.arrays["alarm"][rows] | (level >= 1))

    def _recent(
        self, rows: NDArray[np.int64], p_value: NDArray[np.float32], alarm_p: float | NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Strengths of the last N steps up to each, newest last: (M, N)."""
        count, strength = len(rows), _strength(p_value, alarm_p)
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        rank = np.arange(count) - np.repeat(starts, np.diff(np.append(starts, count)))
        recent = np.empty((count, N), np.float32)
        for back in range(N):
            within = rank >= back
            recent[within, N - 1 - back] = strength[np.flatnonzero(within) - back]
            recent[~within, N - 1 - back] = self.arrays["strength"][rows[~within], N - back + rank[~within]]
        return recent

    def settle_calm(self, rows: NDArray[np.int64], recent: NDArray[np.float32]) -> None:
        """Take over where twins that stayed calm are now: `recent` of the last step of each of `rows`."""
        self.arrays["strength"][rows] = recent
        for name in ("alarm", "quiet", "duration", "peak"):
            self.arrays[name][rows] = 0

    def reset(self, row: int) -> None:
        """Forget one twin."""
        for array in self.arrays.values():
            array[row] = 0

    def grow(self, capacity: int) -> None:
        """Make room for more twins; those known keep their rows."""
        more = capacity - len(self)
        if more > 0:
            for name, array in self.arrays.items():
                self.arrays[name] = np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])

    def export(self, row: int) -> dict[str, NDArray[Any]]:
        """One twin's state, copied."""
        return {name: array[row].copy() for name, array in self.arrays.items()}

    def restore(self, row: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `export` gave.

        Raises:
            ValueError: an array is missing or has another shape; nothing was changed.
        """
        for name, array in self.arrays.items():
            found = np.shape(state[name]) if name in state else None
            if found != array.shape[1:]:
                raise ValueError(
                    f"risk state of row {row}: {name} has shape {found}, expected {array.shape[1:]}; row left as it was"
                )
        for name, array in self.arrays.items():
            array[row] = state[name]


def _strength(p_value: NDArray[np.float32], alarm_p: float | NDArray[np.float64]) -> NDArray[np.float32]:
    threshold = -np.log10(np.float64(alarm_p))
    surprise = 0.0 - np.log10(np.maximum(p_value.astype(np.float64), 1e-37))
    # rounded before it is compared: a last bit of the logarithm decides nothing
    return np.asarray(np.round(np.clip(surprise / threshold, 0.0, STRENGTH_MAX), 4), np.float32)


def _severity(alarm: NDArray[np.bool_], duration: NDArray[Any], peak: NDArray[np.float32]) -> NDArray[np.uint8]:
    grade = np.searchsorted(_GRADES, peak, side="right") + (duration > LONG)
    return np.where(alarm, np.clip(grade, 1, 4), 0).astype(np.uint8)


def _level_and_risk(recent: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    level = np.partition(recent, N - K, axis=1)[:, N - K]  # K-th largest
    cubed = level * level * level
    return level, np.asarray(cubed / (np.float32(1) + cubed), np.float32)

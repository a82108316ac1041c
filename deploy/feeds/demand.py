"""Demand of the water network's customers: daily patterns, weekdays and weekends, smooth random variation.

In:   the network file's base demands and hourly patterns; a random generator.
Out:  demand of every junction at one moment, litres a second.
Pure apart from its own state, which can be saved and restored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.feeds.hydraulics import LPS_PER_GPM, section

HOUR_S = 3600
_TOWN_PATTERN = "1"  # the pattern of households and shops; the others are single large users
_WEEKEND_DELAY_H = 1.5  # people get up later
_WEEKEND_SHARE = 0.94
_WEEKEND_FLATNESS = 0.25  # share of the day's swing that is gone
_TOWN_SIGMA, _LARGE_SIGMA, _COMMON_SIGMA = 0.05, 0.015, 0.03  # of the logarithm of demand
_OWN_MEMORY_S, _COMMON_MEMORY_S, _SMOOTHING_S = 3 * HOUR_S, 12 * HOUR_S, HOUR_S / 2

Floats = NDArray[np.float64]


class Demand:
    """Demand of all junctions, stepped along event time.

    Each junction's demand is factor × base × pattern × exp(own + common), where `own` and `common` are AR(1) processes,
    low-passed over half an hour so that they wander rather than jump.
    """

    def __init__(self, network: str, junctions: Sequence[str], step_s: int, random: np.random.Generator) -> None:
        rows = {row[0]: row for row in section(network, "JUNCTIONS")}
        hourly: dict[str, list[float]] = {}
        for row in section(network, "PATTERNS"):
            hourly.setdefault(row[0], []).extend(map(float, row[1:]))
        base = np.array([float(rows[name][2]) * LPS_PER_GPM for name in junctions])
        pattern = [rows[name][3] if len(rows[name]) > 3 else _TOWN_PATTERN for name in junctions]
        town = np.array([name == _TOWN_PATTERN for name in pattern])
        self.customers: NDArray[np.bool_] = base > 0
        self._weekday = base[:, None] * np.array([hourly[name] for name in pattern])
        self._weekend = np.where(town[:, None], _weekend(self._weekday), self._weekday)
        self._sigma = np.append(np.where(town, _TOWN_SIGMA, _LARGE_SIGMA), _COMMON_SIGMA)
        self._memory = np.exp(-step_s / np.append(np.full(len(base), float(_OWN_MEMORY_S)), _COMMON_MEMORY_S))
        self._smoothing = 1 - np.exp(-step_s / _SMOOTHING_S)
        self._random = random
        self.factor = 1.0  # on what all customers take
        self._fast = self._sigma * random.standard_normal(len(base) + 1)
        self._smooth = self._fast.copy()

    def at(self, time_s: int) -> Floats:
        """Demand at an event time (s since 1970, UTC), litres a second; call once a step, in order."""
        draw = self._random.standard_normal(len(self._fast))
        self._fast = self._memory * self._fast + self._sigma * np.sqrt(1 - self._memory**2) * draw
        self._smooth = self._smooth + self._smoothing * (self._fast - self._smooth)
        hour, rest = divmod(time_s, HOUR_S)
        share = rest / HOUR_S
        typical = self._hour(hour) * (1 - share) + self._hour(hour + 1) * share
        return np.asarray(self.factor * typical * np.exp(self._smooth[:-1] + self._smooth[-1]))

    def _hour(self, hour: int) -> Floats:
        weekday = (hour // 24 + 3) % 7  # 1970-01-01 was a Thursday
        table = self._weekend if weekday >= 5 else self._weekday
        return np.asarray(table[:, hour % 24])

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on, in JSON's own types."""
        return {"fast": self._fast.tolist(), "smooth": self._smooth.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._fast, self._smooth = np.array(state["fast"]), np.array(state["smooth"])


def _weekend(weekday: Floats) -> Floats:
    hours = np.arange(24)
    whole = int(_WEEKEND_DELAY_H)
    part = _WEEKEND_DELAY_H - whole
    late = weekday[:, (hours - whole) % 24] * (1 - part) + weekday[:, (hours - whole - 1) % 24] * part
    mean = weekday.mean(axis=1, keepdims=True)
    return np.asarray(_WEEKEND_SHARE * (mean + (1 - _WEEKEND_FLATNESS) * (late - mean)))

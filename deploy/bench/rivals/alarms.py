"""Which steps of a rival's twins are in alarm: livetwin's rule, by its own parts, as a user of the library would call them.

In:   what a version makes of closed steps, in each twin's order.
Out:  an alarm or none a step. The same as `streams.scoring` gives, but for twins that no version knows (they have no row here).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.coverage import begins_anew, said
from models.online_threshold import OnlineThresholds, Promises
from models.port import Scores, Served
from models.risk import Heights, RiskState

SavedAlarms = dict[str, dict[str, NDArray[Any]]]


class Alarms:
    """Alarm memory and thresholds of all twins of one type, each in the row that the version has for it."""

    def __init__(self, model: Served, period_ns: int) -> None:
        self._risk, self._thresholds = RiskState(0), OnlineThresholds(0)
        self._promises = Promises.of([model], period_ns)

    def meet(self, row: int) -> None:
        """Have a row for a twin of which nothing is known yet."""
        for state in (self._risk, self._thresholds):
            state.grow(row + 1)
            state.reset(row)

    def export(self, row: int) -> SavedAlarms:
        return {"risk": self._risk.export(row), "threshold": self._thresholds.export(row)}

    def restore(self, row: int, saved: SavedAlarms) -> None:
        self.meet(row)
        self._risk.restore(row, saved["risk"])
        self._thresholds.restore(row, saved["threshold"])

    def follow(
        self, rows: NDArray[np.int64], step: NDArray[np.int64], scores: Scores, quality: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Take closed steps, each twin's in order; whether it is in alarm after each. `quality` of windows: (M, WINDOW, C)."""
        order = np.argsort(rows, kind="stable")
        rows, covered = rows[order], scores.covered[order]
        anew, mute = np.zeros(len(order), np.bool_), np.flatnonzero(~covered)
        anew[mute] = begins_anew(quality[order[mute]])
        found = self._risk.heights(rows, said(scores.score[order], covered, anew))
        promised = self._promises.at(np.zeros(len(order), np.int64), ~covered)
        alarm_at = self._thresholds.follow(rows, step[order], found.height, promised)
        stirred = np.zeros(len(self._risk), np.bool_)
        stirred[rows[self._risk.calm(rows, found.height, alarm_at).stirred]] = True
        some, last = stirred[rows], np.append(rows[1:] != rows[:-1], True)
        alarm = np.zeros(len(order), np.bool_)
        heights = Heights(found.recent[some], found.height[some])
        alarm[order[some]] = self._risk.follow(rows[some], heights, alarm_at[some]).alarm
        self._risk.settle_calm(rows[~some & last], found.recent[~some & last])
        return alarm

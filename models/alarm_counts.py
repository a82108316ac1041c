"""Alarms of each twin, and the steps in which it could have raised one: over the newest days, and since its version serves.

In:   closed steps in each twin's order: when, under which version, whether an alarm began.
Out:  counts a twin; what they say of a type beside its target is for `streams.alarm_rate_report`.
Pure and exact: the same steps in the same order give the same counts, whatever the boundaries of the calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.row_arrays import RowArrays
from models.waves import waves
from models.windows import DAY_NS

DAYS = 7  # of event time, the newest one included

Ints = NDArray[np.int64]


class AlarmCounts(RowArrays):
    """Counts of up to `capacity` twins."""

    def __init__(self, capacity: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {
            "day": np.zeros((capacity, DAYS), np.int32),  # days since 1970; each has its place, the newest one in it counts
            "day_steps": np.zeros((capacity, DAYS), np.int32),
            "day_alarms": np.zeros((capacity, DAYS), np.int32),
            "version": np.zeros(capacity, np.int64),  # mark of the version in force (`models.online_threshold`); 0: none yet
            "steps": np.zeros(capacity, np.int64),  # under it
            "alarms": np.zeros(capacity, np.int64),
        }

    def follow(self, rows: Ints, time_ns: Ints, mark: Ints, began: NDArray[np.bool_]) -> None:
        """Take M steps, each twin's beside each other, in order.

        Args:
            rows: (M,).
            time_ns: (M,) end of the step.
            mark: (M,) of the version that judged it; 0: it could raise no alarm.
            began: (M,) whether an alarm began.
        """
        judged = np.flatnonzero(mark)
        if not len(judged):
            return
        rows, day, mark, began = rows[judged], (time_ns[judged] - 1) // DAY_NS, mark[judged], began[judged]
        first = np.ones(len(rows), np.bool_)  # of a run of steps of one twin, day and version
        first[1:] = (rows[1:] != rows[:-1]) | (day[1:] != day[:-1]) | (mark[1:] != mark[:-1])
        starts = np.flatnonzero(first)
        steps = np.diff(np.append(starts, len(rows)))
        alarms = np.add.reduceat(began.astype(np.int64), starts)
        row, day, mark = rows[starts], day[starts], mark[starts]
        for among in waves(row):
            self._add(row[among], day[among], mark[among], steps[among], alarms[among])

    def _add(self, rows: Ints, day: Ints, mark: Ints, steps: Ints, alarms: Ints) -> None:
        a, place = self.arrays, (rows, day % DAYS)
        same_day, same_version = a["day"][place] == day, a["version"][rows] == mark
        a["day_steps"][place] = np.where(same_day, a["day_steps"][place], 0) + steps
        a["day_alarms"][place] = np.where(same_day, a["day_alarms"][place], 0) + alarms
        a["day"][place] = day
        a["steps"][rows] = np.where(same_version, a["steps"][rows], 0) + steps
        a["alarms"][rows] = np.where(same_version, a["alarms"][rows], 0) + alarms
        a["version"][rows] = mark

    def newest_days(self, rows: Ints) -> tuple[int, int]:
        """Steps and alarms of these twins in the DAYS newest days of any of them."""
        a = self.arrays
        day = a["day"][rows]
        recent = day > day.max(initial=0) - DAYS
        return int(a["day_steps"][rows][recent].sum()), int(a["day_alarms"][rows][recent].sum())

    def under(self, rows: Ints, mark: int) -> tuple[int, int]:
        """Steps and alarms of those of these twins that the version judges, since it does."""
        a = self.arrays
        of_it = rows[a["version"][rows] == mark]
        return int(a["steps"][of_it].sum()), int(a["alarms"][of_it].sum())

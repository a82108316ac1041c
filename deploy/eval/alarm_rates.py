"""The alarm rate beside its target: over fault-free weeks, through a slow drift, through a swap; by twin type.

In:   `Watched` seasons without faults.
Out:  `Figure`s: alarms of the model, with as many as were asked for as reference: the ratio is realised over target.
"""

from __future__ import annotations

from collections.abc import Sequence

from deploy.bench.figures import Figure
from deploy.eval.watching import Watched
from streams.conditions import ANOMALY

WARM_DAYS = 0.25  # of each season, while windows fill; no alarm of it counts


def rates(
    name: str, seasons: Sequence[Watched], target: float, *, from_day: float = WARM_DAYS, to_day: float | None = None
) -> list[Figure]:
    """Realised and target rate of each type, from a day of each season to another."""
    found = []
    for type_id in seasons[0].by_type:
        alarms, twin_days = 0, 0.0
        for season in seasons:
            first, end = (season.steps if day is None else round(day * season.day) for day in (from_day, to_day))
            onsets = [one.step - season.first_step for one in season.alerts if one.type == type_id and one.condition == ANOMALY]
            alarms += sum(first <= step < end for step in onsets)
            twin_days += len(season.by_type[type_id].assets) * (end - first) / season.day
        word = type_id.split(":")[-1].split(";")[0].lower()
        found.append(Figure.beside(f"{name}, {word}s, alarms of the model", float(alarms), "1", round(target * twin_days, 2)))
    return found

"""Figures of injected faults: found, how soon, where, by which channel, and how many alerts were about nothing.

In:   `Watched` seasons with their faults; the fleet graph.
Out:  `Figure`s by kind of fault and in all.

What counts. A fault of a sensor or gateway is found by an alert of its own twin, one of the process by an alert of its twin or of
a neighbour in the fleet graph, raised while it lasts: by the model (`anomaly`), or by a condition that asks no model (stuck, out
of range, wrong unit, silent). An alert is true when it is of a twin that has a fault, or when it is raised anywhere while one of
the process lasts, which moves the whole network. While the plant finds back after a fault, alerts that this may have caused count
for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.bench.figures import Figure
from deploy.eval.vus import vus_pr
from deploy.eval.watching import SeenAlert, Watched
from deploy.eval.water_faults import KINDS, MOVED_KINDS, Fault
from deploy.eval.water_season import DAY, HOUR, SETTLING_STEPS, STEP_S
from streams.conditions import ANOMALY
from twin.fleet import Fleet

WITHIN_HOURS = (1, 3, 12)
TOLERANCE = HOUR  # of VUS-PR
FILLING_STEPS = 6 * HOUR  # of a season: a twin's first window fills
STRONGEST_OF = HOUR  # after the first alert of a fault: the strongest of these says where it is


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault. Delays in steps from its beginning to the end of the step that told of it, None: nothing did."""

    fault: Fault
    delay: int | None
    first: SeenAlert | None  # of its own twin
    strongest_near: bool | None  # of a fault of the process: whether the strongest early alert is of its twin or of a neighbour
    farthest_near: bool | None  # the same of the early alert whose readings are farthest from what was expected
    marked: bool  # quality marks on its own twin while it lasted
    by_model: bool
    by_condition: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """One season: what became of each fault, and its alerts by what they were about."""

    outcomes: list[Outcome]
    true: int
    false: list[SeenAlert]
    early: int  # false ones too, of the first hours, while windows fill; the others hold none of them
    twin_days: float  # in which no fault may have caused an alert


def judge(season: Watched, fleet: Fleet) -> Judged:
    """Match the alerts of a season with its faults."""
    outcomes = [_outcome(season, fault, fleet) for fault in season.faults]
    true, early, false = 0, 0, []
    for alert in season.alerts:
        about = _about(alert, season.faults)
        true += about == "fault"
        if about == "nothing" and alert.step < season.first_step + FILLING_STEPS:
            early += 1
        elif about == "nothing":
            false.append(alert)
    twin_days = sum(float(calm[:, FILLING_STEPS:].sum()) for _, calm in calm_steps(season)) / DAY
    return Judged(outcomes, true, false, early, twin_days)


def calm_steps(season: Watched) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    """By type (A, T): steps at which no fault is on or may have an after-effect on the twin."""
    for kind, found in season.by_type.items():
        calm = np.ones(found.score.shape, np.bool_)
        for fault in season.faults:
            at = slice(fault.onset - season.first_step, _settled(fault) - season.first_step)
            if fault.of_process:
                calm[:, at] = False
            elif fault.asset in found.assets:
                calm[found.assets.index(fault.asset), at] = False
        yield kind, calm


def figures(seasons: Sequence[Watched], fleet: Fleet) -> list[Figure]:
    """All figures of these seasons."""
    judged = [judge(one, fleet) for one in seasons]
    outcomes = [outcome for one in judged for outcome in one.outcomes]
    found = []
    for kind in (*KINDS, "all"):
        of_kind = [one for one in outcomes if kind in (one.fault.kind, "all")]
        if of_kind:
            found += _found(f"water, {kind}", of_kind)
            found.append(Figure(f"water, {kind}, VUS-PR", round(_volume(seasons, kind), 4), "of 1"))
    true, false = sum(one.true for one in judged), sum(len(one.false) for one in judged)
    early = sum(one.early for one in judged)
    precision = true / max(true + false + early, 1)
    recall = float(np.mean([one.delay is not None for one in outcomes]))
    twin_days = sum(one.twin_days for one in judged)
    twins = sum(len(found.assets) for one in seasons for found in one.by_type.values())
    return [
        *found,
        Figure("water, precision of alerts", round(precision, 4), "of 1"),
        Figure("water, recall of faults", round(recall, 4), "of 1"),
        Figure("water, F1 of both", round(2 * precision * recall / max(precision + recall, 1e-9), 4), "of 1"),
        Figure("water, false alerts between faults", round(false / twin_days, 5), "a twin-day"),
        Figure("water, false alerts in a twin's first six hours", round(early / twins, 5), "a twin"),
    ]


def _found(name: str, outcomes: Sequence[Outcome]) -> list[Figure]:
    """Share found by time, delays of those found, place, channel."""
    delays = [one.delay for one in outcomes if one.delay is not None]
    rows = [Figure(f"{name}, faults", float(len(outcomes)), "1")]
    for hours in WITHIN_HOURS:
        share = sum(delay <= hours * HOUR for delay in delays) / len(outcomes)
        rows.append(Figure(f"{name}, found within {hours} h", round(share, 4), "of 1"))
    if delays:
        p50, p90 = np.percentile(np.array(delays) * STEP_S / 60, [50, 90])
        rows += [
            Figure(f"{name}, delay, p50", round(float(p50), 1), "min"),
            Figure(f"{name}, delay, p90", round(float(p90), 1), "min"),
        ]
    rows.append(Figure(f"{name}, by the model", round(float(np.mean([one.by_model for one in outcomes])), 4), "of 1"))
    if any(one.by_condition for one in outcomes):
        rows.append(Figure(f"{name}, by a condition", round(float(np.mean([one.by_condition for one in outcomes])), 4), "of 1"))
    if any(one.marked for one in outcomes):
        rows.append(Figure(f"{name}, marked by quality", round(float(np.mean([one.marked for one in outcomes])), 4), "of 1"))
    places = [(one.strongest_near, one.farthest_near) for one in outcomes if one.strongest_near is not None]
    if places:
        strongest, farthest = (sum(map(bool, one)) / len(places) for one in zip(*places, strict=True))
        rows += [
            Figure(f"{name}, located (own or next to it)", round(strongest, 4), "of 1"),
            Figure(f"{name}, located by deviation", round(farthest, 4), "of 1"),
        ]
    alerts = [(one.fault, one.first) for one in outcomes if one.first is not None and one.fault.kind not in MOVED_KINDS]
    if alerts:
        at_once = float(np.mean([alert.top in fault.channels for fault, alert in alerts]))
        later = float(np.mean([alert.later in fault.channels for fault, alert in alerts]))
        rows += [
            Figure(f"{name}, top channel is the injected one", round(at_once, 4), "of 1"),
            Figure(f"{name}, top channel is the injected one, an hour later", round(later, 4), "of 1"),
        ]
    return rows


def _outcome(season: Watched, fault: Fault, fleet: Fleet) -> Outcome:
    during = [one for one in season.alerts if fault.onset <= one.step < fault.end]
    own = [one for one in during if one.asset == fault.asset]
    near = [one for one in during if one.asset in fleet.neighbours(fault.asset)] if fault.of_process else []
    told = [one.step + 1 for one in own + near]
    strongest_near = farthest_near = None
    if fault.of_process and during:
        first = min(one.step for one in during)
        early = [one for one in during if one.step < first + STRONGEST_OF]
        strongest = max(early, key=lambda one: (one.surprise, one.deviation))
        strongest_near = strongest in own or strongest in near
        farthest = max(early, key=lambda one: one.deviation)
        farthest_near = farthest in own or farthest in near
    return Outcome(
        fault,
        min(told) - fault.onset if told else None,
        min(own, key=lambda one: one.step) if own else None,
        strongest_near,
        farthest_near,
        _marked(season, fault),
        any(one.condition == ANOMALY for one in own + near),
        any(one.condition != ANOMALY for one in own + near),
    )


def _marked(season: Watched, fault: Fault) -> bool:
    found = next(one for one in season.by_type.values() if fault.asset in one.assets)
    row = found.marked[found.assets.index(fault.asset)]
    return bool(row[fault.onset - season.first_step : fault.end - season.first_step].any())


def _about(alert: SeenAlert, faults: Iterable[Fault]) -> str:
    """`fault`, `nothing`, or `aftermath`: what an alert is about."""
    about = "nothing"
    for fault in faults:
        if fault.onset <= alert.step < _settled(fault) and (fault.of_process or fault.asset == alert.asset):
            if alert.step < fault.end:
                return "fault"
            about = "aftermath"
    return about


def _settled(fault: Fault) -> int:
    return fault.end + SETTLING_STEPS["process" if fault.of_process else "sensor"]


def _volume(seasons: Sequence[Watched], kind: str) -> float:
    """VUS-PR of the score of all twins over all seasons; faults of other kinds and what comes after faults are left out."""
    scores, left_out, stretches = [], [], []
    length = 0
    for season in seasons:
        calm = dict(calm_steps(season))
        for type_id, found in season.by_type.items():
            ignored = ~calm[type_id]
            for fault in season.faults:
                if fault.asset in found.assets and kind in (fault.kind, "all"):
                    row, first = found.assets.index(fault.asset), fault.onset - season.first_step
                    end = min(fault.end - season.first_step, season.steps)
                    ignored[row, first:end] = False
                    stretches.append((length + row * season.steps + first, length + row * season.steps + end))
            scores.append(found.score.ravel())
            left_out.append(ignored.ravel())
            length += found.score.size
    return vus_pr(np.concatenate(scores), stretches, tolerance=TOLERANCE, left_out=np.concatenate(left_out))

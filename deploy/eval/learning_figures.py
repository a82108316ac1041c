"""Figures of learning: what a course of the three arms says, as numbers beside what is aimed at.

In:   `Course`s.
Out:  `Figure`s. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from deploy.bench.figures import Figure
from deploy.eval.learning_arms import ANSWERED, ARMS, FROZEN, NAIVE, OURS, Ledger
from deploy.eval.learning_course import Course
from deploy.eval.learning_scenario import Injected, Span
from streams.records import Alert
from twin.block import StepBlock

WON_BACK, RETURN_COST = 0.8, 0.02  # aims
UPDATES = ("one update", "two updates")
LEARNING = (NAIVE, OURS, ANSWERED)
SIGNIFICANT = 0.01
HOURS_MIN = 8  # of a stretch, for a paired test
NOTHING = 0.05  # nats a cell: a rise in loss below it is nothing to win back

Floats = NDArray[np.float64]


def figures_of(course: Course) -> list[Figure]:
    """All figures of one scenario."""
    found: list[Figure] = []
    if course.undrifted:
        found += _won_back(course)
    found += _false_alarms(course)
    found += _faults(course)
    found += _return(course)
    found += _slow(course)
    return found


def summary(courses: Sequence[Course]) -> list[Figure]:
    """Over all scenarios: what the aims are about."""
    found: list[Figure] = []
    drifted = [course for course in courses if course.undrifted]
    for number, words in enumerate(UPDATES):
        for arm in LEARNING:
            parts = [_rise(course, number, arm) for course in drifted if number < len(course.scenario.plan.updates)]
            rise, most, won = (sum(part[at] for part in parts) for at in range(3))
            if rise > 0:
                found.append(Figure.beside(f"all drifts: loss won back after {words}, {arm}", _r(won / rise), "1", WON_BACK))
            if most > 0:
                what = f"all drifts: won back of what can be after {words}, {arm}"
                found.append(Figure.beside(what, _r(won / most), "1", WON_BACK))
    for arm in (OURS, ANSWERED):
        judged = [judgement for course in courses for judgement in judgements(course, arm)]
        served = [one for one in judged if one.promoted]
        found += [
            Figure(f"updates judged on the stretch after them, {arm}", len(judged), "1"),
            Figure(f"of them promoted, {arm}", len(served), "1"),
            Figure(f"promoted and worse than the version before, {arm}", sum(one.worse for one in served), "1", 0.0),
            Figure(f"refused and better than what served, {arm}", sum(one.worse for one in judged if not one.promoted), "1", 0.0),
        ]
    return found


@dataclass(frozen=True, slots=True)
class Judgement:
    """An update of ours, looked at afterwards: the version that served against the one that did not, on the same steps."""

    update: int
    type: str
    version: str
    promoted: bool
    difference: float  # nats a cell; above 0: the other one would have been better
    p_value: float  # of a paired, one-sided t-test over hours

    @property
    def worse(self) -> bool:
        """What served was worse than what did not."""
        return self.difference > 0 and self.p_value < SIGNIFICANT


def judgements(course: Course, arm: str) -> Iterator[Judgement]:
    """What each update of an arm was worth, where the stretch after it is long enough to tell."""
    plan = course.scenario.plan
    for one in course.versions[arm]:
        span = plan.judged[one.update]
        served = course.ledgers[arm][one.type].loss[:, span.start : span.stop]
        difference = np.where(_sound(course, one.type, span), served - one.other[:, span.start : span.stop], np.nan)
        hourly = _hourly(difference, plan.steps_a_day // 24)
        if len(hourly) >= HOURS_MIN:
            found = stats.ttest_1samp(hourly, 0.0, alternative="greater")
            p_value = float(found.pvalue) if np.ptp(hourly) > 0 else 1.0
            yield Judgement(one.update, one.type, one.version, one.promoted, float(hourly.mean()), p_value)


def _sound(course: Course, type_id: str, span: Span) -> NDArray[np.bool_]:
    """(A, T) steps of a stretch at which a twin has no fault of its own: to forecast what a fault shows is no merit."""
    row_of = {asset: row for row, asset in enumerate(course.scenario.blocks[type_id].assets)}
    found = np.ones((len(row_of), span.stop - span.start), np.bool_)
    for fault in (*course.scenario.faults, *course.scenario.slow):
        if (row := row_of.get(fault.asset)) is not None:
            found[row, max(fault.span.start - span.start, 0) : max(fault.span.stop - span.start, 0)] = False
    return found


def _hourly(difference: NDArray[np.float32], steps_an_hour: int) -> Floats:
    """Mean over twins and the steps of each hour, hours without a step left out."""
    hours = difference.shape[1] // steps_an_hour
    cut = difference[:, : hours * steps_an_hour].astype(np.float64).reshape(len(difference), hours, steps_an_hour)
    known = np.isfinite(cut)
    counts = known.sum(axis=(0, 2))
    return np.asarray(np.where(known, cut, 0.0).sum(axis=(0, 2))[counts > 0] / counts[counts > 0])


def _rise(course: Course, number: int, arm: str) -> tuple[float, float, float]:
    """By how much the drift raised the frozen model's loss after update `number`, and how much of it can be won back, and was.

    What can be is what a model does not have that has learnt weeks with the drift throughout: some drifts make a plant harder to
    foresee. Nats a step, the mean over the twin-steps of a type that all have scored, summed over types.
    """
    span = course.scenario.plan.judged[number]
    found = np.zeros(3)
    for type_id, calm in course.undrifted.items():
        ledgers = calm, course.settled[type_id], course.ledgers[arm][type_id]
        others = np.stack([one.loss[:, span.start : span.stop].astype(np.float64) for one in ledgers])
        less = course.ledgers[FROZEN][type_id].loss[:, span.start : span.stop] - others
        known = np.isfinite(less).all(axis=0)
        found += less[:, known].sum(axis=1) / max(int(known.sum()), 1)
    rise, most, won = found.tolist()
    return rise, most, won


def _won_back(course: Course) -> Iterator[Figure]:
    name = course.scenario.name
    for number, words in zip(range(len(course.scenario.plan.updates)), UPDATES, strict=False):
        rise, most, _ = _rise(course, number, OURS)
        yield Figure(f"{name}: rise of the frozen model's loss, {words} later", _r(rise), "nats")
        yield Figure(f"{name}: of it less where the drift is long known, {words} later", _r(most), "nats")
        for arm in LEARNING:
            _, _, won = _rise(course, number, arm)
            if most > NOTHING:
                yield Figure.beside(f"{name}: won back of what can be after {words}, {arm}", _r(won / most), "1", WON_BACK)
            if rise > NOTHING:
                yield Figure.beside(f"{name}: loss won back after {words}, {arm}", _r(won / rise), "1", WON_BACK)
            else:
                yield Figure(f"{name}: loss less than the frozen model's after {words}, {arm}", _r(won), "nats")


def _false_alarms(course: Course) -> Iterator[Figure]:
    """Alerts a twin-day in stretches in which no fault is on."""
    scenario, plan = course.scenario, course.scenario.plan
    if scenario.slow:
        return
    stretches = [("before", plan.before), ("during the drift", plan.drifted)]
    stretches += [(f"after update {number + 1}", span) for number, span in enumerate(plan.judged)]
    for words, span in stretches:
        for arm in ARMS:
            begun = [alert for alert in course.alerts[arm] if _onset(course, alert) in span]
            yield Figure(
                f"{scenario.name}: false alarms a twin-day {words}, {arm}", _r(len(begun) / _twin_days(course, span)), "1"
            )


def _faults(course: Course) -> Iterator[Figure]:
    plan = course.scenario.plan
    for words, span in (("after the drift", plan.faults), ("after its return", plan.returned_faults)):
        if span is None:
            continue
        for arm in ARMS:
            found, missed, false = found_faults(course, course.alerts[arm], span)
            f1 = 2 * found / max(2 * found + missed + false, 1)
            what = f"{course.scenario.name}: F1 of {found + missed} faults {words}, {arm}"
            yield Figure(what, _r(f1), "1")


def found_faults(course: Course, alerts: Iterable[Alert], span: Span) -> tuple[int, int, int]:
    """Faults of a stretch that an alert of their twin began in, those without, and alerts that belong to none."""
    plan = course.scenario.plan
    faults = [fault for fault in course.scenario.faults if fault.span.start in span]
    found: set[Injected] = set()
    false = 0
    for alert in alerts:
        onset = _onset(course, alert)
        if onset not in span:
            continue
        own = [fault for fault in faults if fault.asset == alert.asset and fault.explains(onset, plan)]
        found.update(own)
        spread = any(fault.spreads and fault.explains(onset, plan) for fault in faults)
        false += not own and not spread
    return len(found), len(faults) - len(found), false


def _return(course: Course) -> Iterator[Figure]:
    """What having learnt the drift costs once the old regime is back: ours against the frozen model, which never left it."""
    span = course.scenario.plan.returned
    if span is None:
        return
    for arm in LEARNING:
        more = frozen = 0.0
        for type_id, ledger in course.ledgers[arm].items():
            mine, theirs = (_mean(one, span) for one in (ledger, course.ledgers[FROZEN][type_id]))
            more, frozen = more + mine - theirs, frozen + theirs
        what = f"{course.scenario.name}: loss above the frozen model's in the old regime again, {arm}"
        yield Figure(what, _r(more / len(course.ledgers[arm])), "nats", _r(RETURN_COST * abs(frozen) / len(course.ledgers[arm])))


def _mean(ledger: Ledger, span: Span) -> float:
    return float(np.nanmean(ledger.loss[:, span.start : span.stop].astype(np.float64)))


def _slow(course: Course) -> Iterator[Figure]:
    """Faults that grow: found at all, when, and whether an alert still stands on the last day."""
    slow, plan, name = course.scenario.slow, course.scenario.plan, course.scenario.name
    for arm in ARMS if slow else ():
        found = standing = 0
        hours: list[float] = []
        begun = [alert for alert in course.alerts[arm] if _onset(course, alert) in plan.drifted]
        for fault in slow:
            mine = [alert for alert in begun if alert.asset == fault.asset]
            last_day = Span(fault.span.stop - plan.steps_a_day, fault.span.stop)
            standing += any(_active_in(course, alert, last_day) for alert in mine)
            if mine:
                found += 1
                hours.append((min(_onset(course, alert) for alert in mine) - fault.span.start) * 24 / plan.steps_a_day)
        yield Figure.beside(f"{name}: found while they grow, {arm}", found, "1", len(slow))
        yield Figure.beside(f"{name}: under an alert on the last day, {arm}", standing, "1", len(slow))
        if hours:
            yield Figure(f"{name}: until the first alert, median of those found, {arm}", _r(float(np.median(hours))), "h")
        others = [alert for alert in begun if alert.asset not in {fault.asset for fault in slow}]
        rate = len(others) / _twin_days(course, plan.drifted)
        yield Figure(f"{name}: alarms of other twins, a twin-day, {arm}", _r(rate), "1")


def _active_in(course: Course, alert: Alert, span: Span) -> bool:
    cleared = math.inf if alert.cleared_ns is None else _step(course, alert.cleared_ns)
    return _onset(course, alert) < span.stop and cleared >= span.start


def _twin_days(course: Course, span: Span) -> float:
    twins = sum(len(block.assets) for block in course.scenario.blocks.values())
    return twins * (span.stop - span.start) / course.scenario.plan.steps_a_day


def _onset(course: Course, alert: Alert) -> int:
    return _step(course, alert.onset_ns)


def _step(course: Course, time_ns: int) -> int:
    block: StepBlock = next(iter(course.scenario.blocks.values()))
    return time_ns // block.period_ns - 1 - block.first_step


def _r(value: float) -> float:
    return float(f"{value:.4g}")

"""Gate stage on calibration: alarms that the target explains, p-values that are about as rare as they say.

In:   both versions' evaluations of one stretch (`Judged`) and their figures.
Out:  stage `calibration`; what is to be said against a version's p-values, which live steps are judged by too.

Both counts are noisy: alarms are few, and a strange hour is strange at all its steps. So a candidate's are compared with the
champion's on the same steps, and what chance explains is not held against it. But where the newest steps are strange to the
candidate too, it must forecast them better, surely, or likely and by more than counts as equal, or surely find far fewer strange:
a version that is as lost as the champion brings nothing, and the mixture of regimes that its tables come from hides faults.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
from scipy import stats

from models.batch_means import mean_and_chance
from models.gate_holdout import LOSS_TOLERANCE, Judged
from models.gate_stage import Stage
from models.served import ServedModel

SHARE, SHARE_RARE = 0.05, 0.01  # of steps with p < SHARE, and with p < SHARE_RARE, as promised
SHARE_WORST = 0.2  # of steps with p < SHARE from which on a version is compared with the champion, or a first one refused
SHARE_MORE = 0.02  # by which the candidate's may be above the champion's, besides what chance explains
LOWER_LOSS = 1.5  # times the champion's, when the loss is surely lower: it follows a drift, of which its tables have seen little
FAR_LESS = 1.5  # times less strange than the champion, and surely: it follows a drift, though its forecasts are no better yet
SURE = 0.01  # chance that a difference is none
LIKELY = 0.1  # that a lower loss is by chance: a day or two of a drift seldom tell more surely, and not to follow it costs, too
ALARMS_MIN = 2.0  # of a first model: a short hold-out explains none
ALARMS_CHANCE = 0.05  # that a version which alarms as often as the champion has more than is allowed
TWIN_DAYS_MIN = 1.0  # below which alarms say too little, where the shadow will judge them


def calibration(judged: Judged, figures: dict[str, float], *, alarms_per_twin_day: float, shadow: bool) -> Stage:
    """The stage. `shadow`: a version that passes is judged by its alarms on live steps before it serves."""
    name, days = "calibration", figures["twin_days"]
    raised, other = figures["candidate_alarms"], figures.get("champion_alarms")
    most = float(stats.poisson.ppf(0.999, alarms_per_twin_day * days))
    most = max(most, ALARMS_MIN if other is None else float(stats.poisson.ppf(1 - ALARMS_CHANCE, other)))
    little = shadow and other is not None and days < TWIN_DAYS_MIN
    if raised > most and not little:
        by = f"the champion raised {other:.0f} and " if other is not None else ""
        return Stage(
            name,
            False,
            f"{raised:.0f} alarms in {days:.1f} twin-days of the hold-out, {by}{most:.0f} at most expected "
            f"at the target of {alarms_per_twin_day} a twin-day",
        )
    if (stranger := too_strange(judged, figures)) is not None:
        return Stage(name, False, f"of the hold-out {stranger}")
    mine, theirs = figures["candidate_share_p05"], figures.get("champion_share_p05")
    if theirs is not None and mine > SHARE_WORST and not (_forecasts_better(judged) or _far_less_strange(judged)):
        strange = f"{mine:.0%} of steps have p < {SHARE}, expected about {SHARE:.0%} (champion {theirs:.0%})"
        loss = f"its loss of {figures['candidate_loss']:.3f} is hardly lower than {figures['champion_loss']:.3f}"
        return Stage(name, False, f"the hold-out is strange to it too: {strange}, and {loss}")
    against = f" against {other:.0f}" if other is not None else f" (at most {most:.0f})"
    told = " (too little to judge alarms by: the shadow will)" if little else ""
    beside = f" against {theirs:.1%}" if theirs is not None else ""
    share = f"{mine:.1%} of steps with p < {SHARE}{beside}"
    return Stage(name, True, f"{raised:.0f} alarms{against} in {days:.1f} twin-days{told}, {share}")


def too_strange(judged: Judged, figures: dict[str, float]) -> str | None:
    """What is to be said against p-values that are less rare than they say; None: nothing."""
    mine = figures["candidate_share_p05"]
    if mine <= SHARE_WORST:
        return None
    said = f"{mine:.0%} of steps have p < {SHARE}, expected about {SHARE:.0%}"
    period_ns, both = judged.stretch.block.period_ns, judged.both
    strange = np.where(both, judged.mine.p_value < SHARE, np.nan)
    if judged.theirs is None:
        _, by_chance = mean_and_chance(strange - SHARE_WORST, period_ns, SURE)
        return said if mine > SHARE_WORST + by_chance else None
    factor = LOWER_LOSS if _loss_is_lower(judged) else 1.0
    theirs = figures["champion_share_p05"]
    allowed = np.where(both, judged.theirs.p_value < SHARE, np.nan) * factor
    more, by_chance = mean_and_chance(strange - allowed, period_ns, SURE)
    if more <= max(SHARE_MORE, by_chance):
        return None
    times = f", {factor:g} times that is allowed as the loss is lower" if factor > 1 else ""
    return f"{said} (champion {theirs:.0%}{times}; chance explains {by_chance:.1%})"


def left_behind(judged: Judged, figures: dict[str, float]) -> bool:
    """Whether a drift has left the champion behind: its p-values are off, and the candidate's loss is no higher."""
    if judged.theirs is None or figures["champion_share_p05"] <= SHARE_WORST:
        return False
    return figures["candidate_loss"] <= figures["champion_loss"]


def as_promised(champion: ServedModel, figures: dict[str, float]) -> ServedModel:
    """The champion with the threshold that it should have, for a candidate whose loss is no higher to be compared with.

    Where its p-values on the hold-out are some times more frequent than they say, its threshold is as many times rarer: it
    finds faults at no other price than it promised. What the candidate makes of the hold-out has no say in that.
    """
    times = min(figures["champion_share_p05"] / SHARE, figures["champion_share_p01"] / SHARE_RARE)
    if times <= 1 or figures["candidate_loss"] > figures["champion_loss"]:
        return champion
    corrected = copy(champion)
    corrected.info = replace(champion.info, alarm_p=champion.alarm_p / times)
    return corrected


def _loss_is_lower(judged: Judged) -> bool:
    lower, by_chance = _gain(judged, SURE)
    return lower > by_chance


def _forecasts_better(judged: Judged) -> bool:
    lower, by_chance = _gain(judged, LIKELY)
    return lower > max(by_chance, LOSS_TOLERANCE) or _loss_is_lower(judged)


def _gain(judged: Judged, chance: float) -> tuple[float, float]:
    """Nats a cell by which the candidate's loss is lower, and what chance explains of that."""
    mine, theirs = judged.losses()
    assert theirs is not None
    return mean_and_chance(theirs - mine, judged.stretch.block.period_ns, chance)


def _far_less_strange(judged: Judged) -> bool:
    assert judged.theirs is not None
    mine, theirs = (np.where(judged.both, one.p_value < SHARE, np.nan) for one in (judged.mine, judged.theirs))
    fewer, by_chance = mean_and_chance(theirs / FAR_LESS - mine, judged.stretch.block.period_ns, SURE)
    return fewer > by_chance

"""A version beside the one before it on live steps: a challenger in the shadow, a champion after its promotion.

In:   `LiveJob`: steps that closed after both were trained, as the processors saw them.
Out:  `Verdict`: no worse, worse and why, or too little to say.

Loss is compared step by step over all twins together, as what strikes a plant strikes all of them; alarms are counted on all
steps, also those under an alert: alerts are the champion's own, and one that alarms without end must not hide behind them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import stats

from models import version as version_file
from models.gate_calibration import too_strange
from models.gate_cost import latency
from models.gate_holdout import (
    LOSS_TOLERANCE,
    TWIN_STEPS_MIN,
    TWIN_TOLERANCE,
    TWINS_WORSE,
    Judged,
    mean_and_error,
    twins_worse,
)
from models.gate_stage import Stretch
from models.live import LiveJob, Verdict
from models.port import VersionRefused
from models.served import ServedModel
from models.update import Weights
from models.weights import WeightFiles

MEMORY = 4  # steps over which the difference of two versions' losses says much the same
ALARMS_MORE = 2.0  # times the older version's alarms, and as many on top, that real faults explain


def judge(job: LiveJob) -> Verdict:
    """Compare the two versions. A newer one that does not load is worse than any."""
    torch.set_num_threads(job.threads)
    try:
        newer = _load(job, job.newer)
    except VersionRefused as refusal:
        return Verdict("worse", f"it does not load any more: {refusal.reason}: {refusal}")
    try:
        older = _load(job, job.older)
    except VersionRefused as refusal:
        return Verdict("no worse", f"{job.older.version} does not load any more, there is nothing to compare with: {refusal}")
    return beside(newer, older, job)


def beside(newer: ServedModel, older: ServedModel, job: LiveJob) -> Verdict:
    """The verdict on two loaded versions."""
    stretch = Stretch(job.block, job.start, job.exclude)
    judged, speed = Judged.of(newer, older, stretch), latency(newer, older, stretch)
    assert judged.theirs is not None
    figures = judged.figures()
    steps, n = job.block.steps - job.start, int(judged.both.sum())
    figures |= {"steps": float(steps), "twin_steps": float(n), **speed.figures}
    all_days = float(judged.mine.scored.sum()) * job.block.period_ns / 86_400e9
    raised, before = len(judged.mine.alarms), len(judged.theirs.alarms)
    most = max(float(stats.poisson.ppf(0.999, job.alarms_per_twin_day * all_days)), ALARMS_MORE * before + ALARMS_MORE)
    reasons: list[str] = []
    if figures["candidate_not_finite"]:
        reasons.append(f"{figures['candidate_not_finite']:.0f} forecasts or scores are not finite, expected none")
    told = len(np.flatnonzero(judged.both.any(axis=0))) >= 2 * MEMORY and n >= TWIN_STEPS_MIN
    if told:
        reasons += _losses(judged, figures, job)
    if raised > most:
        reasons.append(f"{raised} alarms against {before} in {all_days:.1f} twin-days, {most:.0f} at most expected")
    if not speed.passed:
        reasons.append(speed.why)
    if reasons:
        return Verdict("worse", f"{'; '.join(reasons)} (on {steps} live steps)", figures)
    if not told:
        return Verdict("undecided", f"only {n} twin-steps to judge on, expected {TWIN_STEPS_MIN} at least", figures)
    losses = f"loss {figures['candidate_loss']:.3f} against {figures['champion_loss']:.3f} on {n} live twin-steps"
    return Verdict("no worse", f"{losses}, {raised} alarms against {before} in {all_days:.1f} twin-days", figures)


def _losses(judged: Judged, figures: dict[str, float], job: LiveJob) -> Iterator[str]:
    """What speaks against the newer version's forecasts and p-values."""
    mine, theirs = judged.losses()
    assert theirs is not None
    difference = mine - theirs
    per_step = difference.swapaxes(0, 1).reshape(difference.shape[1], -1)
    per_step = per_step[np.isfinite(per_step).any(axis=1)]
    if not len(per_step):
        return
    worse, error = mean_and_error(np.nanmean(per_step, axis=1), MEMORY)
    by_chance = error * float(stats.t.isf(job.chance, max(len(per_step) / MEMORY - 1, 1.0)))
    if worse > LOSS_TOLERANCE and worse > by_chance:
        losses = f"loss {figures['candidate_loss']:.3f} against {figures['champion_loss']:.3f}"
        yield f"{losses}, {LOSS_TOLERANCE} more is allowed, and chance explains {by_chance:.3f}"
    twins = twins_worse(difference)
    allowed = int(TWINS_WORSE * int(judged.both.any(axis=1).sum()))
    if len(twins) > allowed:
        row, by = twins[0]
        worst = f"the worst, {job.block.assets[row]}, by {by:.2f}"
        yield f"{len(twins)} twins are worse by more than {TWIN_TOLERANCE} nats, {allowed} at most expected ({worst})"
    if (stranger := too_strange(judged, figures)) is not None:
        yield stranger


def _load(job: LiveJob, weights: Weights) -> ServedModel:
    path = WeightFiles(job.home).verify(weights.uri, weights.sha256)
    return version_file.load(
        path, expect_sha256=weights.sha256, expect_contract=job.type.contract, expect_type=job.type, device="cpu"
    )

"""Drift: do the newest steps surprise the champion more than those it was judged on?

In:   a `DriftJob`: the newest steps, the champion, what earlier looks found of it.
Out:  `DriftFound`: the twins' median surprise step by step, and whether ADWIN says that it has risen.

Surprise is minus the decimal logarithm of a step's p-value, cut off at `SURPRISE_MAX`: it means the same for every twin,
channel and type. The median over twins tells a type's drift from one twin's fault. Steps follow each other slowly, so ADWIN
sees means of `STEPS_AT_ONCE`. The series begins where the champion's hold-out begins: the reference is what it was promoted for.

Source: Bifet and Gavaldà, Learning from Time-Changing Data with Adaptive Windowing, SDM 2007; River's implementation.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from river.drift import ADWIN

from models import version as version_file
from models.port import LEARNING, VersionRefused
from models.served import ServedModel
from models.split import HOLDOUT_SHARE
from models.update import DriftFound, DriftJob, Surprises, UpdateFailed
from models.weights import WeightFiles
from models.windows import gather, padded
from twin.block import StepBlock
from twin.quality import Quality

SURPRISE_MAX = 2.0
STEPS_AT_ONCE = 4
DELTA = 0.002  # ADWIN's confidence


def look_for_drift(job: DriftJob) -> DriftFound | UpdateFailed:
    """Carry out one look."""
    torch.set_num_threads(job.threads)
    try:
        path = WeightFiles(job.home).verify(job.champion.uri, job.champion.sha256)
        champion = version_file.load(path, expect_sha256=job.champion.sha256, expect_contract=job.type.contract, device="cpu")
    except VersionRefused as refusal:
        return UpdateFailed(f"{refusal.reason}: {refusal}")
    block = job.block
    if job.earlier is None:
        trained_to = champion.info.trained_to_ns // block.period_ns  # the step after the last
        held_out = champion.info.holdout_steps
        if held_out is None:
            steps = trained_to - champion.info.trained_from_ns // block.period_ns + 1  # both are ends of steps
            held_out = int(steps * HOLDOUT_SHARE)
        earlier = Surprises(champion.version, trained_to - held_out, np.zeros(0))
    else:
        earlier = job.earlier
    from_step = max(earlier.next_step, block.first_step, block.first_step + block.steps - job.steps_max)
    skipped = np.full(from_step - earlier.next_step, np.nan)
    new = median_surprise(champion, block, start=from_step - block.first_step)
    surprises = Surprises(earlier.version, earlier.first_step, np.concatenate([earlier.medians, skipped, new]))
    return DriftFound(surprises, risen(surprises.medians, after=job.ignored_to - surprises.first_step))


def median_surprise(champion: ServedModel, block: StepBlock, *, start: int) -> NDArray[np.float64]:
    """(T - start,) median over the twins of the surprise of each step from `start` on, NaN where nobody closed it."""
    rows = champion.rows(block.assets)
    closed = ((block.quality & int(Quality.MISSING)).min(axis=2) == 0) & (rows != LEARNING)[:, None]
    closed[:, :start] = False
    twins, steps = np.nonzero(closed)
    found = np.full((len(rows), block.steps), np.nan)
    if len(twins):
        values, quality = padded(block, champion.window)
        windows = gather(values, quality, twins, steps, champion.window)
        scores = champion.score(rows[twins], *windows, block.time_ns()[steps])
        found[twins, steps] = np.minimum(scores.score, SURPRISE_MAX)
    judged = np.isfinite(found[:, start:]).any(axis=0)
    medians = np.full(block.steps - start, np.nan)
    medians[judged] = np.nanmedian(found[:, start:][:, judged], axis=0)
    return medians


def risen(medians: NDArray[np.float64], *, after: int = -1) -> str | None:
    """What ADWIN says of a series of surprises: in words, where it has risen for good after position `after`; else None.

    >>> calm, strange = np.full(600, 0.3), np.full(96, 1.2)
    >>> risen(np.concatenate([calm, strange, strange]))
    'median surprise rose from 0.30 to 1.20'
    >>> risen(calm), risen(np.concatenate([strange, strange, calm])), risen(np.concatenate([calm, strange]), after=690)
    (None, None, None)
    """
    at_all = np.flatnonzero(np.isfinite(medians))
    known = at_all[: len(at_all) // STEPS_AT_ONCE * STEPS_AT_ONCE].reshape(-1, STEPS_AT_ONCE)
    groups = medians[known].mean(axis=1)
    adwin, changed = ADWIN(delta=DELTA, clock=1), -1  # type: ignore[no-untyped-call]
    for at, group in zip(known[:, -1].tolist(), groups.tolist(), strict=True):
        adwin.update(group / SURPRISE_MAX)  # type: ignore[no-untyped-call]
        if adwin.drift_detected:
            changed = at
    width = min(int(adwin.width), len(groups))  # what ADWIN takes for one regime
    if changed <= after or width == len(groups):
        return None
    before, now = float(np.median(groups[:-width])), float(np.median(groups[-width:]))
    return f"median surprise rose from {before:.2f} to {now:.2f}" if now > before else None

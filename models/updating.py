"""One update of one twin type: train a copy, compare it with the champion on the newest hold-out, write its weights.

In:   `UpdateJob`: a block, what must not train, the champion's weights.
Out:  `Update`: the version that came of it and whether the gate lets it serve; or `UpdateFailed`, the reason in words.
Nothing is announced here: a version serves when the `models` topic says so.
"""

from __future__ import annotations

import logging
import math

from models import version as version_file
from models.gate import compare
from models.gate_memory import remembered
from models.gate_stage import Stretch
from models.port import VersionRefused
from models.served import ServedModel
from models.split import holdout_steps
from models.training import TrainingImpossible, train
from models.update import Update, UpdateFailed, UpdateJob, Weights
from models.weights import WeightFiles

log = logging.getLogger(__name__)

OLD_SHARE = 0.1  # oldest steps of the block, on which a candidate shows what it has forgotten


def update(job: UpdateJob) -> Update | UpdateFailed:
    """Carry out one update. Expected failures come back as `UpdateFailed`."""
    champion = _loaded(job, job.champion)
    holdout = holdout_steps(job.block, None if champion is None else champion.info.trained_to_ns)
    try:
        trained = train(
            type=job.type,
            block=job.block,
            base=champion,
            anew=not job.fine_tune,
            holdout=holdout,
            number=job.number,
            alarms_per_twin_day=job.alarms_per_twin_day,
            seed=job.seed,
            threads=job.threads,
            exclude=job.exclude,
            old=job.old,
            labels=job.labels,
        )
    except TrainingImpossible as error:
        return UpdateFailed(str(error), early=True)
    except VersionRefused as refusal:
        return UpdateFailed(f"what was trained does not load: {refusal}")
    # the newest steps, which training left alone, after enough steps for the first window
    first = job.block.steps - holdout
    window = max(trained.model.window, champion.window if champion else 0)
    context = max(0, first - window)
    oldest = min(window + int(job.block.steps * OLD_SHARE), first)
    decision = compare(
        trained.model,
        champion,
        job.block.between(context, job.block.steps),
        start=first - context,
        alarms_per_twin_day=job.alarms_per_twin_day,
        exclude=job.exclude[:, context:],
        shadow=job.shadow,
        earlier=[one for weights in job.earlier if (one := _loaded(job, weights)) is not None],
        old=[
            Stretch(job.block.between(0, oldest), min(window, oldest), job.exclude[:, :oldest]),
            *(remembered(job.old, job.block.channels, window) if job.old is not None else ()),
        ],
    )
    figures = {**trained.figures, **decision.figures}
    path = WeightFiles(job.home).path(trained.model.name, trained.model.version)
    sha256 = version_file.save(trained.model, path)
    return Update(
        version=trained.model.version,
        uri=path.as_uri(),
        sha256=sha256,
        contract=trained.model.contract,
        base=trained.model.info.base,
        promote=decision.promote,
        why=decision.why,
        figures={name: value for name, value in figures.items() if math.isfinite(value)},  # JSON knows no NaN
        stages=decision.stages,
        judged_to_ns=int(job.block.time_ns()[-1]),
        anchors=decision.anchors,
        faults=trained.faults,
    )


def _loaded(job: UpdateJob, weights: Weights | None) -> ServedModel | None:
    """A version that serves or has served, or None where it can't serve anyway: then there is nothing to compare with."""
    if weights is None:
        return None
    try:
        path = WeightFiles(job.home).verify(weights.uri, weights.sha256)
        return version_file.load(path, expect_sha256=weights.sha256, expect_contract=job.type.contract, device="cpu")
    except VersionRefused as refusal:
        log.warning(
            "version-not-loaded",
            extra={"model": job.type.slug, "version": weights.version, "reason": refusal.reason, "found": str(refusal)},
        )
        return None

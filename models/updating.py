"""One update of one twin type: train a copy, compare it with the champion on the newest hold-out, write its weights.

In:   `UpdateJob`: a block, what must not train, the champion's weights.
Out:  `Update`: the version that came of it and whether the gate lets it serve; or `UpdateFailed`, the reason in words.
Nothing is announced here: a version serves when the `models` topic says so.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from models import version as version_file
from models.gate import Decision, compare
from models.gate_memory import remembered
from models.gate_stage import Stage, Stretch
from models.port import VersionRefused
from models.served import ServedModel
from models.split import holdout_steps
from models.structure import Structure
from models.structure_trial import STAGE, proposed, verdict
from models.training import Trained, TrainingImpossible, train
from models.update import Update, UpdateFailed, UpdateJob, Weights
from models.weights import WeightFiles

log = logging.getLogger(__name__)

OLD_SHARE = 0.1  # oldest steps of the block, on which a candidate shows what it has forgotten


def update(job: UpdateJob) -> Update | UpdateFailed:
    """Carry out one update. Expected failures come back as `UpdateFailed`."""
    champion = _loaded(job, job.champion)
    try:
        trained = _trained(job, champion)
    except TrainingImpossible as error:
        return UpdateFailed(str(error), early=True)
    except VersionRefused as refusal:
        return UpdateFailed(f"what was trained does not load: {refusal}")
    if job.trial is None or champion is None or trained.model.info.base is None:
        decision = _judged(job, champion, trained)
    else:
        trained, decision = _beside_another_structure(job, champion, trained, job.trial)
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


def _trained(job: UpdateJob, champion: ServedModel | None, structure: Structure | None = None) -> Trained:
    """Train a copy, of the champion's structure where no other is named. Raises TrainingImpossible, VersionRefused."""
    if structure is None and champion is not None:
        structure = Structure.of(champion.info.architecture)
    return train(
        type=job.type,
        block=job.block,
        base=champion,
        anew=not job.fine_tune,
        holdout=_holdout(job, champion),
        number=job.number,
        alarms_per_twin_day=job.alarms_per_twin_day,
        seed=job.seed,
        threads=job.threads,
        exclude=job.exclude,
        old=job.old,
        labels=job.labels,
        structure=structure,
        loss=job.loss,
    )


def _beside_another_structure(job: UpdateJob, champion: ServedModel, trained: Trained, turn: int) -> tuple[Trained, Decision]:
    """Train another structure too, and let the gate judge it where it is the better one; else, or if it is refused, the first."""
    wanted = proposed(Structure.of(champion.info.architecture), turn)
    try:
        other = _trained(job, champion, wanted)
    except VersionRefused as refusal:
        return trained, _with(_judged(job, champion, trained), Stage(STAGE, True, f"{wanted} not taken: {refusal}"))
    found = verdict(other.model, trained.model, _newest(job, champion, other.model.window))
    refused = None
    if found.taken:
        decision = _judged(job, champion, other)
        if decision.promote:
            return other, _with(decision, found.stage())
        refused = decision.why
    return trained, _with(_judged(job, champion, trained), found.stage(refused))


def _with(decision: Decision, stage: Stage) -> Decision:
    return replace(decision, stages=(*decision.stages, stage), figures={**decision.figures, **stage.figures})


def _holdout(job: UpdateJob, champion: ServedModel | None) -> int:
    return holdout_steps(job.block, None if champion is None else champion.info.trained_to_ns)


def _newest(job: UpdateJob, champion: ServedModel | None, window: int) -> Stretch:
    """The newest steps, which training left alone, after enough steps for the first window."""
    first = job.block.steps - _holdout(job, champion)
    context = max(0, first - window)
    return Stretch(job.block.between(context, job.block.steps), first - context, job.exclude[:, context:])


def _judged(job: UpdateJob, champion: ServedModel | None, trained: Trained) -> Decision:
    """The gate's word."""
    window = max(trained.model.window, champion.window if champion else 0)
    newest = _newest(job, champion, window)
    oldest = min(window + int(job.block.steps * OLD_SHARE), job.block.steps - _holdout(job, champion))
    return compare(
        trained.model,
        champion,
        newest.block,
        start=newest.start,
        alarms_per_twin_day=job.alarms_per_twin_day,
        exclude=newest.exclude,
        shadow=job.shadow,
        earlier=[one for weights in job.earlier if (one := _loaded(job, weights)) is not None],
        old=[
            Stretch(job.block.between(0, oldest), min(window, oldest), job.exclude[:, :oldest]),
            *(remembered(job.old, job.block.channels, window) if job.old is not None else ()),
        ],
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

"""Versions on live steps: a challenger in the shadow of the champion, then on canary twins; a champion beside the one before.

In:   closed steps that the trainer has folded, the same as the processors'; what `models` says of versions.
Out:  through `streams.releases`: champion, refused, or rolled back, each with its reason.

Steps count from where the newer version's training ended (`ModelVersion.judged_to_ns`), so a trainer that starts anew judges
the same steps again. A canary's count from where the processors say that it began to serve (`Serving`); it is judged on its
twins by steps that both versions score here, and withdrawn early where that is worse beyond doubt; before it serves all
twins, the others are looked at too. A version that a person made champion is left to that person.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.live import LiveJob, Verdict
from models.split import only_twins
from models.update import Weights
from streams.canary import drawn
from streams.live_rules import LiveSteps
from streams.model_records import Canary, GateStage, ModelVersion
from streams.models_topic import ModelsView, ModelView
from streams.releases import Releases
from streams.step_blocks import StepBlockBuilder
from streams.training_periods import TrainingPeriods
from streams.training_worker import TrainingWorker
from twin.block import StepBlock

log = logging.getLogger(__name__)

CONTEXT_STEPS = 128  # before the first judged one; no window is longer
MOST_TWINS = 256  # of a type, by a hash of their names: enough to tell, and no load that grows with the fleet
WATCH_EVERY = 24  # live steps between two looks at a champion
PATIENCE = 8  # times the shadow's steps after which a challenger that nothing could be said of is refused
SHADOW_CHANCE, WATCH_CHANCE = 1e-2, 1e-4  # that one that is no worse is refused at the end, or withdrawn, rolled back at one look
_SHOWN = ("loss", "alarms", "share_p05")


@dataclass(frozen=True, slots=True)
class LiveRules:
    """For how many steps versions are compared, and by what."""

    steps: LiveSteps
    alarms_per_twin_day: float
    threads: int


class LiveWatch:
    """Looks from the trainer's loop, between two folds."""

    def __init__(self, worker: TrainingWorker, releases: Releases, view: ModelsView, home: Path, rules: LiveRules) -> None:
        self._worker, self._releases, self._view, self._home, self._rules = worker, releases, view, home, rules
        self._next: dict[tuple[str, str], int] = {}  # model, version → number of the newest step at the next look

    async def look(self, builder: StepBlockBuilder, periods: TrainingPeriods) -> None:
        """Judge whatever of this type has live steps enough."""
        model = self._view.get(builder.type.slug)
        if model is None or model.alias is None or model.champion is None:
            return
        if model.challenger is not None and model.alias.canary is not None:
            await self._canary(builder, periods, model, model.challenger, model.champion, model.alias.canary)
        elif model.challenger is not None:
            await self._shadow(builder, periods, model, model.challenger, model.champion)
        elif self._watched(model) and model.previous is not None:
            await self._watch(builder, periods, model.champion, model.previous)

    def _watched(self, model: ModelView) -> bool:
        """Whether the trainer itself made the champion what it is, and knows up to where it has learnt."""
        by_itself = model.alias is not None and model.alias.command_id is None
        known = model.champion is not None and model.champion.judged_to_ns is not None
        return self._rules.steps.watch > 0 and by_itself and known

    async def _shadow(
        self,
        builder: StepBlockBuilder,
        periods: TrainingPeriods,
        model: ModelView,
        challenger: ModelVersion,
        champion: ModelVersion,
    ) -> None:
        first = _first_live(challenger, builder)
        steps = max(self._rules.steps.shadow, 1)
        if not self._due(challenger, builder, first + steps, every=max(steps // 4, 1)):
            return
        verdict = await self._judge(builder, periods, challenger, champion, first, SHADOW_CHANCE)
        if verdict.outcome == "undecided":
            if builder.newest + 1 - first < PATIENCE * steps:
                log.info("shadow-goes-on", extra={"model": model.name, "version": challenger.version, "found": verdict.why})
                return
            verdict = Verdict("worse", f"{verdict.why} in {builder.newest + 1 - first} live steps", verdict.figures)
        stage = GateStage(name="shadow", passed=verdict.outcome == "no worse", why=verdict.why)
        figures, share = _figures("shadow", verdict), self._rules.steps.canary_share
        if stage.passed and self._rules.steps.tries_on_twins:
            canary = Canary(version=challenger.version, sha256=challenger.sha256, uri=challenger.uri, share=share, since_ns=0)
            twins = builder.block(steps=1).assets
            if drawn(twins, canary).any():
                await self._releases.begin_canary(model.name, challenger.version, stage, figures, share)
                return
            log.info("canary-left-out", extra={"model": model.name, "found": f"none of {len(twins)} twins drawn at {share:g}"})
        await self._releases.conclude(model.name, challenger.version, stage, figures)

    async def _canary(
        self,
        builder: StepBlockBuilder,
        periods: TrainingPeriods,
        model: ModelView,
        challenger: ModelVersion,
        champion: ModelVersion,
        canary: Canary,
    ) -> None:
        steps = max(self._rules.steps.canary, 1)
        first = _first_on_canary(model, canary, builder)
        since = first if first is not None else _first_live(challenger, builder) + self._rules.steps.shadow
        passed = builder.newest + 1 - since
        if first is None and passed < PATIENCE * steps:
            return
        if first is None:
            verdict = Verdict("worse", f"no processor has served it within {passed} live steps")
        elif not self._due(challenger, builder, first + max(steps // 4, 1), every=max(steps // 4, 1)):
            return
        else:
            over = passed >= steps
            chance = SHADOW_CHANCE if over else WATCH_CHANCE
            verdict = await self._judge(builder, periods, challenger, champion, first, chance, canary)
            if verdict.outcome == "no worse" and over:
                others = await self._judge(builder, periods, challenger, champion, first, SHADOW_CHANCE)
                if others.outcome == "worse":
                    verdict = Verdict("worse", f"on all twins, beside those it served: {others.why}", verdict.figures)
            if verdict.outcome == "undecided" and passed >= PATIENCE * steps:
                verdict = Verdict("worse", f"{verdict.why} in {passed} live steps", verdict.figures)
            if verdict.outcome == "undecided" or (verdict.outcome == "no worse" and not over):
                log.info("canary-goes-on", extra={"model": model.name, "version": challenger.version, "found": verdict.why})
                return
        stage = GateStage(
            name="canary", passed=verdict.outcome == "no worse", why=f"{canary.share:.0%} of the twins: {verdict.why}"
        )
        await self._releases.conclude(model.name, challenger.version, stage, _figures("canary", verdict))

    async def _watch(
        self, builder: StepBlockBuilder, periods: TrainingPeriods, champion: ModelVersion, before: ModelVersion
    ) -> None:
        if champion.decision == "rolled-back":  # a trainer ended half-way through that
            stage = GateStage(name="live", passed=False, why="it was rolled back before")
            await self._releases.roll_back(builder.type.slug, champion.version, stage)
            return
        first = max(_first_live(champion, builder), builder.newest + 1 - self._rules.steps.watch)
        if not self._due(champion, builder, _first_live(champion, builder) + WATCH_EVERY, every=WATCH_EVERY):
            return
        verdict = await self._judge(builder, periods, champion, before, first, WATCH_CHANCE)
        log.info(
            "champion-watched",
            extra={"model": builder.type.slug, "version": champion.version, "found": verdict.outcome, "why": verdict.why},
        )
        if verdict.outcome == "worse":
            stage = GateStage(name="live", passed=False, why=f"worse than {before.version} before it: {verdict.why}")
            await self._releases.roll_back(builder.type.slug, champion.version, stage)

    def _due(self, version: ModelVersion, builder: StepBlockBuilder, begin: int, *, every: int) -> bool:
        """Whether the newest step has come to where the next look is; then the one after that is further on."""
        key = (builder.type.slug, version.version)
        if builder.newest + 1 < self._next.get(key, begin):
            return False
        self._next = {other: step for other, step in self._next.items() if other[0] != builder.type.slug}
        self._next[key] = builder.newest + 1 + every
        return True

    async def _judge(
        self,
        builder: StepBlockBuilder,
        periods: TrainingPeriods,
        newer: ModelVersion,
        older: ModelVersion,
        first: int,
        chance: float,
        canary: Canary | None = None,
    ) -> Verdict:
        """`canary`: on its twins only."""
        block, exclude = live_steps(builder, periods, first, canary)
        found = await self._worker.judge(
            LiveJob(
                home=self._home,
                type=builder.type,
                block=block,
                exclude=exclude,
                start=max(0, first - block.first_step),
                newer=_weights(newer),
                older=_weights(older),
                alarms_per_twin_day=self._rules.alarms_per_twin_day,
                chance=chance,
                threads=self._rules.threads,
            )
        )
        return found if isinstance(found, Verdict) else Verdict("undecided", found.why)


def live_steps(
    builder: StepBlockBuilder, periods: TrainingPeriods, first: int, canary: Canary | None = None
) -> tuple[StepBlock, NDArray[np.bool_]]:
    """Steps from number `first` on and what comes before them, of canary twins or of all; (A, T) which of them tell nothing.

    Which alerts are of a cause that most twins share is told by all twins, also where only some are judged.
    """
    fleet = builder.block(steps=builder.newest + 1 - first + CONTEXT_STEPS)
    rows = np.arange(len(fleet.assets)) if canary is None else np.flatnonzero(drawn(fleet.assets, canary))
    if len(rows) > MOST_TWINS:
        by_hash = sorted(rows.tolist(), key=lambda row: (zlib.crc32(fleet.assets[row].encode()), row))
        rows = np.sort(np.array(by_hash[:MOST_TWINS], np.int64))
    return only_twins(fleet, rows), periods.of_fleet(fleet).mask[rows]


def _first_live(version: ModelVersion, builder: StepBlockBuilder) -> int:
    """Number of the first step that closed after the version's training; of one that does not tell, all there are count."""
    return (version.judged_to_ns or 0) // builder.type.period_ns


def _first_on_canary(model: ModelView, canary: Canary, builder: StepBlockBuilder) -> int | None:
    """Number of the first step that closed after every partition had begun that begins at all; None: none has yet."""
    newest = [serving.switches[-1] for serving in model.serving.values() if serving.switches]
    began = [switch.event_ns or 0 for switch in newest if switch.canary == canary]
    return max(began) // builder.type.period_ns if began else None


def _figures(stage: str, verdict: Verdict) -> dict[str, float]:
    """What a verdict says in numbers, under the stage's name."""
    shown = {f"{stage}_{side}_{name}": f"{side}_{name}" for side in ("candidate", "champion") for name in _SHOWN}
    shown |= {f"{stage}_steps": "steps", f"{stage}_twin_steps": "twin_steps"}
    found = {name: verdict.figures.get(one) for name, one in shown.items()}
    return {name: value for name, value in found.items() if value is not None and np.isfinite(value)}


def _weights(version: ModelVersion) -> Weights:
    return Weights(version.version, version.uri, version.sha256)

"""Versions on live steps: a challenger in the shadow of the champion, then the champion beside the version before it.

In:   closed steps that the trainer has folded, the same as the processors'; what `models` says of versions.
Out:  through `streams.releases`: champion, refused, or rolled back, each with its reason.

Steps count from where the newer version's training ended (`ModelVersion.judged_to_ns`), so a trainer that starts anew judges
the same steps again. Processors have no part in it. A version that a person made champion is left to that person.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.live import LiveJob, Verdict
from models.split import only_twins
from models.update import Weights
from streams.model_records import GateStage, ModelVersion
from streams.models_topic import ModelsView, ModelView
from streams.releases import Releases
from streams.step_blocks import StepBlockBuilder
from streams.training_periods import TrainingPeriods
from streams.training_worker import TrainingWorker

log = logging.getLogger(__name__)

CONTEXT_STEPS = 128  # before the first judged one; no window is longer
MOST_TWINS = 256  # of a type, by a hash of their names: enough to tell, and no load that grows with the fleet
WATCH_EVERY = 24  # live steps between two looks at a champion
PATIENCE = 8  # times the shadow's steps after which a challenger that nothing could be said of is refused
SHADOW_CHANCE, WATCH_CHANCE = 1e-2, 1e-4  # that one that is no worse is refused, or rolled back at one look
_SHOWN = ("loss", "alarms", "share_p05")


@dataclass(frozen=True, slots=True)
class LiveRules:
    """`shadow_steps`: live steps a challenger stands beside the champion, 0: none. `watch_steps`: newest live steps a champion
    is compared on with the version before it, 0: never."""

    shadow_steps: int
    watch_steps: int
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
        if model.challenger is not None:
            await self._shadow(builder, periods, model, model.challenger, model.champion)
        elif self._watched(model) and model.previous is not None:
            await self._watch(builder, periods, model.champion, model.previous)

    def _watched(self, model: ModelView) -> bool:
        """Whether the trainer itself made the champion what it is, and knows up to where it has learnt."""
        by_itself = model.alias is not None and model.alias.command_id is None
        known = model.champion is not None and model.champion.judged_to_ns is not None
        return self._rules.watch_steps > 0 and by_itself and known

    async def _shadow(
        self,
        builder: StepBlockBuilder,
        periods: TrainingPeriods,
        model: ModelView,
        challenger: ModelVersion,
        champion: ModelVersion,
    ) -> None:
        first = _first_live(challenger, builder)
        steps = max(self._rules.shadow_steps, 1)
        if not self._due(challenger, builder, first + steps, every=max(steps // 4, 1)):
            return
        verdict = await self._judge(builder, periods, challenger, champion, first, SHADOW_CHANCE)
        if verdict.outcome == "undecided":
            if builder.newest + 1 - first < PATIENCE * steps:
                log.info("shadow-goes-on", extra={"model": model.name, "version": challenger.version, "found": verdict.why})
                return
            verdict = Verdict("worse", f"{verdict.why} in {builder.newest + 1 - first} live steps", verdict.figures)
        stage = GateStage(name="shadow", passed=verdict.outcome == "no worse", why=verdict.why)
        figures = {
            f"shadow_{side}_{name}": verdict.figures.get(f"{side}_{name}")
            for side in ("candidate", "champion")
            for name in _SHOWN
        }
        figures |= {"shadow_steps": verdict.figures.get("steps"), "shadow_twin_steps": verdict.figures.get("twin_steps")}
        known = {name: value for name, value in figures.items() if value is not None and np.isfinite(value)}
        await self._releases.conclude(model.name, challenger.version, stage, known)

    async def _watch(
        self, builder: StepBlockBuilder, periods: TrainingPeriods, champion: ModelVersion, before: ModelVersion
    ) -> None:
        if champion.decision == "rolled-back":  # a trainer ended half-way through that
            stage = GateStage(name="live", passed=False, why="it was rolled back before")
            await self._releases.roll_back(builder.type.slug, champion.version, stage)
            return
        first = max(_first_live(champion, builder), builder.newest + 1 - self._rules.watch_steps)
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
    ) -> Verdict:
        block = builder.block(steps=builder.newest + 1 - first + CONTEXT_STEPS)
        if len(block.assets) > MOST_TWINS:
            by_hash = sorted(range(len(block.assets)), key=lambda row: (zlib.crc32(block.assets[row].encode()), row))
            block = only_twins(block, np.sort(np.array(by_hash[:MOST_TWINS], np.int64)))
        first_steps = np.full(len(block.assets), block.first_step, np.int64)
        found = await self._worker.judge(
            LiveJob(
                home=self._home,
                type=builder.type,
                block=block,
                exclude=periods.of_rows(block.assets, first_steps, block.steps, block.period_ns).mask,
                start=max(0, first - block.first_step),
                newer=_weights(newer),
                older=_weights(older),
                alarms_per_twin_day=self._rules.alarms_per_twin_day,
                chance=chance,
                threads=self._rules.threads,
            )
        )
        return found if isinstance(found, Verdict) else Verdict("undecided", found.why)


def _first_live(version: ModelVersion, builder: StepBlockBuilder) -> int:
    """Number of the first step that closed after the version's training; of one that does not tell, all there are count."""
    return (version.judged_to_ns or 0) // builder.type.period_ns


def _weights(version: ModelVersion) -> Weights:
    return Weights(version.version, version.uri, version.sha256)

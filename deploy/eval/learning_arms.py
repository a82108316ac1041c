"""Ways to keep a model over weeks of a fleet: never again, naively, and as livetwin does, alone or with people who answer alerts.

In:   a scenario and the first champions.
Out:  `Ledger`s: what an arm made of each step; its alerts; `VersionCourse`s: what became of its versions.

Scoring is the stream's own: version, risk, conditions, alerts. An update of ours is the trainer's: the newest steps without
periods under an alert or marked, `models.updating.update` with its gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deploy.eval.learning_scenario import Scenario
from models import version as version_file
from models.network import FREEDOM, student_nll
from models.port import Scores
from models.served import ServedModel
from models.training import train
from models.update import Update, UpdateFailed, UpdateJob, Weights
from models.updating import update
from models.weights import path_of
from models.windows import good_cells
from streams.alert_replay import AlertReplay
from streams.records import Alert
from streams.remembering import Remembering
from streams.scoring import Scored, Switches, TypeScorer
from streams.signals import signals
from streams.step_blocks import StepBlockBuilder
from streams.training_periods import TrainingPeriods
from twin.arena import Arena, ClosedSteps
from twin.block import StepBlock
from twin.stretches import Stretches
from twin.types import TwinType

FROZEN, NAIVE, OURS, ANSWERED = "frozen", "naive", "ours", "ours answered"
ARMS = (FROZEN, NAIVE, OURS, ANSWERED)
NAIVE_DAYS = 4  # what the naive arm learns from: the newest days, whatever they show
ANEW = 2.0  # as the trainer: the backbone is trained anew when there are this many times the steps it has seen
ANSWER_HOURS = 8  # after which somebody has marked an alert that no fault caused as a false alarm

Floats = NDArray[np.float32]
HOUR_NS = 3600 * 10**9


@dataclass(slots=True)
class Ledger:
    """What one version or another made of each step of one type: A twins × T steps."""

    loss: Floats  # see `losses`
    alarm: NDArray[np.bool_]

    @classmethod
    def of(cls, block: StepBlock) -> Ledger:
        shape = (len(block.assets), block.steps)
        return cls(np.full(shape, np.nan, np.float32), np.zeros(shape, np.bool_))


@dataclass(frozen=True, slots=True)
class VersionCourse:
    """One update of ours. `other`: what did not serve afterwards, the version before it or the one that was refused."""

    update: int  # position in the plan's updates
    type: str
    version: str
    promoted: bool
    other: Floats  # (A, T) loss of it, until the next update


class Arm:
    """The frozen arm, and what all have: scorers, alerts, what was made of each step."""

    def __init__(self, arenas: Mapping[str, Arena], scenario: Scenario) -> None:
        self.scenario = scenario
        self.scorers = {type_id: TypeScorer(arena) for type_id, arena in arenas.items()}
        self.ledgers = {type_id: Ledger.of(block) for type_id, block in scenario.blocks.items()}
        self.versions: list[VersionCourse] = []
        self.notes: list[str] = []
        self.replay = AlertReplay()

    def begin(self, kind: TwinType, first: Update, model: ServedModel, steps: int, offset: int) -> None:
        """The first champion of a type, trained on so many steps, serves from an offset on."""
        self._serve(kind.id, model, offset)

    def update(self, kind: TwinType, closed: StepBlockBuilder, number: int, offset: int) -> None:
        """Time for an update of a type. This arm makes none."""

    def alerts(self) -> list[Alert]:
        """Newest revisions of all alerts so far."""
        return self.replay.finished()

    def _serve(self, type_id: str, model: ServedModel, offset: int) -> None:
        self.scorers[type_id].switches.setdefault(0, Switches()).add(offset, model)

    def take(self, closed: ClosedSteps, assets: Sequence[str]) -> None:
        """Score closed steps, note what came of them, raise and clear alerts. `assets`: by arena row."""
        scorer, ledger = self.scorers[closed.type.id], self.ledgers[closed.type.id]
        scored = scorer.score(closed, explained=True)
        at = self._places(closed, assets)
        ledger.loss[at] = losses(closed, scored)
        ledger.alarm[at] = scored.alarm
        for signal in signals(scored, scored.transitions, scorer.conditions, assets):
            self.replay.take(signal)

    def _places(self, closed: ClosedSteps, assets: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        block = self.scenario.blocks[closed.type.id]
        row_of = {asset: row for row, asset in enumerate(block.assets)}
        return np.array([row_of.get(asset, -1) for asset in assets])[closed.row], closed.step - block.first_step


class NaiveArm(Arm):
    """Trains anew on the newest days, whatever they show, and always serves what came of it."""

    def __init__(self, arenas: Mapping[str, Arena], scenario: Scenario, rules: Rules, *, days: int = NAIVE_DAYS) -> None:
        super().__init__(arenas, scenario)
        self._rules, self._days = rules, days

    def update(self, kind: TwinType, closed: StepBlockBuilder, number: int, offset: int) -> None:
        block = closed.block()
        newest = block.between(max(0, block.steps - self._days * self.scenario.plan.steps_a_day), block.steps)
        trained = train(
            type=kind,
            block=newest,
            base=None,
            number=number + 2,
            alarms_per_twin_day=self._rules.alarms_per_twin_day,
            seed=self._rules.seed,
            threads=1,
            holdout=0,
        )
        self._serve(kind.id, trained.model, offset)


class OurArm(Arm):
    """Updates as the trainer makes them; `answered`: people mark each alert that no fault caused as a false alarm."""

    def __init__(
        self, arenas: Mapping[str, Arena], scenario: Scenario, rules: Rules, remembering: Remembering, *, answered: bool
    ) -> None:
        super().__init__(arenas, scenario)
        self._rules, self._remembering, self._answered = rules, remembering, answered
        self._champions: dict[str, Weights] = {}
        self._served: dict[str, ServedModel] = {}
        self._seen: dict[str, int] = {}  # steps that the champion's backbone was trained on
        self._others: dict[str, tuple[ServedModel, VersionCourse]] = {}
        self._periods = TrainingPeriods()

    def begin(self, kind: TwinType, first: Update, model: ServedModel, steps: int, offset: int) -> None:
        super().begin(kind, first, model, steps, offset)
        self._champions[kind.id] = Weights(first.version, first.uri, first.sha256)
        self._served[kind.id], self._seen[kind.id] = model, steps

    def update(self, kind: TwinType, closed: StepBlockBuilder, number: int, offset: int) -> None:
        block = closed.block()
        exclude = self.excluded(kind, block)
        remembered = self._remembering.before(kind, block.first_step, self._periods)
        self._others.pop(kind.id, None)
        found = update(
            self._rules.job(
                kind,
                block,
                exclude,
                champion=self._champions[kind.id],
                fine_tune=block.steps < ANEW * self._seen[kind.id],
                number=number + 2,
                old=None if remembered is None else remembered[0].without(remembered[1].mask),
            )
        )
        why = found.why
        self.notes.append(f"{kind.slug}, update {number + 1}, {exclude.mean():.1%} of steps left out: {why}")
        if isinstance(found, UpdateFailed):
            return
        model = load(found, kind)
        course = VersionCourse(number, kind.id, found.version, found.promote, Ledger.of(self.scenario.blocks[kind.id]).loss)
        self.versions.append(course)
        self._others[kind.id] = (self._served[kind.id] if found.promote else model, course)
        if found.promote:
            seen = self._seen[kind.id] if found.base is not None else block.steps
            self.begin(kind, found, model, seen, offset)

    def take(self, closed: ClosedSteps, assets: Sequence[str]) -> None:
        super().take(closed, assets)
        if closed.type.id in self._others:
            model, course = self._others[closed.type.id]
            rows = model.rows(assets)[closed.row]
            found = model.score(rows, *closed.windows.newest(np.arange(len(closed)), model.window), closed.time_ns)
            course.other[self._places(closed, assets)] = losses(closed, found)

    def excluded(self, kind: TwinType, block: StepBlock) -> NDArray[np.bool_]:
        """What the trainer leaves out, as alerts and labels stand at the end of the block."""
        now_ns = int(block.time_ns()[-1])
        for alert in self.alerts():
            answered = self._answered and now_ns - alert.onset_ns >= ANSWER_HOURS * HOUR_NS and not self._of_a_fault(alert, block)
            self._periods.alert(alert.id.encode(), alert.model_copy(update={"false_alarm": answered}).to_bytes())
        for event in self.scenario.announced:
            if event.time_ns <= now_ns:
                self._periods.event(event)
        return self._periods.left_out(block, since_ns=self._remembering.oldest_ns(kind)).mask

    def _of_a_fault(self, alert: Alert, block: StepBlock) -> bool:
        scenario = self.scenario
        onset = alert.onset_ns // block.period_ns - 1 - scenario.blocks[alert.type].first_step
        faults = (*scenario.faults, *scenario.slow)
        return any(fault.asset == alert.asset and fault.explains(onset, scenario.plan) for fault in faults)


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the trainer that all scenarios share."""

    home: Path  # where versions are written
    seed: int
    alarms_per_twin_day: float
    max_steps: int  # newest steps a twin that an update of ours may train on
    old_stretches: int  # that are remembered beside them

    def job(
        self,
        kind: TwinType,
        block: StepBlock,
        exclude: NDArray[np.bool_],
        *,
        champion: Weights | None,
        fine_tune: bool,
        number: int,
        old: Stretches | None = None,
    ) -> UpdateJob:
        return UpdateJob(
            home=self.home,
            type=kind,
            block=block,
            exclude=exclude,
            champion=champion,
            fine_tune=fine_tune,
            number=number,
            alarms_per_twin_day=self.alarms_per_twin_day,
            seed=self.seed,
            threads=1,
            old=old,
        )


def load(found: Update, kind: TwinType) -> ServedModel:
    return version_file.load(path_of(found.uri), expect_sha256=found.sha256, expect_contract=kind.contract, device="cpu")


def losses(closed: ClosedSteps, made: Scored | Scores) -> Floats:
    """Student-t negative log-likelihood of each closed step, nats; NaN where none was forecast.

    Mean over its good channels and two forecasts: made one step before it, and as many steps before as a version looks ahead.
    """
    total, counts = np.zeros(len(closed)), np.zeros(len(closed), np.int64)
    for expected, spread in ((made.expected, made.spread), (made.before, made.before_spread)):
        cells = good_cells(closed.values, closed.quality) & np.isfinite(expected) & (spread > 0)
        scale = np.where(cells, spread, 1.0) / np.sqrt(FREEDOM / (FREEDOM - 2))
        mean, seen = np.where(cells, expected, 0.0), np.where(cells, closed.values, 0.0)
        nll = student_nll(*(torch.from_numpy(np.asarray(one, np.float64)) for one in (mean, np.log(scale), seen))).numpy()
        total += (nll * cells).sum(axis=1)
        counts += cells.sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan).astype(np.float32)

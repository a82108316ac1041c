"""Trainer: when a trigger says so (`streams.triggers`), fine-tune on recent telemetry and what is remembered, and release.

In:   `telemetry` (replayed, see `streams.replaying`), `alerts`, `feedback`, `definitions`; commands and refusals on `models`.
Out:  weight files, runs in MLflow; versions and the alias on `models` (see `streams.releases`).

Three tasks share one event loop: rounds of training (the work itself is done in another process), commands, recording.
One type's failure is announced and stops no other; a broker that is away is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from aiokafka.errors import KafkaError

from models import hygiene
from models.power import PowerTerms
from models.registry import Registry
from models.update import LossName, UpdateFailed, UpdateJob
from models.weights import WeightFiles
from streams import clients
from streams.drift_watch import DriftWatch
from streams.lag import TRAINER, NotedPosition, group_of
from streams.live_rules import LiveSteps
from streams.live_watch import LiveRules, LiveWatch
from streams.model_records import ModelCommand
from streams.models_topic import Change, ModelsView, follow
from streams.release_choices import champion_weights, earlier_champions
from streams.releases import Releases
from streams.remembering import Remembering
from streams.replaying import Replay
from streams.run_recording import RunRecording
from streams.step_blocks import StepBlockBuilder
from streams.topics import Topics
from streams.training_worker import TrainingWorker
from streams.triggers import Trigger, TriggerRules, Triggers
from streams.update_choices import PRETRAINED, steps_seen, structure_trial
from streams.waiting import first_set, pause

log = logging.getLogger(__name__)

_POLL_S = 2.0
_LONGEST_WAIT_S = 30.0
_GRACE_S = 5.0
_ANEW = 2.0  # the backbone is trained anew when there are this many times the steps it has seen


@dataclass(frozen=True, slots=True)
class TrainingRules:
    """When and on how much a type is trained; see `deploy.settings.TrainerSettings`. `power` as `EnergySettings`."""

    triggers: TriggerRules
    max_steps: int
    old_stretches: int
    seed: int
    threads: int
    alarms_per_twin_day: float
    live: LiveSteps
    power: PowerTerms
    structure_every: int = 0
    loss: LossName = "student"


async def run_trainer(
    *,
    bootstrap: str,
    topics: Topics,
    home: Path,
    train_every_s: float,
    train_min_steps: int,
    train_max_steps: int,
    train_old_stretches: int = 1024,
    seed: int,
    threads: int,
    alarms_per_twin_day: float,
    stop: asyncio.Event,
    train_every_good_steps: int = 0,
    train_on_drift: bool = True,
    train_budget_cpu_s: float = 0.0,
    train_structure_every: int = 0,
    train_loss: LossName = "student",
    live: LiveSteps | None = None,
    power: PowerTerms | None = None,
) -> None:
    """Run until `stop`. Never raises for a broker that is away: it is waited for."""
    triggers = TriggerRules(train_every_s, train_min_steps, train_every_good_steps, train_on_drift, train_budget_cpu_s)
    live, power = live or LiveSteps(), power or PowerTerms()
    steps = train_max_steps, train_old_stretches
    rules = TrainingRules(triggers, *steps, seed, threads, alarms_per_twin_day, live, power, train_structure_every, train_loss)
    wait_s = 1.0
    while not stop.is_set():
        started = time.monotonic()
        try:
            await _run_once(bootstrap, topics, home, rules, stop)
        except* (KafkaError, ConnectionError) as group:
            if time.monotonic() - started > _LONGEST_WAIT_S:
                wait_s = 1.0
            log.warning("trainer-waits", extra={"found": repr(group.exceptions[0]), "retry_in_s": wait_s})
            await pause(stop, wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


async def _run_once(bootstrap: str, topics: Topics, home: Path, rules: TrainingRules, stop: asyncio.Event) -> None:
    view, caught_up, woken = ModelsView(), asyncio.Event(), asyncio.Event()

    def on_change(change: Change) -> None:
        if change.kind in ("command", "refusal", "alias"):
            woken.set()

    async with AsyncExitStack() as opened:
        producer = clients.producer(bootstrap, client_id="livetwin-trainer")
        opened.push_async_callback(producer.stop)
        await producer.start()
        noted = NotedPosition(bootstrap, topics.telemetry, group_of(topics, TRAINER), client_id="livetwin-trainer-position")
        opened.push_async_callback(noted.stop)
        await noted.start()
        remembering = Remembering(home / "replay", capacity=rules.old_stretches, seed=rules.seed)
        replay = await opened.enter_async_context(
            Replay(bootstrap, topics, max_steps=rules.max_steps, remembering=remembering, noted=noted)
        )
        remembering.load_periods(replay.periods)
        worker = TrainingWorker(rules.power)
        opened.push_async_callback(worker.close)
        releases = Releases(producer, topics, view, WeightFiles(home))
        recording = RunRecording(Registry(home), releases, view)
        trainer = Trainer(replay, remembering, worker, releases, view, home, rules, woken)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(bootstrap, topics, view, caught_up=caught_up, stop=over, on_change=on_change))
            await first_set(stop, caught_up)
            if not stop.is_set():
                recording.assume_recorded()
                await trainer.drop_outdated_commands()
                running = [tasks.create_task(job(stop)) for job in (trainer.train_rounds, trainer.follow_commands, recording.run)]
                await stop.wait()
                await worker.close()  # a round in the middle of training ends without a version
                await asyncio.wait(running, timeout=_GRACE_S)
                for task in running:
                    task.cancel()
            over.set()


class Trainer:
    """Rounds and commands over all types that were seen."""

    def __init__(
        self,
        replay: Replay,
        remembering: Remembering,
        worker: TrainingWorker,
        releases: Releases,
        view: ModelsView,
        home: Path,
        rules: TrainingRules,
        woken: asyncio.Event,
    ) -> None:
        self._replay, self._remembering, self._worker = replay, remembering, worker
        self._releases, self._view = releases, view
        self._home, self._rules, self._woken = home, rules, woken
        live = LiveRules(rules.live, rules.alarms_per_twin_day, rules.threads)
        self._live = LiveWatch(worker, releases, view, home, live)
        self._asked: dict[str, list[ModelCommand]] = {}  # model name → train by hand
        self._taken: set[str] = set()  # ids of commands that were asked
        self._triggers = Triggers(rules.triggers, now_s=time.time())
        self._drift = DriftWatch(worker, self._triggers, home, threads=rules.threads)

    # ── rounds ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def train_rounds(self, stop: asyncio.Event) -> None:
        """Look every other second whether a type is due, and train it."""
        self._triggers.go_on(version for model in self._view.models.values() for version in model.versions.values())
        while not stop.is_set():
            await self._replay.catch_up(stop)
            for builder in sorted(self._replay.builders.values(), key=self._first_and_small_first):
                if stop.is_set():
                    return
                await self._releases.share(builder.type, self._replay.definitions.types.values())
                await self._live.look(builder, self._replay.periods)
                if (trigger := self._due(builder)) is not None and not stop.is_set():
                    await self._round(builder, trigger, stop)
                elif self._rules.triggers.on_drift and (alias := self._view.alias(builder.type.slug)) is not None:
                    await self._drift.look(builder, champion_weights(alias))
                await asyncio.to_thread(self._remembering.keep, self._replay.periods, builder.newest, builder.type)
            for command in self._asked_of_nobody():
                await self._releases.refuse(command, "missing: it has no closed steps yet; nothing was trained")
            await pause(stop, _POLL_S)

    def _first_and_small_first(self, builder: StepBlockBuilder) -> tuple[bool, int, str]:
        """Twins without a model wait for the shortest training, not behind another type's next version."""
        return self._view.alias(builder.type.slug) is not None, builder.cells, builder.type.id

    def _due(self, builder: StepBlockBuilder) -> Trigger | None:
        name = builder.type.slug
        alias = self._view.alias(name)
        if alias is not None and alias.challenger is not None and name not in self._asked:
            return None  # it stands in the shadow
        model = self._view.get(name)
        announced_ns = max((version.time_ns for version in model.versions.values()), default=0) if model else 0
        return self._triggers.due(
            builder,
            asked=name in self._asked,
            has_model=self._view.alias(name) is not None,
            announced_s=announced_ns / 1e9,
            now_s=time.time(),
        )

    async def _round(self, builder: StepBlockBuilder, trigger: Trigger, stop: asyncio.Event) -> None:
        type, commands = builder.type, self._asked.pop(builder.type.slug, [])
        block, periods = builder.block(), self._replay.periods
        left_out = periods.left_out(block, since_ns=self._remembering.oldest_ns(type))
        hygiene_counts = hygiene.counts(block.values, block.quality, left_out)
        old = None
        if (remembered := self._remembering.before(type, block.first_step, periods)) is not None:
            old = remembered[0].without(remembered[1].mask)
            hygiene_counts |= hygiene.counts(remembered[0].values, remembered[0].quality, remembered[1], "hygiene_old")
        alias = self._view.alias(type.slug)
        model, number = self._view.get(type.slug), self._releases.next_number(type.slug)
        seen = steps_seen(model)
        fine_tune = alias is not None and block.steps < _ANEW * seen
        trial = structure_trial(model, number, every=self._rules.structure_every, budget=self._triggers.budget, now_s=time.time())
        self._triggers.began(builder, now_s=time.time())
        self._drift.answered(builder)
        told = {"twins": len(block.assets), "steps": block.steps, "excluded": int(left_out.mask.sum())}
        log.info("training", extra={"model": type.slug, "trigger": str(trigger), **told})
        found = await self._worker.run(
            UpdateJob(
                home=self._home,
                type=type,
                block=block,
                exclude=left_out.mask,
                champion=champion_weights(alias) if alias else None,
                fine_tune=fine_tune,
                number=number,
                alarms_per_twin_day=self._rules.alarms_per_twin_day,
                seed=self._rules.seed,
                threads=self._rules.threads,
                old=old,
                shadow=self._rules.live.shadow > 0,
                earlier=earlier_champions(model),
                labels=periods.labels(block.assets),
                trial=trial,
                loss=self._rules.loss,
            )
        )
        if stop.is_set():
            return
        if found.compute is not None:  # else the process died of it: nobody knows
            self._triggers.budget.spend(found.compute.cpu_s, now_s=time.time())
        found = replace(found, trigger=str(trigger))
        if isinstance(found, UpdateFailed):
            if found.early and not commands:
                log.info("training-waits", extra={"model": type.slug, "found": found.why})
            else:
                await self._releases.publish_failure(type, found)
        else:
            found.figures[PRETRAINED] = float(seen if found.base is not None else block.steps)
            found.figures.update(hygiene_counts)
            found.figures.update(self._triggers.budget_figure(now_s=time.time()))
            champion, shadow = alias.champion if alias else None, self._rules.live.shadow > 0
            await self._releases.publish(type, found, compared_with=champion, shadow=shadow)
        for command in commands:
            await self._releases.done(command)

    def _asked_of_nobody(self) -> list[ModelCommand]:
        known = {builder.type.slug for builder in self._replay.builders.values()}
        return [command for name in sorted(self._asked.keys() - known) for command in self._asked.pop(name)]

    # ── commands and refusals ───────────────────────────────────────────────────────────────────────────────────────

    async def drop_outdated_commands(self) -> None:
        """At the start: commands that the alias has answered, or that are older than it, were given to an earlier process."""
        for model in list(self._view.models.values()):
            for command in list(model.commands.values()):
                since_ns = model.alias.since_ns if model.alias else 0
                if command not in model.pending() or command.time_ns < since_ns:
                    log.info(
                        "command-outdated", extra={"model": model.name, "action": command.action, "command": command.command_id}
                    )
                    await self._releases.done(command)

    async def follow_commands(self, stop: asyncio.Event) -> None:
        """Carry out what people ask for, undo what processors refuse."""
        while not stop.is_set():
            self._woken.clear()
            for command in self._view.pending():
                if command.action != "train":
                    await self._releases.carry_out(command)
                elif command.command_id not in self._taken:
                    self._taken.add(command.command_id)
                    self._asked.setdefault(command.name, []).append(command)
            self._taken &= {command.command_id for command in self._view.pending()}
            for name in list(self._view.models):
                await self._releases.undo_refused(name)
            await first_set(stop, self._woken)

"""One scenario run with all arms: what sensors show goes through the stream's own folding once, then through each arm's scoring.

In:   a `Scenario`, the trainer's rules.
Out:  `Course`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from deploy.eval.learning_arms import ANSWERED, FROZEN, NAIVE, OURS, Arm, Ledger, NaiveArm, OurArm, Rules, VersionCourse, load
from deploy.eval.learning_scenario import Scenario
from models.served import ServedModel
from models.update import Update, UpdateFailed
from models.updating import update
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.records import Alert
from streams.remembering import Remembering
from streams.step_blocks import StepBlockBuilder
from twin.arena import ClosedSteps
from twin.block import StepBlock
from twin.errors import LivetwinError
from twin.types import TwinType


class EvaluationFailed(LivetwinError):
    """A scenario can't be run to its end."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a scenario was for each arm. Dicts by arm; ledgers also by type."""

    scenario: Scenario
    ledgers: Mapping[str, Mapping[str, Ledger]]
    undrifted: Mapping[str, Ledger]  # of the frozen arm, in the same weeks without the drift
    settled: Mapping[str, Ledger]  # after each update, of a model that has learnt all days of weeks that had the drift throughout
    alerts: Mapping[str, Sequence[Alert]]
    versions: Mapping[str, Sequence[VersionCourse]]
    notes: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class First:
    """The champion that all arms of a scenario begin with."""

    update: Update
    model: ServedModel
    steps: int


def run_scenario(scenario: Scenario, rules: Rules) -> Course:
    """Run all arms over a scenario.

    Raises:
        EvaluationFailed: the first days are too few for a first champion, or a reading was refused.
    """
    plan, log = scenario.plan, _Log(scenario, scenario.blocks)
    kinds = log.definitions.types
    remembering = Remembering(rules.home / "replay", capacity=rules.old_stretches, seed=rules.seed)
    arms: dict[str, Arm] = {
        FROZEN: Arm(log.arenas, scenario),
        NAIVE: NaiveArm(log.arenas, scenario, rules),
        OURS: OurArm(log.arenas, scenario, rules, remembering, answered=False),
        ANSWERED: OurArm(log.arenas, scenario, rules, remembering, answered=True),
    }
    builders = {type_id: StepBlockBuilder(kind, max_steps=rules.max_steps) for type_id, kind in kinds.items()}
    first: dict[str, First] = {}
    for start in range(0, plan.end, plan.steps_a_day):
        if start == plan.before.start:
            first = {type_id: _first(kind, builders[type_id].block(), rules) for type_id, kind in kinds.items()}
            for arm in arms.values():
                for type_id, one in first.items():
                    arm.begin(kinds[type_id], one.update, one.model, one.steps, log.offset)
        if start in plan.updates:
            for arm in arms.values():
                for type_id, kind in kinds.items():
                    arm.update(kind, builders[type_id], plan.updates.index(start), log.offset)
        for closed, assets in log.feed(start, start + plan.steps_a_day):
            names = [assets[row] for row in closed.row.tolist()]
            builders[closed.type.id].add(names, closed.step, closed.values, closed.quality)
            remembering.add(closed.type, names, closed.step, closed.values, closed.quality)
            for arm in arms.values() if first else ():
                arm.take(closed, assets)
    refused = [
        f"{one}: serves although the gate said: {found.update.why}" for one, found in first.items() if not found.update.promote
    ]
    return Course(
        scenario=scenario,
        ledgers={name: arm.ledgers for name, arm in arms.items()},
        undrifted={} if scenario.undrifted is None else _scored_alone(scenario, scenario.undrifted, first),
        settled={} if scenario.settled is None else _learnt_from_settled(scenario, scenario.settled, rules),
        alerts={name: arm.alerts() for name, arm in arms.items()},
        versions={name: arm.versions for name, arm in arms.items()},
        notes={name: arm.notes if name != FROZEN else refused for name, arm in arms.items()},
    )


_FIRST: dict[tuple[Path, str], Update] = {}  # scenarios that begin alike share the first champion


def _first(kind: TwinType, block: StepBlock, rules: Rules) -> First:
    nothing = np.zeros(block.values.shape[:2], np.bool_)
    what = orjson.dumps([kind.id, block.assets, rules.seed, rules.alarms_per_twin_day])
    key = rules.home, hashlib.sha256(what + block.values.tobytes()).hexdigest()
    if key not in _FIRST:
        found = update(rules.job(kind, block, nothing, champion=None, fine_tune=False, number=1))
        if isinstance(found, UpdateFailed):
            raise EvaluationFailed(f"no first champion of {kind.slug}: {found.why}; nothing was evaluated")
        _FIRST[key] = found
    return First(_FIRST[key], load(_FIRST[key], kind), block.steps)


def _scored_alone(scenario: Scenario, blocks: Mapping[str, StepBlock], first: Mapping[str, First]) -> dict[str, Ledger]:
    """What the frozen arm makes of other weeks."""
    log = _Log(scenario, blocks)
    arm = Arm(log.arenas, scenario)
    for start in range(0, scenario.plan.end, scenario.plan.steps_a_day):
        if start == scenario.plan.before.start:
            for type_id, one in first.items():
                arm.begin(log.definitions.types[type_id], one.update, one.model, one.steps, log.offset)
        for closed, assets in log.feed(start, start + scenario.plan.steps_a_day):
            if start >= scenario.plan.before.start:
                arm.take(closed, assets)
    return arm.ledgers


def _learnt_from_settled(scenario: Scenario, blocks: Mapping[str, StepBlock], rules: Rules) -> dict[str, Ledger]:
    """What a model makes of weeks that had the drift from the beginning, trained anew on all of them at each update."""
    log, plan = _Log(scenario, blocks), scenario.plan
    arm = NaiveArm(log.arenas, scenario, rules, days=plan.end // plan.steps_a_day)
    builders = {type_id: StepBlockBuilder(kind, max_steps=plan.end) for type_id, kind in log.definitions.types.items()}
    for start in range(0, plan.drifted_until, plan.steps_a_day):
        if start in plan.updates:
            for type_id, kind in log.definitions.types.items():
                arm.update(kind, builders[type_id], plan.updates.index(start), log.offset)
        for closed, assets in log.feed(start, start + plan.steps_a_day):
            names = [assets[row] for row in closed.row.tolist()]
            builders[closed.type.id].add(names, closed.step, closed.values, closed.quality)
            if start >= plan.updates[0]:
                arm.take(closed, assets)
    return arm.ledgers


class _Log:
    """Readings as records of telemetry, folded: a record a twin and day."""

    def __init__(self, scenario: Scenario, blocks: Mapping[str, StepBlock]) -> None:
        self.definitions = Definitions()
        for interface in scenario.interfaces:
            self.definitions.apply(f"type/{interface['@id']}".encode(), orjson.dumps(interface))
        for twin in scenario.declarations:
            self.definitions.apply(f"twin/{twin.asset}".encode(), twin.model_dump_json().encode())
        self._blocks = blocks
        self._folder = Folder(self.definitions)
        self.arenas = {kind.id: self._folder.arena(kind) for kind in self.definitions.types.values()}
        self.offset = 0

    def feed(self, start: int, stop: int) -> Iterator[tuple[ClosedSteps, list[str]]]:
        """Fold what the sensors show in steps [start, stop); closed steps, and the assets by arena row."""
        records = list(self._records(start, stop))
        folded = self._folder.fold(records)
        if folded.refused:
            raise EvaluationFailed(f"{len(folded.refused)} readings refused, the first: {folded.refused[0]}; expected none")
        for closed in folded.closed:
            yield closed, [asset or "" for asset in self.arenas[closed.type.id].asset_of]

    def _records(self, start: int, stop: int) -> Iterator[PlainRecord]:
        for block in self._blocks.values():
            times = ((np.arange(start, stop) + block.first_step) * block.period_ns).tolist()
            for asset, values in zip(block.assets, block.values[:, start:stop], strict=True):
                columns = {name: values[:, at].astype(float).tolist() for at, name in enumerate(block.channels)}
                value = orjson.dumps({"asset": asset, "time": times, **columns})
                yield PlainRecord("eval", 0, self.offset, times[-1] // 1_000_000, asset.encode(), value)
                self.offset += 1

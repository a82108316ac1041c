"""A season of a plant through the stream's own code: decode, fold, close, score, risk, conditions, signals; and what came of it.

In:   a `Season`; the version of each type, and where another takes over.
Out:  `Watched`: alerts with their evidence, who fell silent, score and quality of every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.eval.water_faults import Fault
from models.port import Served
from streams.conditions import Conditions, Transition
from streams.definitions import Definitions
from streams.folded import joined
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.scoring import Scored, Switches, TypeScorer
from streams.signals import signal
from streams.step_blocks import StepBlockBuilder
from twin.arena import ClosedSteps
from twin.block import StepBlock
from twin.types import TwinType

HOURS_AT_ONCE = 12  # scored in one call: batch boundaries change nothing, larger ones take less time
HOUR_NS, DAY_NS = 3600 * 10**9, 86_400 * 10**9


class Season(Protocol):
    """Some time of a plant, with faults or without."""

    @property
    def definitions(self) -> Definitions: ...

    @property
    def layout(self) -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Type → assets, channels."""
        ...

    @property
    def first_step(self) -> int: ...

    @property
    def faults(self) -> Sequence[Fault]: ...

    def hours(self) -> Iterator[list[PlainRecord]]:
        """Records of each hour in log order, one partition; hours without any record are passed over."""
        ...


@dataclass(slots=True)
class SeenAlert:
    """One alert. `top` is the first channel of its evidence as it was raised, `later` the same after an hour."""

    asset: str
    type: str
    condition: str
    step: int
    surprise: float
    top: str
    later: str
    deviation: float


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one type's twins got, (A, T): 0 and False where nothing closed."""

    assets: tuple[str, ...]
    score: NDArray[np.float32]
    marked: NDArray[np.bool_]  # a channel is not of good quality
    alarm: NDArray[np.bool_]  # the model's


@dataclass(frozen=True, slots=True)
class Watched:
    """What the stream made of a season; steps are counted since 1970, arrays begin at `first_step`."""

    first_step: int
    steps: int
    day: int  # steps
    by_type: dict[str, StepFigures]
    alerts: list[SeenAlert]
    silent: list[tuple[str, int]]  # asset, the step by which it was known
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Closed steps of one call: row in the layout, step, and what `StepFigures` holds; (N,) each."""

    row: NDArray[np.int64]
    step: NDArray[np.int64]
    score: NDArray[np.float32]
    marked: NDArray[np.bool_]
    alarm: NDArray[np.bool_]


class Watch:
    """Folds and scores a season as a processor does that owns all of its twins.

    Args:
        versions: the version of each type from the beginning; types without one are still learning.
        kept_steps: how many of the newest closed steps are kept to train on.
    """

    def __init__(self, season: Season, versions: Mapping[str, Served], *, kept_steps: int = 0) -> None:
        self.season = season
        self._source = season.hours()
        self._folder = Folder(season.definitions)
        self._scorers: dict[str, TypeScorer] = {}
        self._kept: dict[str, StepBlockBuilder] = {}
        self._pieces: dict[str, list[_Piece]] = {}
        self._alerts: list[SeenAlert] = []
        self._first_hour: dict[tuple[str, str], SeenAlert] = {}
        self._silent: list[tuple[str, int]] = []
        self._offset = 0
        self._row_of = {kind: {asset: row for row, asset in enumerate(assets)} for kind, (assets, _) in season.layout.items()}
        for type_id in season.layout:
            arena = self._folder.arena(self._folder.definitions.types[type_id])
            self._scorers[type_id] = TypeScorer(arena)
            self._scorers[type_id].switches[0] = Switches()
            self._pieces[type_id] = []
            if kept_steps:
                self._kept[type_id] = StepBlockBuilder(arena.type, max_steps=kept_steps)
        for type_id, version in versions.items():
            self.switch(type_id, version)

    def switch(self, type_id: str, version: Served) -> None:
        """From the next record on this version scores."""
        self._scorers[type_id].switches[0].add(self._offset, version)

    def type_of(self, type_id: str) -> TwinType:
        return self._folder.definitions.types[type_id]

    def kept(self, type_id: str) -> StepBlock:
        return self._kept[type_id].block()

    def run(self, hours: int | None = None) -> None:
        """Go on for some hours; None: to the end of the season."""
        collected: dict[str, list[ClosedSteps]] = {}
        for done, records in enumerate(islice(self._source, hours), 1):
            self._offset = records[-1].offset + 1
            for closed in self._folder.fold(records).closed:
                arena, period_ns = self._folder.arenas[closed.type.id], closed.type.period_ns
                self._silent += [(arena.asset_of[fall.row] or "", fall.known_ns // period_ns - 1) for fall in closed.falls]
                collected.setdefault(closed.type.id, []).append(closed)
            if done % HOURS_AT_ONCE == 0:
                self._score(collected)
        self._score(collected)

    def result(self) -> Watched:
        """Of all that has run."""
        first = self.season.first_step
        steps = max(int(piece.step.max()) for pieces in self._pieces.values() for piece in pieces) - first + 1
        by_type = {}
        for type_id, (assets, _) in self.season.layout.items():
            shape = (len(assets), steps)
            found = StepFigures(assets, np.zeros(shape, np.float32), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_))
            for piece in self._pieces[type_id]:
                at = piece.row, piece.step - first
                found.score[at], found.marked[at], found.alarm[at] = piece.score, piece.marked, piece.alarm
            by_type[type_id] = found
        period_ns = max(self.type_of(type_id).period_ns for type_id in by_type)
        return Watched(first, steps, DAY_NS // period_ns, by_type, self._alerts, self._silent, self.season.faults)

    def _score(self, collected: dict[str, list[ClosedSteps]]) -> None:
        for type_id, rounds in collected.items():
            (closed,) = joined(rounds)
            scorer = self._scorers[type_id]
            assets = [asset or "" for asset in scorer.arena.asset_of]
            scored = scorer.score(closed)
            if type_id in self._kept:
                self._kept[type_id].add([assets[row] for row in closed.row.tolist()], closed.step, closed.values, closed.quality)
            for transition in scored.transitions:
                if transition.kind != "clear":
                    self._note(type_id, scored, transition, scorer.conditions, assets)
            row = np.array([self._row_of[type_id].get(asset, -1) for asset in assets])[closed.row]
            marked = (closed.quality != 0).any(axis=1)
            self._pieces[type_id].append(_Piece(row, closed.step, scored.score, marked, scored.alarm))
        collected.clear()

    def _note(self, type_id: str, scored: Scored, transition: Transition, conditions: Conditions, assets: list[str]) -> None:
        """A raise is an alert; what its condition says within an hour may replace its evidence, as it does in alerting."""
        fall = transition.fall
        if fall is None:
            step, row = int(scored.closed.step[transition.index]), int(scored.closed.row[transition.index])
        else:
            step, row = fall.known_ns // self.type_of(type_id).period_ns - 1, fall.row
        key = assets[row], conditions.names[transition.condition]
        known = self._first_hour.get(key)
        hour = HOUR_NS // self.type_of(type_id).period_ns
        if transition.kind == "keep" and (known is None or step - known.step > hour):
            return
        told = signal(scored, transition, conditions, assets)
        top = told.evidence.channels[0].name
        if transition.kind == "raise" or known is None:
            surprise = float(scored.score[transition.index]) if fall is None else 0.0
            alert = SeenAlert(key[0], type_id, key[1], step, surprise, top, top, told.evidence.deviation)
            self._first_hour[key] = alert
            self._alerts.append(alert)
        elif told.evidence.deviation > known.deviation:
            known.later, known.deviation = top, told.evidence.deviation

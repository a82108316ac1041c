"""A condition that a twin's type no longer has: its alert clears once, at the same step, restarted or not."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
import pytest

from models.served import ServedModel
from streams.alert_records import condition_signal
from streams.checkpoint import export_twin, read_twin, restore_twin
from streams.definitions import Definitions
from streams.folded import Moved
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.records import Signal
from streams.scoring import Switches, TypeScorer
from streams.signals import signal
from streams.terms import Term, Terms
from tests.streams.plant import INTERFACE, START, TYPE, readings, trained
from twin.alert_state import AlertState, AssetAlerts, fold_signal
from twin.arena import Arena

STEPS, HIGH, CHANGED = 120, 60, 90  # in all; from where on flow is over its limit; from where on the type has no limit
LIMIT = "limit:flow:high"


def revision(number: int, *, limit: float | None, channels: tuple[str, ...] = ("flow", "heat")) -> dict[str, Any]:
    contents = [{"@type": "Telemetry", "name": name, "schema": "double"} for name in channels]
    if limit is not None:
        contents[0] |= {"highLimit": limit}
    return {**INTERFACE, "@id": f"{TYPE.id[:-1]}{number}", "contents": contents}


def definitions(after: dict[str, Any]) -> Definitions:
    before, view = revision(2, limit=30.0), Definitions()
    for interface in (before, after):
        assert view.apply(f"type/{interface['@id']}".encode(), orjson.dumps(interface))
    view.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": after["@id"]}))
    terms = Terms().change("p1", 1, Term(offset=0, type=before["@id"]), Term(offset=CHANGED, type=after["@id"]))
    assert view.apply(*terms)
    return view


class Run:
    """Folds and scores as a processor does."""

    def __init__(self, view: Definitions) -> None:
        self.view, self.folder, self.scorers = view, Folder(view), dict[str, TypeScorer]()
        self.signals: list[Signal] = []

    def scorer(self, arena: Arena) -> TypeScorer:
        if arena.type.id not in self.scorers:
            found = self.scorers[arena.type.id] = TypeScorer(arena)
            found.switches[0] = Switches()
            if arena.type.contract == TYPE.contract:
                found.switches[0].add(0, version())
        return self.scorers[arena.type.id]

    def fold(self, records: list[PlainRecord]) -> None:
        folded = self.folder.fold(records)
        for closed in folded.in_order():
            if isinstance(closed, Moved):
                self.scorer(closed.after).take_over(closed.new_row, self.scorer(closed.before), closed.row)
                continue
            arena = self.folder.arenas[closed.type.id]
            scorer = self.scorer(arena)
            scored = scorer.score(closed)
            self.signals += [
                signal(scored, one, scorer.conditions, [asset or "" for asset in arena.asset_of]) for one in scored.transitions
            ]

    def restarted(self) -> Run:
        """Another process, from this one's checkpoint."""
        place = self.folder.on_terms("p1")
        assert place is not None
        saved = read_twin(export_twin(place.arena, self.scorer(place.arena), place.row))
        other = Run(self.view)
        kind = self.view.types[saved.type]
        row, scorer = other.folder.place("p1", kind, 0), other.scorer(other.folder.arena(kind))
        restore_twin(saved, scorer.arena, scorer, row)
        other.folder.resume("p1", int(scorer.arena.next_offset[row]), saved.units)
        other.signals = self.signals
        return other


@cache
def version() -> ServedModel:
    return trained()


def telemetry(channels: tuple[str, ...] = ("flow", "heat")) -> list[PlainRecord]:
    values = readings(STEPS, faults=False)[1]
    values[HIGH:, 0] += 40
    return [
        PlainRecord(
            "telemetry", 0, step, START * 1000, None,
            orjson.dumps({"asset": "p1", "time": START + step, **dict(zip(channels, map(float, values[step]), strict=False))}),
        )
        for step in range(STEPS)
    ]  # fmt: skip


def alerts(signals: list[Signal]) -> list[AlertState]:
    asset, shown = AssetAlerts(), list[AlertState]()
    for one in signals:
        folded = fold_signal(asset, condition_signal(one))
        asset, shown = folded.asset, shown + list(folded.changed)
    return [one for one in shown if one.condition == LIMIT]


@pytest.mark.parametrize("stopped_at", [None, 70, CHANGED, CHANGED + 3, CHANGED + 6, 110])
def test_a_limit_that_is_taken_away_while_it_is_on_clears_once_whatever_restarts(stopped_at: int | None) -> None:
    after = revision(3, limit=None)
    run = Run(definitions(after))
    for record in telemetry():
        if record.offset == stopped_at:
            run = run.restarted()
        run.fold([record])
    whole = Run(definitions(after))
    whole.fold(telemetry())
    assert [one.to_bytes() for one in run.signals] == [one.to_bytes() for one in whole.signals]
    *opened, cleared = alerts(run.signals)
    assert all(one.active and one.id == cleared.id for one in opened)
    assert not cleared.active
    assert [line.text for line in cleared.comments] == [f"cleared: {after['@id']} does not have this condition"]
    # the off-delay after the last step on which it was on: lateness holds the steps before the change back
    assert (
        cleared.cleared_ns == max(one.time_ns for one in run.signals if one.kind == "keep" and one.condition == LIMIT) + 5 * 10**9
    )


def test_a_condition_of_a_channel_that_is_gone_clears_too() -> None:
    run = Run(definitions(revision(3, limit=None, channels=("heat",))))
    run.fold(telemetry())
    found = alerts(run.signals)
    assert [one.active for one in found] == [True] * (len(found) - 1) + [False]
    assert len(found[-1].comments) == 1
    last = [one for one in run.signals if one.condition == LIMIT][-1]
    assert (last.kind, last.evidence.channels) == ("clear", [])


def test_a_limit_that_the_next_revision_has_too_goes_on() -> None:
    run = Run(definitions(revision(3, limit=31.0)))
    run.fold(telemetry())
    assert {one.active for one in alerts(run.signals)} == {True}
    assert all(one.why is None for one in run.signals)

"""Twins whose types change while telemetry flows: the change is in the log; whoever folds again changes at the same place."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.changing import ENOUGH_NUMBERS, Changing
from streams.definitions import Definitions
from streams.folding import Folder
from streams.homes import Homes
from streams.log_record import PlainRecord
from streams.micro_batch import Reached
from streams.owned import Owned
from streams.terms import Term, Terms

START = 1_700_000_000
Cells = dict[tuple[str, int], dict[str, float]]


def record(offset: int, value: dict[str, Any]) -> PlainRecord:
    return PlainRecord("telemetry", 0, offset, START * 1000, None, orjson.dumps(value))


def interface(version: int, *channels: dict[str, Any], of: str = "plant:Pump", period: str = "PT1S") -> dict[str, Any]:
    contents = [{"@type": "Telemetry", "schema": "double", **channel} for channel in channels]
    return {
        "@id": f"dtmi:{of};{version}", "@type": "Interface", "samplingPeriod": period, "lateness": "PT0S", "maxAhead": None,
        "contents": contents,
    }  # fmt: skip


class Log:
    """`definitions` as an owner writes and others read it."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.view = Definitions()

    def put(self, key: str, value: Any) -> None:
        self.records.append((key.encode(), orjson.dumps(value)))
        self.view.apply(*self.records[-1])

    def declare(self, asset: str, document: dict[str, Any], **more: Any) -> None:
        self.put(f"type/{document['@id']}", document)
        self.put(f"twin/{asset}", {"asset": asset, "type": document["@id"], **more})

    def compacted(self) -> Definitions:
        """The view of someone who comes later: only the newest record of each key is left."""
        newest = {key: position for position, (key, _) in enumerate(self.records)}
        view = Definitions()
        for position, (key, value) in enumerate(self.records):
            if newest[key] == position:
                view.apply(key, value)
        return view


def owned_from(position: int) -> Owned:
    reached = Reached(position, position)
    return Owned(position=position, silent_until=0, epoch=1, begin=0, mark=0, settled_until=0, scored=reached)


class Owner:
    """Folds as a processor does; keeps what it closed."""

    def __init__(self, log: Log, view: Definitions) -> None:
        self.log = log
        self.folder = Folder(view, claims=True)
        self.changing = Changing(view, self.folder)
        self.closed: dict[tuple[str, str, int], tuple[bytes, ...]] = {}
        self.refused: list[tuple[int, str]] = []
        self.next = 0

    def fold(self, records: list[PlainRecord], *, decide: bool) -> None:
        folded = self.folder.fold(records)
        self.log.records += folded.definitions
        for steps in folded.closed:
            arena, windows = self.folder.arenas[steps.type.id], steps.windows.values
            for i in range(len(steps)):
                key = (str(arena.asset_of[int(steps.row[i])]), steps.type.id, int(steps.step[i]))
                assert key not in self.closed
                self.closed[key] = (steps.values[i].tobytes(), steps.quality[i].tobytes(), windows[i].tobytes())
        self.refused += [(one.record.offset, one.reason) for one in folded.refused]
        self.next = max([self.next, *(one.offset + 1 for one in records)])
        if decide:
            self.log.records += self.changing.decide(folded.strange, folded.strange_units, {0: owned_from(self.next)})
        else:
            assert not self.folder.definitions.redeclared or decide is False


def readings(count: int, *, start: int = 0, **channels: float) -> list[PlainRecord]:
    return [
        record(start + i, {"asset": "p1", "time": START + start + i, **{name: value + i for name, value in channels.items()}})
        for i in range(count)
    ]


def claimed(log: Log, *assets: str) -> Log:
    for asset in assets:
        key, value = Homes.claim(asset, 0)
        log.records.append((key, value))
        log.view.apply(key, value)
    return log


def again(log: Log, records: list[PlainRecord], cuts: list[int]) -> Owner:
    """Fold all again from a compacted log, in batches of other sizes, deciding nothing."""
    owner = Owner(log, log.compacted())
    bounds = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(bounds):
        owner.fold(records[begin:end], decide=False)
    return owner


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=8), st.integers(5, 60))
def test_a_twin_declared_anew_moves_with_its_window_at_an_offset_that_is_in_the_log(cuts: list[int], changed_at: int) -> None:
    log = claimed(Log(), "p1")
    log.declare("p1", interface(1, {"name": "flow"}))
    owner = Owner(log, log.view)
    records = readings(changed_at, flow=1.0) + readings(60, start=changed_at, flow=5.0, heat=9.0)
    owner.fold(records[:changed_at], decide=True)
    log.declare("p1", interface(2, {"name": "flow"}, {"name": "heat"}))
    for one in records[changed_at:]:
        owner.fold([one], decide=True)
    (place,) = [place for place in [owner.folder.on_terms("p1")] if place]
    assert place.arena.type.id == "dtmi:plant:Pump;2"
    by_type = Counter(kind for _, kind, _ in owner.closed)
    assert set(by_type) == {"dtmi:plant:Pump;1", "dtmi:plant:Pump;2"}
    steps = sorted(step for _, _, step in owner.closed)
    assert steps == list(range(START, START + changed_at + 59))  # none lost, none twice
    first = min(step for _, kind, step in owner.closed if kind.endswith("2"))
    window = np.frombuffer(owner.closed["p1", "dtmi:plant:Pump;2", first][2], np.float32).reshape(-1, 2)
    filled = min(changed_at, 63)
    assert not np.isnan(window[-1 - filled : -1, 0]).any()  # what the twin was before it moved
    assert again(log, records, cuts).closed == owner.closed


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=8))
def test_a_new_channel_of_an_inferred_type_comes_by_itself(cuts: list[int]) -> None:
    log = claimed(Log(), "p1")
    log.declare("p1", interface(1, {"name": "flow"}, of="livetwin:inferred:Pump"))
    owner = Owner(log, log.view)
    records = readings(40, flow=1.0) + readings(60, start=40, flow=5.0, heat=9.0)
    for one in records:
        owner.fold([one], decide=True)
    place = owner.folder.on_terms("p1")
    assert place is not None
    assert place.arena.type.channel_names == ("flow", "heat")
    assert place.arena.type.id.startswith("dtmi:livetwin:inferred:Pump:R")
    assert place.arena.type.id.endswith(";2")
    assert [reason for _, reason in owner.refused] == ["unknown-channel"] * ENOUGH_NUMBERS
    later = again(log, records, cuts)
    assert later.closed == owner.closed
    assert later.refused == owner.refused


def test_a_new_channel_of_a_declared_type_stays_refused() -> None:
    log = claimed(Log(), "p1")
    log.declare("p1", interface(1, {"name": "flow"}))
    owner = Owner(log, log.view)
    owner.fold(readings(30, flow=1.0, heat=9.0), decide=True)
    assert len(owner.refused) == 30
    assert owner.folder.on_terms("p1").arena.type.id == "dtmi:plant:Pump;1"  # type: ignore[union-attr]


def test_a_source_that_names_a_channel_anew_each_time_does_not_grow_its_type() -> None:
    log = claimed(Log(), "p1")
    log.declare("p1", interface(1, {"name": "flow"}, of="livetwin:inferred:Pump"))
    owner = Owner(log, log.view)
    for i in range(60):
        owner.fold([record(i, {"asset": "p1", "time": START + i, "flow": 1.0, f"c{i}": 2.0})], decide=True)
    assert len(log.view.types) == 1
    assert len(owner.refused) == 60


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=8))
def test_units_declared_anew_hold_from_an_offset_that_is_in_the_log(cuts: list[int]) -> None:
    log = claimed(Log(), "p1")
    log.declare("p1", interface(1, {"name": "temp", "unit": "degreeCelsius"}))
    owner = Owner(log, log.view)
    records = [record(i, {"asset": "p1", "time": START + i, "temp": 20.0 if i <= 30 else 68.0}) for i in range(61)]
    owner.fold(records[:30], decide=True)
    log.put("twin/p1", {"asset": "p1", "type": "dtmi:plant:Pump;1", "units": {"temp": "degreeFahrenheit"}})
    owner.fold(records[30:31], decide=True)
    owner.fold(records[31:], decide=True)
    found = {step: np.frombuffer(values, np.float32)[0] for (_, _, step), (values, _, _) in owner.closed.items()}
    assert len(found) == 60
    np.testing.assert_allclose(list(found.values()), 20.0, rtol=1e-6)
    assert again(log, records, cuts).closed == owner.closed


def test_a_twin_whose_period_changes_closes_what_it_has_and_begins_anew() -> None:
    log = claimed(Log(), "p1")
    log.declare("p1", interface(1, {"name": "flow"}))
    owner = Owner(log, log.view)
    records = readings(80, flow=1.0)
    owner.fold(records[:40], decide=True)
    log.declare("p1", interface(2, {"name": "flow"}, period="PT5S"))
    owner.fold(records[40:41], decide=True)
    owner.fold(records[41:], decide=True)
    old = [step for _, kind, step in owner.closed if kind.endswith("1")]
    new = [step for _, kind, step in owner.closed if kind.endswith("2")]
    assert sorted(old) == list(range(START, START + 41))  # the last one too
    assert min(new) == (START + 41) // 5
    assert again(log, records, [10, 55]).closed == owner.closed


def test_terms_of_an_older_epoch_change_nothing() -> None:
    terms = Terms()
    first = Term(offset=0, type="dtmi:a;1", units={})
    owner = terms.change("p1", 6, first, Term(offset=50, type="dtmi:a;2", units={}))
    zombie = terms.change("p1", 5, first, Term(offset=30, type="dtmi:a;2", units={}))
    for records in ([owner, zombie], [zombie, owner]):
        view = Terms()
        for key, value in records:
            view.apply(key.decode(), value)
        assert [term.offset for term in view.of("p1")] == [0, 50]


@pytest.mark.parametrize("offset", [0, 49, 50, 51])
def test_terms_hold_from_their_offset_on(offset: int) -> None:
    terms = Terms()
    key, value = terms.change("p1", 1, Term(offset=0, type="dtmi:a;1"), Term(offset=50, type="dtmi:a;2"))
    terms.apply(key.decode(), value)
    term, until = terms.at("p1", offset)
    assert term is not None
    assert (term.type, until > 50) == (("dtmi:a;1", False) if offset < 50 else ("dtmi:a;2", True))

"""A twin that its partition has moved on without: its state says so, one alert tells it, and its return clears that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.alert_records import condition_signal
from streams.checkpoint import export_twin, read_twin, restore_twin
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.records import Signal, TwinState
from streams.scoring import Switches, TypeScorer
from streams.signals import signal
from tests.streams.plant import INTERFACE, START, TYPE, readings
from tests.streams.test_conditions import version
from tests.streams.test_partitions_overlap import Owner
from twin.alert_state import AlertState, AssetAlerts, fold_signal
from twin.types import compile_type

TWINS = ("p0", "p2", "p4")
STOPS, BACK, STEPS = 50, 90, 120  # of p4
AFTER, OFF_DELAY = 12, 5  # steps: twice what gaps are filled for; the type's off-delay


def telemetry(*silent: range, steps: int = STEPS) -> list[PlainRecord]:
    """`silent`: steps without a record of p4."""
    values, sent = readings(steps, faults=False), []
    for step in range(steps):
        for twin in TWINS:
            if twin != "p4" or not any(step in stretch for stretch in silent or [range(STOPS, BACK)]):
                flow, heat = map(float, values[int(twin[1]), step])
                sent.append(orjson.dumps({"asset": twin, "time": START + step, "flow": flow, "heat": heat}))
    return [PlainRecord("t", 0, offset, START * 1000, None, value) for offset, value in enumerate(sent)]


class Run:
    """Folds and scores as a processor does."""

    def __init__(self, *, silent_after: str | None = "", served: bool = True) -> None:
        interface = INTERFACE if silent_after == "" else {**INTERFACE, "silentAfter": silent_after}
        self.view, self.signals = Definitions(), list[Signal]()
        assert self.view.apply(f"type/{TYPE.id}".encode(), orjson.dumps(interface))
        for twin in TWINS:
            self.view.apply(f"twin/{twin}".encode(), orjson.dumps({"asset": twin, "type": TYPE.id}))
        self.folder = Folder(self.view)
        self.arena = self.folder.arena(self.view.types[TYPE.id])
        self.scorer = TypeScorer(self.arena)
        self.scorer.switches[0] = Switches()
        if served:
            self.scorer.switches[0].add(0, version())

    def fold(self, records: list[PlainRecord]) -> None:
        for closed in self.folder.fold(records).closed:
            scored = self.scorer.score(closed)
            names = [asset or "" for asset in self.arena.asset_of]
            self.signals += [signal(scored, one, self.scorer.conditions, names) for one in scored.transitions]

    def saved(self, twin: str) -> bytes:
        return export_twin(self.arena, self.scorer, self.arena.row_of[twin])

    def restore(self, saved: bytes) -> None:
        twin = read_twin(saved)
        row = self.folder.place(twin.asset, self.arena.type, 0)
        restore_twin(twin, self.arena, self.scorer, row)
        self.folder.resume(twin.asset, int(self.arena.next_offset[row]), twin.units)


def silences(signals: list[Signal]) -> list[Signal]:
    return [one for one in signals if one.condition == "silent"]


def alerts(signals: list[Signal]) -> list[AlertState]:
    """Of p4, as subscribers see them."""
    asset, shown = AssetAlerts(), list[AlertState]()
    for one in signals:
        if one.asset == "p4":
            folded = fold_signal(asset, condition_signal(one))
            asset, shown = folded.asset, shown + list(folded.changed)
    return [one for one in shown if one.condition == "silent"]


def folded(size: int = 1000, **settings: Any) -> Run:
    run, records = Run(**settings), telemetry()
    for start in range(0, len(records), size):
        run.fold(records[start : start + size])
    return run


def test_a_twin_that_stops_raises_one_alert_which_its_return_clears() -> None:
    run = folded()
    assert {one.asset for one in silences(run.signals)} == {"p4"}
    opened, cleared = alerts(run.signals)
    assert (opened.onset_ns, opened.severity) == ((START + STOPS + AFTER) * 10**9, "major")
    assert (cleared.id, cleared.active, cleared.cleared_ns) == (opened.id, False, (START + BACK + 1) * 10**9)
    assert opened.evidence["summary"] == "nothing has come for 12 s, while others of its type went on"
    assert [(one["name"], one["seen"]) for one in opened.evidence["channels"]] == [("flow", None), ("heat", None)]
    own = [one.offset for one in telemetry() if b'"p4"' in (one.value or b"")]
    assert opened.evidence["last_offset"] == own[STOPS - 1]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_batches_change_nothing_of_what_is_told(size: int) -> None:
    whole = [one.to_bytes() for one in folded().signals if one.asset == "p4"]
    assert [one.to_bytes() for one in folded(size).signals if one.asset == "p4"] == whole


@pytest.mark.parametrize("first", [130, 150, 170, 200])
@pytest.mark.parametrize("later", [0, 5, 20, 60])
def test_a_new_owner_whose_twins_were_saved_at_different_moments_tells_the_same(first: int, later: int) -> None:
    records, whole = telemetry(), folded()
    run = Run()
    run.fold(records[:first])
    early = [run.saved("p2"), run.saved("p4")]
    run.fold(records[first : first + later])
    other = Run()
    for saved in (*early, run.saved("p0")):
        other.restore(saved)
    other.fold(records[first : first + 30])
    other.fold(records[first + 30 :])
    expected = {(one.time_ns, one.kind): one.to_bytes() for one in silences(whole.signals)}
    found = {(one.time_ns, one.kind): one.to_bytes() for one in [*silences(run.signals), *silences(other.signals)]}
    assert found == expected
    assert alerts([*run.signals, *other.signals])[-1] == alerts(whole.signals)[-1]


def test_a_twin_that_comes_back_for_a_moment_only_keeps_its_alert() -> None:
    run = Run()
    run.fold(telemetry(range(STOPS, 70), range(72, BACK)))
    assert [one.kind for one in silences(run.signals)] == ["raise", "keep", "clear"]
    assert [one.active for one in alerts(run.signals)] == [True, False]


def test_a_type_says_how_long_and_null_turns_the_alert_off() -> None:
    assert silences(folded(silent_after=None).signals) == []
    assert alerts(folded(silent_after="PT30S").signals)[0].onset_ns == (START + STOPS + 30) * 10**9
    assert alerts(folded(silent_after="PT41S").signals) == []
    assert compile_type({**INTERFACE, "silentAfter": None}).contract == TYPE.contract


def test_a_twin_that_is_still_learning_raises_nothing() -> None:
    run = folded(served=False)
    assert run.signals == []
    assert not run.arena.silent.any()  # it is back


def sent() -> list[PlainRecord]:
    """Two twins of one partition go on, the third stops; the last records close no step."""
    rounds = [(asset, second) for second in range(40) for asset in TWINS if asset != "p4" or second < 10]
    rounds += [("p0", 39), ("p2", 39)] * 3
    return [
        PlainRecord("t", 0, offset, 0, asset.encode(), orjson.dumps({"asset": asset, "time": START + second, "flow": 1.0}))
        for offset, (asset, second) in enumerate(rounds)
    ]


def last_states(folder: Path, size: int, *, committed: int = 0) -> dict[str, TwinState]:
    """What `twin.state` holds in the end, of records that are folded so many at a time."""
    partitions, found = Owner(folder).partitions, {}
    partitions.own(0, position=0, committed=committed, epoch=1)
    records = sent()
    for start in range(0, len(records), size):
        outputs = partitions.score(partitions.fold(records[start : start + size]))
        partitions.passed(outputs)
        for topic, _, _, value, _ in outputs.records:
            if topic == "t.twin.state":
                state = TwinState.model_validate_json(value)
                found[state.asset] = state
    return found


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_who_is_silent_in_the_end_does_not_depend_on_batches(tmp_path: Path, size: int) -> None:
    found = last_states(tmp_path, size)
    assert {asset: state.health for asset, state in found.items()} == {"p0": "learning", "p2": "learning", "p4": "silent"}
    assert found == last_states(tmp_path, 3)
    assert found["p4"].values["flow"] == 1.0


def test_a_twin_that_falls_silent_in_the_batch_that_reaches_beyond_the_committed_offset_is_told(tmp_path: Path) -> None:
    assert last_states(tmp_path, 1000, committed=40)["p4"].health == "silent"
    assert "p4" not in last_states(tmp_path, 1000, committed=10_000)

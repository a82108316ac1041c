"""Assets nobody declared: they wait while definitions may still come, match a known type, or get one inferred."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import orjson
import pytest

from streams import folding, placing
from streams.definitions import Definitions
from streams.folded import Folded
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.unknown_assets import UnknownAssets
from tests.streams.formats.wire import ARROW_HEADERS, rows, table
from tests.streams.plant import INTERFACE, START, TYPE


def reading(offset: int, asset: str, second: int, **channels: object) -> PlainRecord:
    value = orjson.dumps({"asset": asset, "time": START + second, **channels})
    return PlainRecord("telemetry", 0, offset, (START + second) * 1000, asset.encode(), value)


def declared() -> Definitions:
    definitions = Definitions()
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    return definitions


def test_an_undeclared_asset_with_the_channels_of_one_type_is_of_that_type() -> None:
    folder = Folder(declared())
    out = folder.fold([reading(0, "new", 0, flow=1.0, heat=2.0)])
    assert out.counts["accepted"] == 2
    assert [key for key, _ in out.definitions] == [b"twin/new"]


def test_a_type_is_inferred_from_eight_times_and_no_reading_is_lost() -> None:
    folder = Folder(Definitions())
    out = folder.fold([reading(second, "new", second, rpm=float(second)) for second in range(7)])
    assert (out.counts["accepted"], folder.placing.oldest_offset(0)) == (0, 0)
    out = folder.fold([reading(7, "new", 7, rpm=7.0)])
    assert out.counts["accepted"] == 8
    assert folder.placing.oldest_offset(0) is None
    assert [key.decode().split("/")[0] for key, _ in out.definitions] == ["type", "twin"]


def test_records_wait_while_the_definitions_may_be_incomplete() -> None:
    definitions = Definitions()
    folder = Folder(definitions)
    sent = [reading(second, "p1", second, flow=1.0, heat=2.0) for second in range(20)]
    assert folder.fold(sent, infer=False).counts["accepted"] == 0
    definitions.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    definitions.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": TYPE.id}))
    out = folder.fold([reading(20, "p1", 20, flow=1.0, heat=2.0)], infer=False)
    assert out.counts["accepted"] == 42
    assert out.definitions == []


def test_an_asset_without_any_number_goes_to_dead_letter_with_every_record() -> None:
    folder = Folder(Definitions())
    out = folder.fold([reading(second, "new", second, name="x") for second in range(8)])
    assert [(one.record.offset, one.reason) for one in out.refused] == [(second, "unknown-asset") for second in range(8)]


def test_what_can_not_be_used_is_refused_once_a_record_and_the_rest_is_used() -> None:
    folder = Folder(declared())
    sent = [
        reading(0, "p1", 0, flow=1.0, heat=2.0),
        reading(1, "p1", 1, flow="x", heat=2.0, colour=3),
        PlainRecord("telemetry", 0, 2, 0, b"p1", b"{not json"),
        PlainRecord("telemetry", 0, 3, 0, b"p1", b'{"asset":"p1","flow":1}'),
        PlainRecord("telemetry", 1, 0, 0, b"p1", orjson.dumps({"asset": "p1", "time": START + 2, "flow": 1})),
    ]
    out = folder.fold(sent)
    reasons = [(one.record.partition, one.record.offset, one.reason) for one in out.refused]
    assert sorted(reasons) == [(0, 1, "unknown-channel"), (0, 2, "json"), (0, 3, "time"), (1, 0, "partition")]
    assert out.counts["accepted"] == 3


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_the_type_depends_on_the_first_records_that_tell_it_not_on_how_many_wait_with_them(batch: int) -> None:
    sent = [reading(0, "new", 0, flow=1.0, heat=2.0), reading(1, "new", 1, flow=1.0, heat=2.0, colour=3.0)]
    sent += [reading(2 + second, "odd", second, rpm=1.0) for second in range(8)]
    sent += [reading(10 + second, "odd", 8 + second, rpm=1.0, torque=2.0) for second in range(4)]
    sent += [reading(20 + second, "words", second, label="on") for second in range(9)]
    folder = Folder(declared())
    definitions, refused = {}, set()
    for start in range(0, len(sent), batch):
        for records, infer in ((sent[start : start + batch], False), ([], True)):
            out = folder.fold(records, infer=infer)
            definitions.update(out.definitions)
            refused |= {(one.record.offset, one.reason) for one in out.refused}
    assert orjson.loads(definitions[b"twin/new"])["type"] == TYPE.id
    (inferred,) = (value for key, value in definitions.items() if key.startswith(b"type/"))
    assert [one["name"] for one in orjson.loads(inferred)["contents"] if one["@type"] == "Telemetry"] == ["rpm"]
    # eight readings told that no type can be had; the ninth waits for more
    assert {offset for offset, _ in refused if offset >= 20} == set(range(20, 28))
    assert folder.placing.oldest_offset(0) == 28
    assert {place for place in refused if place[0] < 20} == {
        (1, "unknown-channel"),
        *((n, "unknown-channel") for n in range(10, 14)),
    }


def strangers() -> list[PlainRecord]:
    """Two declared twins that go on, and assets of whom little comes: now and then, again and again the same, in a table."""
    sent = [reading(offset, f"p{offset % 2}", offset // 2, flow=1.0, heat=2.0) for offset in range(400)]
    for offset in (3, 12, 40, 90, 91, 92):  # the last time: 90, 91, 92 are of times that came
        sent[offset] = reading(offset, "rare", min(offset, 40), rpm=1.0)
    sent[7] = reading(7, "once", 7, rpm=1.0)
    for offset in range(100, 180, 10):  # slow, but soon enough one after the other
        sent[offset] = reading(offset, "slow", offset, rpm=1.0)
    for offset in range(200, 400, 25):  # a time every 25 offsets: too slow
        sent[offset] = reading(offset, "slower", offset, torque=1.0)
    columns = rows(["t1", "t2", "p0"], [150] * 3, speed=[1.0, 2.0, None], flow=[None, None, 1.0])
    sent[301] = PlainRecord("telemetry", 0, 301, START * 1000, None, table(columns), ARROW_HEADERS)
    return sent


@dataclass
class Took:
    """What came out of folds; `accepted` only where nothing is folded twice."""

    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    definitions: dict[bytes, bytes] = field(default_factory=dict)
    accepted: int = 0

    def take(self, out: Folded) -> None:
        self.accepted += out.counts["accepted"]
        self.definitions.update(out.definitions)
        for one in out.refused:
            known = self.refused.setdefault(one.record.offset, (one.reason, one.message))
            assert known == (one.reason, one.message)


def with_twins() -> Definitions:
    view = declared()
    for asset in ("p0", "p1"):
        view.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
    return view


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Took:
    """What a fold of `strangers` one by one gives, when nobody waits for longer than 20 offsets."""
    monkeypatch.setattr(placing, "PATIENCE", 20)
    folder, took = Folder(with_twins()), Took()
    for one in strangers():
        took.take(folder.fold([one]))
    assert folder.placing.oldest_offset(0) is None
    return took


def test_who_waits_too_long_for_a_type_is_given_up_and_who_comes_often_enough_gets_one(impatient: Took) -> None:
    given_up = {offset for offset, (reason, _) in impatient.refused.items() if reason == "unknown-asset"}
    assert given_up == {3, 12, 40, 90, 91, 92, 7, *range(200, 400, 25), 301}
    assert b"twin/slow" in impatient.definitions
    assert not {b"twin/rare", b"twin/once", b"twin/slower"} & impatient.definitions.keys()


@pytest.mark.parametrize("batch", [2, 7, 50, 400])
def test_who_is_given_up_does_not_depend_on_batches(impatient: Took, batch: int) -> None:
    folder, took, sent = Folder(with_twins()), Took(), strangers()
    for start in range(0, len(sent), batch):
        took.take(folder.fold(sent[start : start + batch], infer=False))
        took.take(folder.fold([], infer=True))
    assert took == impatient


@pytest.mark.parametrize("seed", range(8))
def test_who_is_given_up_does_not_depend_on_restarts_nor_on_what_is_declared_meanwhile(impatient: Took, seed: int) -> None:
    """Each restart folds from the first that waited; what it is told was published before. Then strangers get declared."""
    pick, view, took, sent = random.Random(seed), with_twins(), Took(), strangers()
    folder, at = Folder(view), 0
    while at < len(sent):
        end = at + pick.randint(1, 60)
        took.take(folder.fold(sent[at:end]))
        at = min(end, len(sent))
        if pick.random() < 0.4:
            oldest = folder.placing.oldest_offset(0)
            folder, at = Folder(view), at if oldest is None else oldest
    for asset in ("rare", "once", "slower"):
        view.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
    again = Took()
    again.take(Folder(view).fold(sent))  # as a replay does, after the fact
    given_up = {offset for offset, (reason, _) in impatient.refused.items() if reason == "unknown-asset"}
    for run in (took, again):
        assert {offset for offset, (reason, _) in run.refused.items() if reason == "unknown-asset"} == given_up
    assert took.refused == impatient.refused
    assert took.definitions == impatient.definitions


def test_who_learns_what_will_serve_leaves_out_what_was_given_up(impatient: Took) -> None:
    view = with_twins()
    for key, value in impatient.definitions.items():
        view.apply(key, value)
    view.apply(b"twin/once", orjson.dumps({"asset": "once", "type": TYPE.id}))
    (record,) = (one for one in strangers() if one.offset == 7)
    for of_now in (False, True):
        assert [one.reason for one in Folder(view, of_now=of_now).fold([record]).refused] == ["unknown-asset"]


@pytest.mark.parametrize("value", [b"", b"{}", b'{"asset":"p2","partition":0,"before":3}', b'{"asset":"p1","partition":0}'])
def test_what_tells_of_nobody_given_up_is_counted_and_changes_nothing(value: bytes) -> None:
    view = declared()
    assert not view.apply(b"unknown/p1", value)
    assert view.unusable.total() == 1
    assert not view.unknown.given_up("p1", 0, 0)


def test_a_former_owner_that_folds_behind_takes_nothing_back() -> None:
    view = declared()
    assert view.apply(*UnknownAssets.mark("p1", 0, 100))
    assert not view.apply(*UnknownAssets.mark("p1", 0, 50))
    assert [view.unknown.given_up("p1", *place) for place in ((0, 99), (0, 100), (1, 99))] == [True, False, False]


def test_a_table_of_which_several_assets_are_given_up_one_after_the_other_is_refused_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placing, "PATIENCE", 20)
    folder = Folder(with_twins())
    columns = rows(["p1", "early", "late", "p1"], [0, 0, 0, 1], flow=[1.0, 2.0, 3.0, 4.0], colour=[None, None, None, 1.0])
    sent = {0: PlainRecord("telemetry", 0, 0, START * 1000, None, table(columns), ARROW_HEADERS)}
    again = rows(["late"], [1], flow=[2.0])  # so it may wait for longer
    sent[9] = PlainRecord("telemetry", 0, 9, START * 1000, None, table(again), ARROW_HEADERS)
    refused: list[tuple[int, str]] = []
    for offset in range(60):
        out = folder.fold([sent.get(offset) or reading(offset, "p1", offset, flow=1.0, heat=1.0)])
        refused += [(one.record.offset, one.reason) for one in out.refused]
        if offset == 25:  # given up, but the record still waits
            assert folder.definitions.unknown.given_up("early", 0, 0)
            assert not folder.definitions.unknown.given_up("late", 0, 0)
            assert refused == [(0, "unknown-channel")]
            assert folder.placing.oldest_offset(0) == 0
    assert refused == [(0, "unknown-channel"), (0, "unknown-asset"), (9, "unknown-asset")]


def test_what_is_held_of_a_partition_that_goes_is_told_by_its_next_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "PATIENCE", 20)
    definitions, refused = with_twins(), []
    sent = [
        PlainRecord("telemetry", 0, 0, START * 1000, None, table(rows(["early", "late"], [0, 0], flow=[2.0, 3.0])), ARROW_HEADERS)
    ]
    sent += [reading(1, "late", 1, flow=1.0), *(reading(offset, "p1", offset, flow=1.0, heat=1.0) for offset in range(2, 60))]
    folder = Folder(definitions)
    for record in sent[:21]:
        refused += folder.fold([record]).refused
    folder.drop(0)
    assert folder.fold([]).refused == refused == []
    for record in sent:
        refused += folder.fold([record]).refused
    assert [(one.record.offset, one.reason) for one in refused] == [(0, "unknown-asset"), (1, "unknown-asset")]


def replayed(took: Took, sent: list[PlainRecord], *late: str) -> dict[int, tuple[str, str]]:
    """What a replay refuses, when all that was written down is known, and these assets were declared in the end."""
    view, again = with_twins(), Took()
    for key, value in took.definitions.items():
        view.apply(key, value)
    for asset in late:
        view.apply(f"twin/{asset}".encode(), orjson.dumps({"asset": asset, "type": TYPE.id}))
    again.take(Folder(view).fold(sent))
    return {offset: found for offset, found in again.refused.items() if found[0] == "unknown-asset"}


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_who_finds_no_room_to_wait_is_given_up_by_a_replay_too(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(placing, "MOST_WAITING", 5)
    monkeypatch.setattr(folding, "LOOK_AGAIN", 20)
    sent = [reading(offset, f"x{offset % 9}", offset // 9, flow=1.0, heat=2.0, rpm=3.0) for offset in range(60)]
    folder, took = Folder(with_twins()), Took()
    for start in range(0, len(sent), batch):
        took.take(folder.fold(sent[start : start + batch]))
    given_up = {offset: found for offset, found in took.refused.items() if found[0] == "unknown-asset"}
    assert {5, 6, 7, 8, 14} <= given_up.keys(), "the sixth asset finds no room, nor what it sends soon after"
    found = replayed(took, sent, "x5", "x6", "x7", "x8")
    assert {offset: found[offset] for offset in given_up} == given_up
    assert found == given_up


@pytest.mark.parametrize("batch", [1, 5, 20])
def test_readings_that_tell_no_type_are_given_up_by_a_replay_too(batch: int) -> None:
    sent = [reading(second, "words", second, label="x", state="y") for second in range(8)]
    sent += [reading(8 + second, "words", 8 + second, label=1.0, state=2.0) for second in range(8)]
    folder, took = Folder(with_twins()), Took()
    for start in range(0, len(sent), batch):
        took.take(folder.fold(sent[start : start + batch], infer=False))
        took.take(folder.fold([], infer=True))
    assert {offset for offset, (reason, _) in took.refused.items() if reason == "unknown-asset"} == set(range(8))
    assert replayed(took, sent, "words").keys() == set(range(8))

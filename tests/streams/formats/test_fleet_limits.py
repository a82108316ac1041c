"""How many assets and types may come: past each, what is new goes to dead-letter, again so when the log is folded again."""

from __future__ import annotations

import orjson
import pytest

from streams import claims, placing
from streams.definitions import Definitions
from streams.folded import Folded
from streams.folding import Folder
from streams.log_record import PlainRecord
from tests.streams.formats.wire import ARROW_HEADERS, declared, record, rows, table
from tests.streams.plant import START

MOST = 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MOST_ASSETS", MOST)


def reading(offset: int, asset: str, **channels: float) -> PlainRecord:
    return record(offset, orjson.dumps({"asset": asset, "time": START + offset, **(channels or {"flow": 1, "heat": 1})}))


def publish(out: Folded, view: Definitions) -> None:
    """What was decided is read back."""
    for key, value in out.definitions:
        view.apply(key, value)


def told(out: Folded) -> list[tuple[int, str]]:
    return [(one.record.offset, one.reason) for one in out.refused]


def test_an_asset_that_is_new_when_as_many_as_may_be_have_a_home_is_refused_and_the_others_go_on() -> None:
    view = declared()
    folder = Folder(view, claims=True)
    sent = [reading(n, f"p{n % 3}") for n in range(6)]
    publish(folder.fold(sent), view)
    assert folder.fold([]).counts["accepted"] == 12
    later = [reading(6, "p0"), reading(7, "new"), reading(8, "p2")]
    out = folder.fold(later)
    assert told(out) == [(7, "too-many-assets")]
    assert "'new'" in out.refused[0].message
    assert out.definitions == []
    assert out.counts["accepted"] == 4
    again = Folder(view, claims=True).fold([*sent, *later])  # a restart from the beginning: refused at the same place
    assert (told(again), again.counts["accepted"]) == ([(7, "too-many-assets")], 16)
    assert told(Folder(view, of_now=True).fold([*sent, *later])) == [(7, "too-many-assets")]


def test_who_waits_for_a_claim_when_the_last_place_is_taken_is_not_refused() -> None:
    """Its readings were taken in: what comes of it until the claim is back must wait behind them."""
    view = declared()
    folder = Folder(view, claims=True)
    first = folder.fold([reading(0, "p0"), reading(1, "p1")])
    for name in ("a", "b", "c"):  # of other owners
        view.apply(*first.definitions[0]) if name == "a" else view.apply(*claims.Homes.claim(name, 1))
    assert len(view.homes) == MOST
    out = folder.fold([reading(2, "p1"), reading(3, "new")])
    assert told(out) == [(3, "too-many-assets")]
    view.apply(*first.definitions[1])
    assert folder.fold([]).counts["accepted"] == 4
    assert folder.placing.oldest_offset(0) is None


def test_a_tombstone_makes_room() -> None:
    view = declared()
    for name in ("a", "b", "c"):
        view.apply(*claims.Homes.claim(name, 0))
    folder = Folder(view, claims=True)
    assert told(folder.fold([reading(0, "new")])) == [(0, "too-many-assets")]
    view.apply(b"home/b", None)
    publish(folder.fold([reading(1, "new")]), view)
    assert folder.fold([]).counts["accepted"] == 2


def test_new_assets_of_a_table_are_refused_once_and_the_rest_is_used() -> None:
    view = declared()
    for name in ("a", "b", "c"):
        view.apply(*claims.Homes.claim(name, 0))
    value = table(rows(["a", "x", "y", "b"], [0, 0, 0, 0], flow=[1, 2, 3, 4], heat=[1, 2, 3, 4]))
    out = Folder(view, claims=True).fold([record(0, value, headers=ARROW_HEADERS)])
    assert told(out) == [(0, "too-many-assets")]
    assert "'x'" in out.refused[0].message
    assert "'y'" in out.refused[0].message
    assert out.counts["accepted"] == 4


def test_past_the_types_that_may_be_none_is_inferred_and_known_ones_are_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    view = declared()
    monkeypatch.setattr(placing, "MOST_TYPES", 2)
    folder = Folder(view)
    sent = [reading(n, "first", rpm=n) for n in range(8)]
    assert folder.fold(sent).counts["accepted"] == 8
    assert len(view.types) == 2
    sent += [reading(n, "second", volt=n) for n in range(8, 16)] + [reading(16, "third", rpm=1), reading(17, "fourth")]
    out = folder.fold(sent[8:])
    assert told(out) == [(n, "unknown-asset") for n in range(8, 16)]
    assert out.counts["accepted"] == 3
    assert len(view.types) == 2
    assert [key for key, _ in out.definitions if key.startswith(b"unknown/")] == [b"unknown/second"]
    assert told(Folder(view).fold(sent)) == told(out)

"""A twin that is new to the stream raises nothing before its window holds enough, and says so; then its fault is found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson
import pytest

from models.coverage import PART, STEPS
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.outputs import states
from streams.scoring import Switches, TypeScorer
from tests.streams.plant import INTERFACE, START, TYPE, readings, trained

NEEDED = int(STEPS * PART)
SENT = 40


@pytest.fixture
def definitions() -> Definitions:
    view = Definitions()
    assert view.apply(f"type/{TYPE.id}".encode(), orjson.dumps(INTERFACE))
    view.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": TYPE.id}))
    return view


def stream(*, broken: bool) -> list[PlainRecord]:
    values = readings(SENT, faults=False)[1].copy()
    if broken:
        values[:, 0] += 40 * (np.arange(SENT) % 3)
    return [
        PlainRecord(
            "t", 0, step, START * 1000, None, orjson.dumps({"asset": "p1", "time": START + step, "flow": flow, "heat": heat})
        )
        for step, (flow, heat) in enumerate(values.tolist())
    ]


def told(definitions: Definitions, records: list[PlainRecord], at_once: int) -> Iterator[tuple[bool, float, str]]:
    """Alarm, risk and health after each step that was the last of its batch."""
    folder, scorer = Folder(definitions), None
    for start in range(0, len(records), at_once):
        for closed in folder.fold(records[start : start + at_once]).closed:
            arena = folder.arenas[closed.type.id]
            if scorer is None:
                scorer = TypeScorer(arena)
                scorer.switches[0] = Switches()
                scorer.switches[0].add(0, trained())
            scored = scorer.score(closed)
            health = [one.health for one in states(scored, np.ones(len(closed), np.bool_), ["p1"], scorer.conditions)]
            for index in range(len(closed)):
                yield bool(scored.alarm[index]), float(scored.risk[index]), health[0] if index == len(closed) - 1 else ""


def test_a_new_twin_with_a_fault_raises_nothing_until_it_has_sent_enough(definitions: Definitions) -> None:
    found = list(told(definitions, stream(broken=True), 1))
    early = found[: NEEDED - 1]
    assert not any(alarm for alarm, _, _ in early)
    assert {risk for _, risk, _ in early} == {0.0}
    assert {health for _, _, health in early} == {"learning"}
    assert any(alarm for alarm, _, _ in found[NEEDED - 1 : NEEDED + 5])
    alike = list(told(definitions, stream(broken=True), 1000))
    assert [one[:2] for one in alike] == [one[:2] for one in found]


def test_a_new_twin_that_is_well_is_well_as_soon_as_it_has_sent_enough(definitions: Definitions) -> None:
    found = list(told(definitions, stream(broken=False), 1))
    assert {health for _, _, health in found[: NEEDED - 1]} == {"learning"}
    assert found[-1][2] == "ok"

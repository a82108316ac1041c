"""An alert says which fault it looks like, whatever the batches were; what it says raises and silences nothing."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from models.fault_file import Faults
from models.fault_labels import LabelledPeriod
from models.fault_learning import faults_of
from models.served import ServedModel
from streams.records import Signal
from streams.scoring import Switches, TypeScorer
from streams.signals import signals as signals_of
from streams.training_periods import TrainingPeriods
from tests.streams.plant import ASSETS, START, TYPE, readings, trained
from twin.arena import Arena
from twin.block import StepBlock
from twin.reading import ReadingBatchBuilder
from twin.types import NS_PER_S

STEPS = 260
FAULT = 160
EVENTS, LASTS, EVERY = 12, 20, 90  # steps


@pytest.fixture(scope="module")
def faults() -> Faults:
    """Learnt from a flow that is off, called leak, and a heat that jumps about, called a false alarm."""
    values = readings(EVENTS * EVERY + 100, seed=7, faults=False)
    draw, periods = np.random.default_rng(7), []
    for event in range(EVENTS):
        twin, start = event % len(ASSETS), 80 + EVERY * event
        leak = event % 2 == 0
        values[twin, start : start + LASTS, 0 if leak else 1] += -5 if leak else 6 * draw.standard_normal(LASTS)
        at = (START + start) * NS_PER_S
        periods.append(LabelledPeriod(ASSETS[twin], at, at + LASTS * NS_PER_S, "leak" if leak else "normal"))
    block = StepBlock(ASSETS, TYPE.channel_names, START, NS_PER_S, values.astype(np.float32), np.zeros(values.shape, np.uint8))
    found, report = faults_of(trained(), block, periods, None, seed=1)
    assert found is not None
    assert found.head is not None, report
    return found


def signals(faults: Faults | None, batch: int) -> list[Signal]:
    """Of six twins; from step FAULT on the flow of p3 is off by five, and the heat of p1 jumps about."""
    values = readings(STEPS, seed=3, faults=False)
    values[3, FAULT : FAULT + 30, 0] -= 5
    values[1, FAULT : FAULT + 30, 1] += 6 * np.random.default_rng(5).standard_normal(30)
    made = trained()
    served = ServedModel(made.info, made.detectors, sha256=made.sha256, device="cpu", faults=faults)
    arena = Arena(TYPE)
    scorer = TypeScorer(arena)
    scorer.switches[0] = Switches()
    scorer.switches[0].add(0, served)
    found = []
    for first in range(0, STEPS, batch):
        builder = ReadingBatchBuilder(len(arena.type.channels))
        for step in range(first, min(first + batch, STEPS)):
            for row, asset in enumerate(ASSETS):
                at = (START + step) * NS_PER_S
                builder.add(arena.row(asset, 0), [0, 1], at, values[row, step].tolist(), step * 6 + row, at)
        for closed in arena.fold(builder.build()).closed:
            scored = scorer.score(closed)
            assets = [asset or "" for asset in arena.asset_of]
            found += signals_of(scored, scored.transitions, scorer.conditions, assets)
    return sorted(found, key=lambda one: (one.time_ns, one.asset, one.condition))


def test_an_alert_says_which_fault_it_looks_like(faults: Faults) -> None:
    raised = {one.asset: one for one in signals(faults, 50) if one.kind == "raise" and one.time_ns > (START + FAULT) * NS_PER_S}
    leak, jumps = raised["p3"].evidence.likely_fault, raised["p1"].evidence.likely_fault
    assert leak is not None
    assert jumps is not None
    assert next(iter(leak.probabilities)) == "leak"
    assert next(iter(jumps.probabilities)) == "normal"
    assert sum(leak.probabilities.values()) == pytest.approx(1, abs=0.01)


def test_batches_change_nothing_that_is_said(faults: Faults) -> None:
    together = signals(faults, 130)
    assert any(one.evidence.likely_fault is not None for one in together)
    assert [one.to_bytes() for one in signals(faults, 7)] == [one.to_bytes() for one in together]


def test_a_false_alarm_that_is_foreseen_is_raised_all_the_same(faults: Faults) -> None:
    without = [one.model_dump(exclude={"evidence": {"likely_fault"}}) for one in signals(None, 50)]
    assert without == [one.model_dump(exclude={"evidence": {"likely_fault"}}) for one in signals(faults, 50)]
    assert all(one.evidence.likely_fault is None for one in signals(None, 50))


def test_a_clear_names_no_fault(faults: Faults) -> None:
    cleared = [one for one in signals(faults, 50) if one.kind == "clear"]
    assert cleared
    assert all(one.evidence.likely_fault is None for one in cleared)


def test_labels_of_the_twins_are_told_in_the_order_they_were_given() -> None:
    periods = TrainingPeriods()
    for asset, label in (("p1", "leak"), ("p2", "leak"), ("p1", "normal"), ("p9", "stuck"), ("p1", "unknown")):
        periods.feedback(orjson.dumps({"asset": asset, "from_ns": 0, "to_ns": 5, "label": label}))
    assert [(one.asset, one.label) for one in periods.labels(["p1", "p2"])] == [("p1", "leak"), ("p2", "leak"), ("p1", "normal")]

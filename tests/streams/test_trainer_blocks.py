"""Blocks that models train on: the newest closed steps, whatever their order of arrival, and what is left out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.hygiene import counts
from streams.records import Alert, Evidence, Feedback
from streams.step_blocks import StepBlockBuilder
from streams.training_periods import TrainingPeriods
from twin.block import StepBlock
from twin.quality import Quality
from twin.types import compile_type

PERIOD_NS = 300_000_000_000
TANK = compile_type(
    {
        "@id": "dtmi:test:Tank;1",
        "@type": "Interface",
        "samplingPeriod": "PT5M",
        "contents": [{"@type": "Telemetry", "name": name, "schema": "double"} for name in ("level", "pressure")],
    }
)


def add(builder: StepBlockBuilder, steps: list[tuple[str, int, float]]) -> None:
    """One call of closed steps: asset, step, value; the second channel is the value plus a half."""
    values = np.array([[value, value + 0.5] for _, _, value in steps], np.float32).reshape(-1, 2)
    step = np.array([step for _, step, _ in steps], np.int64)
    builder.add([asset for asset, _, _ in steps], step, values, np.zeros(values.shape, np.uint8))


def test_a_block_holds_closed_steps_on_one_grid_and_marks_what_is_missing() -> None:
    builder = StepBlockBuilder(TANK, max_steps=100)
    add(builder, [("b", 7, 1.0), ("b", 8, 2.0), ("a", 9, 3.0)])
    block = builder.block()
    assert (block.assets, block.channels, block.first_step, block.period_ns) == (("a", "b"), ("level", "pressure"), 7, PERIOD_NS)
    np.testing.assert_array_equal(block.values[:, :, 0], [[np.nan, np.nan, 3.0], [1.0, 2.0, np.nan]])
    np.testing.assert_array_equal(block.quality[:, :, 1] == Quality.MISSING, [[True, True, False], [False, False, True]])
    assert block.time_ns()[-1] == 10 * PERIOD_NS
    assert (len(builder), builder.newest, builder.closed_steps(), builder.cells) == (3, 9, 2, 2 * 3 * 2)


def test_only_the_newest_steps_are_kept() -> None:
    builder = StepBlockBuilder(TANK, max_steps=4)
    for step in range(1, 11):
        add(builder, [("a", step, float(step))])
    np.testing.assert_array_equal(builder.block().values[0, :, 0], [7.0, 8.0, 9.0, 10.0])
    add(builder, [("a", 6, 99.0), ("a", 1_000, 1.0)])
    assert builder.block().first_step == 997
    np.testing.assert_array_equal(builder.block().values[0, :, 0], [np.nan, np.nan, np.nan, 1.0])


def test_a_twin_gone_for_longer_than_the_block_gives_its_row_back() -> None:
    builder = StepBlockBuilder(TANK, max_steps=4)
    for step in range(0, 400, 4):
        add(builder, [(f"twin-{step}", step, 1.0)])
    assert builder.block().assets == ("twin-396",)
    assert len(builder._last) == 16


def test_a_twin_that_comes_back_together_with_many_new_ones_is_taken() -> None:
    builder = StepBlockBuilder(TANK, max_steps=4)
    add(builder, [("old", 1, 1.0)])
    add(builder, [("t0", 50, 1.0)])
    add(builder, [("old", 51, 2.0), *((f"t{number}", 51, 2.0) for number in range(1, 40))])
    assert builder.block().assets == tuple(sorted(["old", *(f"t{number}" for number in range(40))]))


def test_an_empty_builder_says_that_there_is_no_block() -> None:
    with pytest.raises(ValueError, match=r"dtmi:test:Tank;1: no closed step was replayed yet"):
        StepBlockBuilder(TANK, max_steps=4).block()


def test_a_type_too_large_for_memory_gets_a_shorter_block_with_its_newest_steps() -> None:
    builder = StepBlockBuilder(TANK, max_steps=50, max_cells=40 * 2 * 10)
    for step in range(50):
        add(builder, [(f"t{number}", step, float(step)) for number in range(40)])
    block = builder.block()
    assert block.values.shape == (40, 10, 2)
    assert block.first_step == 40
    np.testing.assert_array_equal(block.values[:, :, 0], np.tile(np.arange(40.0, 50.0), (40, 1)))


_STEPS = st.lists(st.tuples(st.sampled_from([f"t{n}" for n in range(20)]), st.integers(0, 60)), unique=True, max_size=80)


@settings(max_examples=60)
@given(_STEPS, st.integers(1, 30), st.integers(1, 7))
def test_the_block_is_the_newest_steps_whatever_the_order_and_the_batches(
    steps: list[tuple[str, int]], max_steps: int, batch: int
) -> None:
    builder = StepBlockBuilder(TANK, max_steps=max_steps)
    for start in range(0, len(steps), batch):
        add(builder, [(asset, step, float(step)) for asset, step in steps[start : start + batch]])
    newest = max((step for _, step in steps), default=None)
    if newest is None:
        assert len(builder) == 0
        return
    kept = {(asset, step) for asset, step in steps if step > newest - max_steps}
    block = builder.block()
    rows, at = np.nonzero(~np.isnan(block.values[:, :, 0]))
    assert {(block.assets[row], block.first_step + int(t)) for row, t in zip(rows, at, strict=True)} == kept
    np.testing.assert_array_equal(block.values[rows, at, 0], at + block.first_step)
    assert (block.quality[np.isnan(block.values)] == Quality.MISSING).all()


# ── what must not train ─────────────────────────────────────────────────────────────────────────────────────────────


def block_of(assets: int = 2, steps: int = 20, first: int = 100) -> StepBlock:
    shape = (assets, steps, 2)
    names = tuple(f"t{number}" for number in range(assets))
    return StepBlock(names, TANK.channel_names, first, PERIOD_NS, np.ones(shape, np.float32), np.zeros(shape, np.uint8))


def alert(revision: int = 1, **more: object) -> Alert:
    evidence = Evidence(channels=[], model_version="1", weights_sha256="s", partition=0, first_offset=0, last_offset=1)
    found = {"id": "a", "revision": revision, "asset": "t1", "type": TANK.id, "condition": "anomaly", "severity": "major"}
    more = {
        "state": "active",
        "onset_ns": 110 * PERIOD_NS,
        "updated_ns": 110 * PERIOD_NS,
        "risk": 0.9,
        "evidence": evidence,
        **more,
    }
    return Alert.model_validate({**found, **more})


def excluded(periods: TrainingPeriods, block: StepBlock | None = None) -> dict[str, list[int]]:
    block = block or block_of()
    mask = periods.exclude(block)
    return {asset: (np.flatnonzero(mask[row]) + block.first_step).tolist() for row, asset in enumerate(block.assets)}


def test_an_open_alert_excludes_its_twin_from_shortly_before_onset_on() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert().to_bytes())
    assert excluded(periods) == {"t0": [], "t1": list(range(105, 120))}


def test_a_cleared_alert_excludes_until_it_cleared_and_an_older_revision_changes_nothing() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert(2, state="cleared", cleared_ns=113 * PERIOD_NS).to_bytes())
    periods.alert(b"a", alert(1).to_bytes())
    assert excluded(periods)["t1"] == list(range(105, 113))


def test_a_false_alarm_trains_again() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert(1).to_bytes())
    periods.alert(b"a", alert(2, false_alarm=True).to_bytes())
    assert excluded(periods)["t1"] == []


def test_feedback_overrules_alerts_and_later_feedback_overrules_earlier() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert().to_bytes())
    for asset, start, end, label in (("t1", 112, 115, "normal"), ("t0", 100, 104, "fault"), ("t0", 101, 102, "normal")):
        periods.feedback(Feedback(asset=asset, from_ns=start * PERIOD_NS, to_ns=end * PERIOD_NS, label=label).to_bytes())
    assert excluded(periods) == {"t0": [100, 102, 103], "t1": [*range(105, 112), *range(115, 120)]}


def test_each_reason_is_counted_once_and_what_people_bring_back_is_counted_as_used() -> None:
    periods, block = TrainingPeriods(), block_of()
    periods.alert(b"a", alert().to_bytes())  # t1 from 105 on
    periods.alert(b"b", alert(id="b", asset="t0", onset_ns=110 * PERIOD_NS, false_alarm=True).to_bytes())  # t0 from 105 on
    for start, end, label in ((112, 115, "normal"), (115, 117, "fault")):
        periods.feedback(Feedback(asset="t1", from_ns=start * PERIOD_NS, to_ns=end * PERIOD_NS, label=label).to_bytes())
    block.quality[0, 0] = Quality.STUCK | Quality.GAP
    block.values[1, 0], block.quality[1, 0] = np.nan, Quality.MISSING  # no closed step at all
    found = counts(block.values, block.quality, periods.left_out(block))
    assert {name.removeprefix("hygiene_"): int(count) for name, count in found.items() if count} == {
        "steps": 39,
        "steps_used": 38 - 10 - 2,
        "steps_alerted": 10,
        "steps_labelled": 2,
        "steps_brought_back": 15 + 3,
        "cells_stuck": 2,
    }


def test_unreadable_alerts_and_feedback_are_skipped_and_a_removed_alert_is_forgotten() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert().to_bytes())
    periods.alert(b"x", b"{")
    periods.feedback(b"nothing")
    assert excluded(periods)["t1"]
    assert periods.unreadable == {"alert": 1, "feedback": 1}
    periods.alert(b"a", None)
    assert excluded(periods)["t1"] == []


def test_what_ended_before_the_block_stays_known_as_far_back_as_stretches_are_remembered() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert(2, state="cleared", cleared_ns=113 * PERIOD_NS).to_bytes())
    for since_step, known in ((112, list(range(105, 113))), (113, [])):
        periods.left_out(block_of(first=200), since_ns=since_step * PERIOD_NS)
        found = periods.of_rows(["t1"], np.array([100]), 20, PERIOD_NS).alerted[0]
        assert (np.flatnonzero(found) + 100).tolist() == known


def test_what_ended_before_the_block_is_forgotten() -> None:
    periods = TrainingPeriods()
    periods.alert(b"a", alert(2, state="cleared", cleared_ns=113 * PERIOD_NS).to_bytes())
    periods.feedback(Feedback(asset="t1", from_ns=0, to_ns=PERIOD_NS, label="fault").to_bytes())
    assert excluded(periods, block_of(first=200)) == {"t0": [], "t1": []}
    assert (periods._alerts, periods._labels) == ({}, {})

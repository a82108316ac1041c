"""Figures of injected faults: VUS-PR against its definition, alerts matched with faults, recorded figures that fell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.bench.figures import Figure
from deploy.eval import recorded
from deploy.eval.alarm_rates import rates
from deploy.eval.fault_figures import figures, judge
from deploy.eval.fault_table import by_kind
from deploy.eval.vus import vus_pr
from deploy.eval.watching import SeenAlert, StepFigures, Watched
from deploy.eval.water_faults import Fault
from deploy.eval.water_season import DAY, HOUR
from twin.fleet import Fleet, Relationship, TwinDeclaration

TYPE = "dtmi:livetwin:water:Junction;1"
FIRST = 1_000_000
FLEET = Fleet(
    [
        TwinDeclaration(asset="a", type=TYPE, relationships=(Relationship(name="feeds", target="b"),)),
        TwinDeclaration(asset="b", type=TYPE),
        TwinDeclaration(asset="c", type=TYPE),
    ]
)


def area_by_definition(score: np.ndarray, stretches: list[tuple[int, int]], window: int) -> float:
    """Range-based area under precision over recall, threshold by threshold."""
    label = np.zeros(len(score))
    for first, end in stretches:
        label[first:end] = 1
        for distance in range(1, window // 2 + 1):
            for at in (first - distance, end - 1 + distance):
                if 0 <= at < len(score):
                    label[at] = max(label[at], (1 - distance / window) ** 0.5)
    inside = sum(end - first for first, end in stretches)
    area = before = 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        predicted = score >= threshold
        half = window // 2
        hit = np.mean([predicted[max(0, first - half) : end + half].any() for first, end in stretches])
        recall = min(label[predicted].sum() / ((inside + label.sum()) / 2), 1.0) * hit
        area += (recall - before) * label[predicted].sum() / predicted.sum()
        before = recall
    return float(area)


def test_vus_pr_is_the_mean_of_the_areas_its_definition_gives() -> None:
    random = np.random.default_rng(4)
    stretches = [(20, 35), (80, 84), (150, 180)]
    score = np.round(random.random(200), 1)  # many steps share a score
    score[22:30] += 0.4
    score[155:180] += 0.3
    expected = np.mean([area_by_definition(score, stretches, window) for window in range(7)])
    assert vus_pr(score, stretches, tolerance=6) == pytest.approx(expected)
    # what is left out might as well not be there
    kept = np.ones(200, bool)
    kept[100:130] = False
    moved = [(first - 30 * (first > 130), end - 30 * (end > 130)) for first, end in stretches]
    assert vus_pr(score, stretches, tolerance=6, left_out=~kept) == pytest.approx(vus_pr(score[kept], moved, tolerance=6))


def test_vus_pr_of_who_knows_nothing_is_the_share_of_steps_under_a_fault_and_of_who_knows_all_is_1() -> None:
    labels = np.zeros(20_000)
    stretches = [(start, start + 200) for start in range(500, 20_000, 2_000)]
    for first, end in stretches:
        labels[first:end] = 1
    assert vus_pr(labels, stretches, tolerance=0) == 1
    nothing = vus_pr(np.random.default_rng(1).random(20_000), stretches, tolerance=0)
    assert nothing == pytest.approx(labels.mean(), rel=0.15)


def alert(asset: str, hours: float, *, top: str = "pressure", surprise: float = 3.0) -> SeenAlert:
    return SeenAlert(asset, TYPE, "anomaly", FIRST + round(hours * HOUR), surprise, top, top, 1.0)


def fault(kind: str, asset: str, begin_h: float, end_h: float) -> Fault:
    return Fault(kind, asset, ("pressure",), 1.0, FIRST + round(begin_h * HOUR), FIRST + round(end_h * HOUR))


def season(faults: list[Fault], alerts: list[SeenAlert]) -> Watched:
    shape = (3, 10 * DAY)
    score = np.random.default_rng(0).random(shape).astype(np.float32)
    nothing = np.zeros(shape, np.bool_)
    return Watched(FIRST, shape[1], DAY, {TYPE: StepFigures(("a", "b", "c"), score, nothing, nothing)}, alerts, [], faults)


def test_an_alert_is_about_a_fault_about_nothing_or_may_come_from_the_aftermath() -> None:
    faults = [fault("offset", "a", 24, 36), fault("leak", "b", 72, 84)]
    # own; another's; own, in the aftermath; another's then; calm; anywhere during a leak; anywhere after it; calm
    alerts = [alert(*one) for one in (("a", 25), ("b", 25), ("a", 37), ("b", 37), ("c", 60), ("c", 75), ("c", 86), ("a", 200))]
    found = judge(season(faults, alerts), FLEET)
    assert found.true == 2
    assert [(one.asset, (one.step - FIRST) / HOUR) for one in found.false] == [("b", 25), ("b", 37), ("c", 60), ("a", 200)]
    # three twins for ten days less their first six hours, less one for 12 and 7 hours, less all for 12 and 12
    assert found.twin_days == pytest.approx(30 - 0.75 - 19 / 24 - 3)
    assert judge(season(faults, [alert("a", 1), *alerts]), FLEET).early == 1


def test_a_fault_of_a_sensor_is_found_by_its_own_twin_one_of_the_process_by_a_neighbour_too() -> None:
    faults = [fault("offset", "a", 24, 36), fault("leak", "a", 72, 84), fault("leak", "a", 120, 132), fault("gap", "c", 150, 162)]
    alerts = [
        alert("b", 24.5),  # a neighbour says nothing of a sensor
        alert("a", 26, top="demand"),
        alert("b", 72, surprise=9),
        alert("c", 72.5, surprise=4),
        alert("c", 121),  # far away
        alert("c", 136),
    ]
    watched = season(faults, [*alerts, replace(alert("c", 152), condition="silent")])
    offset, near, far, gap = judge(watched, FLEET).outcomes
    assert (offset.delay, offset.first and offset.first.top, offset.strongest_near) == (2 * HOUR + 1, "demand", None)
    assert (near.delay, near.strongest_near) == (1, True)
    assert (far.delay, far.strongest_near) == (None, False)
    assert gap.delay == 2 * HOUR + 1
    assert [(one.by_model, one.by_condition) for one in (offset, gap)] == [(True, False), (False, True)]
    by_name = {one.measure: one.value for one in figures([watched], FLEET)}
    assert by_name["water, all, found within 1 h"] == 0.25
    assert by_name["water, all, found within 3 h"] == 0.75
    assert by_name["water, offset, delay, p50"] == 125
    assert by_name["water, leak, located (own or next to it)"] == 0.5
    assert by_name["water, all, top channel is the injected one"] == 0
    assert by_name["water, precision of alerts"] == 0.8333
    assert (by_name["water, gap, by the model"], by_name["water, gap, by a condition"]) == (0, 1)
    table, others = by_kind(figures([watched], FLEET))
    assert table.row_count == 4  # offset, leak, gap, all
    assert {one.measure for one in others} == {name for name in by_name if name.count(", ") == 1}


def test_alarms_of_the_model_are_counted_beside_as_many_as_were_asked_for() -> None:
    stuck = SeenAlert("a", TYPE, "stuck:pressure", FIRST + 30 * HOUR, 1.0, "pressure", "pressure", 0.0)
    calm = season([], [alert("a", 1), alert("b", 20), alert("b", 100), stuck])
    (whole,) = rates("x", [calm, calm], 0.02)
    assert (whole.measure, whole.value, whole.reference) == ("x, junctions, alarms of the model", 4, 1.17)  # 3 twins, 9.75 days
    (part,) = rates("x", [calm], 0.02, to_day=1)
    assert part.value == 1


def test_a_figure_that_fell_below_the_recorded_one_is_told_with_both(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    with pytest.raises(recorded.NothingRecorded, match=r"recorded\.json: can't be read"):
        recorded.read(path)
    before = [
        Figure("water, leak, faults", 20.0, "1"),
        Figure("water, leak, found within 1 h", 0.8, "of 1"),
        Figure("water, false alerts between faults", 0.04, "a twin-day"),
        Figure("water, leak, delay, p50", 10.0, "min"),
    ]
    recorded.write({"water, small": before}, path)
    recorded.write({"nab": [Figure("NAB, standard", 65.5, "of 100"), Figure("NAB scorer, null detector", 0.0, "of 100")]}, path)
    known = recorded.read(path)
    assert known["nab"] == {"NAB, standard": recorded.Bound(65.5, 1.5, "higher")}
    assert known["water, small"]["water, leak, found within 1 h"].tolerance == 0.1  # two of twenty

    def now(share: float, false: float) -> recorded.Comparison:
        found = [Figure("water, leak, found within 1 h", share, "of 1"), Figure(before[2].measure, false, "a twin-day")]
        return recorded.compare({"water, small": found}, known)

    same = now(0.7, 0.05)
    assert (same.fallen, same.told[1]) == ([], "eval: nab: not measured now, not compared")
    assert now(0.69, 0.04).fallen == ["water, leak, found within 1 h: 0.69, expected at least 0.7 (recorded 0.8)"]
    assert now(1.0, 0.06).fallen == ["water, false alerts between faults: 0.06, expected at most 0.05 (recorded 0.04)"]
    larger = recorded.compare({"water, large": before}, known)
    assert (larger.fallen, larger.told[0]) == ([], "eval: water, large: nothing is recorded of it, not compared")
    assert recorded.compare({"water, small": before[2:]}, known).fallen[0].endswith("not measured, recorded 0.8")

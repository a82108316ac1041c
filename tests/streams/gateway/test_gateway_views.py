"""The live views: the newest of everything, whatever comes twice, late or from an owner of the past."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.gateway import chart_fleet, views
from streams.gateway.page_words import headline
from streams.gateway.views import AlertsView, TwinsView
from streams.records import Alert, ChannelEvidence, Evidence, TwinState
from twin.fleet import Relationship, TwinDeclaration

EVIDENCE = Evidence(channels=[], model_version=None, weights_sha256=None, partition=0, first_offset=0, last_offset=0)


def state(asset: str, time_ns: int, risk: float = 0.0) -> TwinState:
    return TwinState(
        asset=asset,
        type="t",
        time_ns=time_ns,
        values={},
        quality={},
        health="ok",
        risk=risk,
        model_version=None,
        partition=0,
        offset=time_ns,
    )


def alert(number: int, revision: int = 1, cleared: bool = False) -> Alert:
    return Alert(
        id=f"a{number}", revision=revision, asset="p", type="t", condition="anomaly", severity="minor",
        state="cleared" if cleared else "active", onset_ns=number, updated_ns=number, risk=0.5, evidence=EVIDENCE,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=30), st.randoms())
def test_the_newest_step_of_each_twin_wins_in_any_order(steps: list[tuple[str, int]], order: random.Random) -> None:
    view = TwinsView()
    redelivered = steps + steps
    order.shuffle(redelivered)
    for asset, time_ns in redelivered:
        view.put(state(asset, time_ns))
    newest = {asset: max(time for one, time in steps if one == asset) for asset, _ in steps}
    assert {one.asset: one.time_ns for one in view.after()} == newest
    assert [one.asset for one in view.after()] == sorted(newest)
    first = min(newest)
    assert [one.asset for one in view.after(first)] == sorted(newest)[1:]


def test_a_record_of_an_older_owner_of_its_partition_does_not_count() -> None:
    view = TwinsView()
    assert view.of_current_owner(0, 5)
    assert not view.of_current_owner(0, 4)
    assert view.of_current_owner(0, 5)
    assert view.of_current_owner(1, 4)
    assert view.of_current_owner(0, None)


def test_a_removed_twin_is_gone_and_may_come_back() -> None:
    view = TwinsView()
    for asset in "bca":
        view.put(state(asset, 1))
    assert view.remove("b")
    assert not view.remove("b")
    assert [one.asset for one in view.after()] == ["a", "c"]
    assert view.put(state("b", 0))


def test_an_older_revision_of_an_alert_changes_nothing() -> None:
    view = AlertsView()
    assert view.put(alert(1, revision=2, cleared=True))
    assert not view.put(alert(1, revision=1))
    assert not view.put(alert(1, revision=2))
    assert view.active() == []


def test_alerts_stay_bounded_and_active_ones_stay(monkeypatch: object) -> None:
    view = AlertsView()
    view.put(alert(0))
    most = views.MOST_ALERTS
    for number in range(1, round(most * 1.3)):
        view.put(alert(number, cleared=True))
    assert len(view) <= most * 1.1
    assert [one.id for one in view.active()] == ["a0"]
    assert view.newest_first()[0].onset_ns == round(most * 1.3) - 1


def test_ten_thousand_twins_draw_the_riskiest_few_hundred() -> None:
    declared = [
        TwinDeclaration(asset=f"p{n}", type="t", relationships=(Relationship(name="feeds", target=f"p{n + 1}"),))
        for n in range(10_000)
    ]
    states = {one.asset: state(one.asset, 1, risk=0.9 if place % 1000 == 7 else 0.1) for place, one in enumerate(declared)}
    drawn = chart_fleet.choose(declared, states)
    assert len(drawn.nodes) == chart_fleet.MOST_NODES
    assert drawn.left_out == 10_000 - chart_fleet.MOST_NODES
    assert {f"p{n}" for n in range(7, 10_000, 1000)} <= {node.asset for node in drawn.nodes}
    assert drawn.placed
    assert all(edge[1] in {node.asset for node in drawn.nodes} for edge in drawn.edges)
    assert len(chart_fleet.option(drawn, states, dark=True)["series"][0]["data"]) == chart_fleet.MOST_NODES


@pytest.mark.parametrize(
    ("detector", "summary", "told"),
    [
        ("forecast", "flow is 3 L/s above the forecast made one step before", "flow 9 L/s, expected 6 L/s (+6.0 σ)"),
        ("level", "flow is 40 L/s above what time of day says", "flow is 40 L/s above what time of day says"),
        (None, "", "flow 9 L/s, expected 6 L/s (+6.0 σ)"),
    ],
)  # fmt: skip
def test_the_line_of_an_alert_says_what_raised_it(detector: str | None, summary: str, told: str) -> None:
    channel = ChannelEvidence(name="flow", seen=9.0, expected=6.0, spread=0.5, unit="litrePerSecond", detector=detector)
    evidence = EVIDENCE.model_copy(update={"channels": [channel], "summary": summary})
    assert headline(alert(1).model_copy(update={"evidence": evidence})) == told


def test_the_line_of_an_alert_without_channels_says_its_condition() -> None:
    assert headline(alert(1)) == "unusual behaviour"
    silent = EVIDENCE.model_copy(update={"summary": "nothing has come for 1 h, while others of its type went on"})
    assert headline(alert(1).model_copy(update={"evidence": silent})) == silent.summary

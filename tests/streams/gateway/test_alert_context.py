"""What stands beside an alert: neighbours that move too, earlier alerts of the type, swaps and events close in time; bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from deploy.feeds.interfaces import interface, sampled
from streams.gateway import alert_context
from streams.gateway.alert_context import AlertContext, context_of, risks_about
from streams.gateway.answers import AlertDetail, alert_answer
from streams.gateway.views import MOST_EVENT_TEXT, MOST_EVENTS_OF_AN_ASSET, LiveViews
from streams.model_records import Serving, Switch, models_key
from streams.records import Alert, ChannelEvidence, Comment, EventRecord, Evidence, TwinState, alert_id
from streams.stores import open_store
from streams.stores.port import TwinStore
from tests.streams.stores.blocks import plain_block
from twin.fleet import Relationship, TwinDeclaration

STEP_S = 60
NS = 10**9
JUNCTION = "dtmi:livetwin:water:Junction;1"
ONSET = 100_000 * STEP_S * NS
PARTITION = 3


def steps(count: float) -> int:
    return round(count * STEP_S) * NS


def alert_of(asset: str, onset_ns: int = ONSET, *, off: float = -3.1, detector: str = "shift", **more: object) -> Alert:
    channel = ChannelEvidence(
        name="pressure", seen=38.2, expected=41.3, contribution=0.9, unit="metre", detector=detector, off=off, over_ns=steps(8)
    )
    evidence = Evidence(
        channels=[channel],
        detectors={detector: 1.0},
        summary="pressure stays 3.1 m below the forecast made before the last 8 min",
        model_version="2",
        weights_sha256="ab",
        partition=PARTITION,
        first_offset=0,
        last_offset=9,
    )
    fields: dict[str, object] = {
        "id": alert_id(asset, "anomaly", onset_ns),
        "revision": 1,
        "asset": asset,
        "type": JUNCTION,
        "condition": "anomaly",
        "severity": "major",
        "state": "active",
        "onset_ns": onset_ns,
        "updated_ns": onset_ns + steps(10),
        "risk": 0.8,
        "evidence": evidence,
    }
    return Alert.model_validate(fields | more)


@pytest.fixture
def views() -> LiveViews:
    """a feeds b, b feeds c and d; c is named Canal Street."""
    made = LiveViews()
    made.definitions.apply(f"type/{JUNCTION}".encode(), orjson.dumps(sampled(interface("water.junction"), STEP_S)))
    edges = {"a": ["b"], "b": ["c", "d"], "c": [], "d": []}
    for asset, targets in edges.items():
        declaration = TwinDeclaration(
            asset=asset,
            type=JUNCTION,
            name="Canal Street" if asset == "c" else None,
            relationships=tuple(Relationship(name="feeds", target=one) for one in targets),
        )
        made.definitions.apply(f"twin/{asset}".encode(), declaration.model_dump_json().encode())
    assert made.definitions.types[JUNCTION].period_ns == STEP_S * NS
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TwinStore]:
    opened = open_store("duckdb:", home=tmp_path)
    yield opened
    opened.close()


def seen(views: LiveViews, alert: Alert, **risks: float) -> AlertContext:
    views.alerts.put(alert)
    return context_of(views, alert, risks)


def test_a_neighbour_with_an_alert_about_the_onset_is_named_with_relationship_direction_and_what_it_shows(
    views: LiveViews,
) -> None:
    early, late = alert_of("a", ONSET - steps(5)), alert_of("d", ONSET + steps(200))
    views.alerts.put(early)
    views.alerts.put(late)
    found = seen(views, alert_of("b"))
    (named,) = found.neighbours
    assert (named.asset, named.relationship, named.direction, named.alert) == ("a", "feeds", "in", early.id)
    assert named.summary == early.evidence.summary
    assert found.neighbours_known == 3
    far = context_of(views, alert_of("c"), {})
    assert far.neighbours[0].asset == "b", "it feeds c, and has its alert at the same step"
    assert [one.asset for one in far.neighbours] == ["b"], "a is two edges away"


def test_an_alert_of_a_neighbour_that_was_over_long_before_is_not_told(views: LiveViews) -> None:
    views.alerts.put(alert_of("a", ONSET - steps(300), state="cleared", cleared_ns=ONSET - steps(100)))
    assert seen(views, alert_of("b")).neighbours == []
    views.alerts.put(alert_of("a", ONSET - steps(299)))  # still on
    assert [one.asset for one in seen(views, alert_of("b")).neighbours] == ["a"]


async def test_risk_of_neighbours_about_the_onset_comes_from_the_store(views: LiveViews, store: TwinStore) -> None:
    at = [(ONSET // NS) + STEP_S * step for step in (-40, 2, 40)]
    for asset, risk in (("c", (0.1, 0.44, 0.1)), ("d", (0.9, 0.1, 0.9))):
        kept = plain_block(JUNCTION, [asset], at, channels=("demand", "pressure"))
        store.write_history([replace(kept, risk=np.array(risk, np.float32))])
    alert = alert_of("b")
    risks = await risks_about(views, store, alert)
    assert {asset: round(risk, 3) for asset, risk in risks.items()} == {"c": 0.44, "d": 0.1}
    (named,) = seen(views, alert, **risks).neighbours
    assert (named.name, named.direction, named.risk, named.alert) == ("Canal Street", "out", 0.44, None)
    store.close()  # away: what the views know is told
    assert await risks_about(views, store, alert) == {}


def test_what_a_neighbour_shows_now_counts_while_the_onset_is_now(views: LiveViews) -> None:
    for asset, time_ns in (("c", ONSET + steps(1)), ("d", ONSET + steps(100))):
        views.twins.put(
            TwinState(
                asset=asset, type=JUNCTION, time_ns=time_ns, values={}, quality={}, health="warning", risk=0.45,
                model_version="2", partition=0, offset=1,
            )
        )  # fmt: skip
    assert [one.asset for one in seen(views, alert_of("b")).neighbours] == ["c"]


def test_earlier_alerts_of_the_type_are_named_with_their_end_and_later_or_other_ones_are_not(views: LiveViews) -> None:
    said = [Comment(time_ns=0, by="kim", text="Hydrant was flushed."), Comment(time_ns=1, by="livetwin", text="cleared: …")]
    past = alert_of(
        "d", ONSET - steps(900), state="cleared", cleared_ns=ONSET - steps(880), false_alarm=True, comments=said,
        acknowledged_by="kim",
    )  # fmt: skip
    for one in (
        past,
        alert_of("c", ONSET - steps(800), off=3.1),
        alert_of("c", ONSET - steps(700), detector="level"),
        alert_of("c", ONSET - steps(600), type="dtmi:other;1"),
        alert_of("c", ONSET + steps(600)),
    ):
        views.alerts.put(one)
    (named,) = seen(views, alert_of("b")).similar
    assert (named.id, named.asset, named.false_alarm, named.acknowledged_by) == (past.id, "d", True, "kim")
    assert (named.similarity, named.comment, named.state) == (1.0, "Hydrant was flushed.", "cleared")
    views.alerts.put(past.model_copy(update={"revision": 2, "evidence": alert_of("d", off=3.1).evidence}))
    assert seen(views, alert_of("b")).similar == []


def test_a_swap_of_its_partition_before_the_onset_is_told_and_no_other(views: LiveViews) -> None:
    for partition, near in ((PARTITION, (70, 20, -5)), (PARTITION + 1, (10,))):
        switches = [Switch(offset=0, version="v0", sha256="ab", uri="file:///m")]
        switches += [
            Switch(offset=step + 100, version=f"v{step}", sha256="ab", uri="file:///m", event_ns=ONSET - steps(step))
            for step in near
        ]
        serving = Serving(name="water.junction", partition=partition, epoch=1, switches=switches, time_ns=0)
        views.models.apply(models_key(serving), serving.to_bytes())
    assert seen(views, alert_of("b")).swaps == [], "no version told yet of which type the model is"
    alias = {
        "kind": "alias", "name": "water.junction", "type": JUNCTION, "champion": "v0", "champion_sha256": "ab",
        "champion_uri": "file:///m", "since_ns": 0,
    }  # fmt: skip
    views.models.apply(b"water.junction/alias", orjson.dumps(alias))
    alert = alert_of("b")
    assert [one.version for one in seen(views, alert).swaps] == ["v20"]
    elsewhere = alert.evidence.model_copy(update={"partition": 7})
    assert context_of(views, alert.model_copy(update={"evidence": elsewhere}), {}).swaps == []


def test_events_of_the_twin_and_its_neighbours_close_in_time_are_told_the_own_ones_first(views: LiveViews) -> None:
    def put(asset: str, step: float, kind: str = "maintenance", text: str = "valve closed") -> None:
        event = EventRecord(asset=asset, time_ns=ONSET + steps(step), kind=kind, text=text)
        views.events.put(event)
        views.events.put(event)  # read twice

    put("a", -1)
    put("b", -50, text="x" * 10_000)
    put("b", -70)  # too long before
    put("b", 20)  # after its newest step
    put("e", -1)  # no neighbour
    found = seen(views, alert_of("b")).events
    assert [(one.asset, one.kind) for one in found] == [("b", "maintenance"), ("a", "maintenance")]
    assert len(found[0].text) == MOST_EVENT_TEXT


async def test_what_is_told_is_bounded(views: LiveViews, store: TwinStore) -> None:
    many = TwinDeclaration(
        asset="b", type=JUNCTION, relationships=tuple(Relationship(name="feeds", target=f"n{number}") for number in range(200))
    )
    views.definitions.apply(b"twin/b", many.model_dump_json().encode())
    for number in range(200):
        views.alerts.put(alert_of(f"n{number}", ONSET - steps(1)))
        for step in range(30):
            views.events.put(EventRecord(asset=f"n{number}", time_ns=ONSET - steps(step), kind="log", text="t"))
    found = seen(views, alert_of("b"))
    assert len(views.events.of("n0")) == MOST_EVENTS_OF_AN_ASSET
    assert len(found.neighbours) == alert_context.MOST_MOVING
    assert len(found.events) == alert_context.MOST_EVENTS
    assert found.neighbours_known == 201
    store.write_history([plain_block(JUNCTION, [f"n{number}" for number in range(200)], [ONSET // NS], channels=("demand",))])
    assert len(await risks_about(views, store, alert_of("b"))) == alert_context.MOST_NEIGHBOURS - 1, "a has no history"
    assert len(found.similar) <= 5


def test_an_alert_of_an_older_livetwin_is_answered_and_has_a_context(views: LiveViews) -> None:
    old = {
        "id": "x", "revision": 1, "asset": "b", "type": "dtmi:gone;1", "condition": "anomaly", "severity": "minor",
        "state": "active", "onset_ns": ONSET, "updated_ns": ONSET, "risk": 0.6,
        "evidence": {
            "channels": [{"name": "pressure", "seen": 1.0, "expected": 2.0, "contribution": 1.0}],
            "model_version": "1", "weights_sha256": "ab", "partition": 0, "first_offset": 0, "last_offset": 1,
        },
    }  # fmt: skip
    alert = Alert.model_validate_json(orjson.dumps(old))
    answer = AlertDetail.model_validate({**alert_answer(alert), "context": seen(views, alert)})
    assert (answer.evidence.summary, answer.evidence.detectors, answer.similar) == ("", {}, [])
    assert answer.evidence.channels[0].detector is None

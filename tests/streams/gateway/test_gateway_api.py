"""HTTP against the real app: shapes, paging, what is written to Kafka, and how errors read."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from streams.arrivals import Quiet
from streams.clients import read_to_end
from streams.model_records import ModelCommand
from streams.records import AlertCommand, DemoCommand, Feedback
from tests.streams.gateway.conftest import Running
from tests.streams.gateway.plant import BESIDE, LEAK, NOTE, NS, QUIET_TYPE, STEP_S

pytestmark = pytest.mark.kafka


def records(running: Running, topic: str) -> list[Any]:
    return asyncio.run(read_to_end(running.bootstrap, topic))


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The answer as RFC 9457 problem details."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["instance"] == answer.url.path
    return found


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_twins_have_the_published_shape_and_the_newest_values(http: httpx.Client, running: Running) -> None:
    found = {twin["id"]: twin for twin in http.get("/v1/twins").json()["twins"]}
    assert set(found) == set(running.plant.twins)
    for asset, state in running.plant.twins.items():
        twin = found[asset]
        assert twin["values"] == state.values
        assert (twin["type"], twin["health"], twin["risk"]) == (state.type, state.health, state.risk)
        assert twin["quality"] == state.quality
        assert twin["model_version"] == state.model_version
        assert twin["time"] == "2026-01-07T00:00:00Z"


def test_pages_of_twins_meet_each_twin_once(http: httpx.Client, running: Running) -> None:
    seen: list[str] = []
    after: str | None = None
    while True:
        page = http.get("/v1/twins", params={"limit": 7} | ({"after": after} if after else {})).json()
        assert len(page["twins"]) <= 7
        seen += [twin["id"] for twin in page["twins"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(running.plant.twins)


def test_twins_are_filtered_by_type_and_health(http: httpx.Client, running: Running) -> None:
    tanks = http.get("/v1/twins", params={"type": "water.tank"}).json()["twins"]
    assert {twin["type"] for twin in tanks} == {"dtmi:livetwin:water:Tank;1"}
    assert tanks == http.get("/v1/twins", params={"type": "dtmi:livetwin:water:Tank;1"}).json()["twins"]
    alarms = http.get("/v1/twins", params={"health": "alarm"}).json()["twins"]
    assert [twin["id"] for twin in alarms] == [LEAK.asset]
    assert http.get("/v1/twins", params={"type": "dtmi:none:Such;1"}).json() == {"twins": [], "next": None}


def test_one_twin_tells_its_units_neighbours_and_open_alerts(http: httpx.Client, running: Running) -> None:
    twin = http.get(f"/v1/twins/{LEAK.asset}").json()
    assert twin["units"]["pressure"] == "metre"
    assert twin["neighbours"]
    assert twin["alerts"] == [running.plant.alerts[0].id]
    assert {"x", "y"} <= set(twin["properties"])


def test_history_gives_the_steps_that_were_written(http: httpx.Client, running: Running) -> None:
    blocks = [block for block in running.plant.blocks if block.asset[0] == LEAK.asset]
    values = np.concatenate([block.values for block in blocks])
    times = np.concatenate([block.time_ns for block in blocks])
    place = blocks[0].channels.index("pressure")
    params = {"channel": "pressure", "from": "2026-01-06T00:00:00Z", "to": "2026-01-06T06:00:00Z", "points": 5000}
    answer = http.get(f"/v1/twins/{LEAK.asset}/history", params=params).json()
    wanted = (times >= 1_767_657_600 * NS) & (times < 1_767_679_200 * NS)
    (channel,) = answer["channels"]
    assert channel["name"] == "pressure"
    np.testing.assert_allclose(channel["value"], values[wanted, place], rtol=1e-5)
    assert channel["time"][0] == "2026-01-06T00:00:00Z"
    assert set(answer["risk"]["version"]) <= {"0001-ab12cd34", "0002-ef56ab78"}
    same = http.get(f"/v1/twins/{LEAK.asset}/history", params=params | {"from": 1_767_657_600, "to": 1_767_679_200_000}).json()
    assert same["channels"] == answer["channels"]


def test_history_is_downsampled_to_what_was_asked(http: httpx.Client) -> None:
    answer = http.get(f"/v1/twins/{LEAK.asset}/history", params={"points": 20}).json()
    for channel in answer["channels"]:
        assert 0 < len(channel["value"]) <= 20
        assert len({len(channel[name]) for name in ("time", "value", "low", "high", "expected", "spread", "quality")}) == 1
        assert all(
            low <= value <= high for low, value, high in zip(channel["low"], channel["value"], channel["high"], strict=True)
        )


def test_alerts_carry_their_evidence_newest_first(http: httpx.Client, running: Running) -> None:
    found = http.get("/v1/alerts").json()["alerts"]
    assert [alert["id"] for alert in found] == [alert.id for alert in sorted(running.plant.alerts, key=lambda one: -one.onset_ns)]
    alert = next(one for one in found if one["asset"] == LEAK.asset)
    assert (alert["state"], alert["acknowledged"], alert["severity"], alert["condition"]) == ("active", False, "major", "anomaly")
    assert alert["onset"].endswith("Z")
    evidence = alert["evidence"]
    assert {"name": "pressure", "seen": 38.21, "expected": 44.87}.items() <= evidence["channels"][0].items()
    assert {"model_version", "weights_sha256", "partition", "first_offset", "last_offset"} <= set(evidence)


def test_one_alert_tells_what_stands_beside_it_in_the_fleet(http: httpx.Client, running: Running) -> None:
    leak, past, beside = running.plant.alerts
    answer = http.get(f"/v1/alerts/{leak.id}").json()
    assert answer["evidence"]["summary"].startswith("pressure stays 6.41 m below")
    assert answer["evidence"]["channels"][0]["over_s"] == 8 * STEP_S
    context = answer["context"]
    (near,) = context["neighbours"]
    assert (near["asset"], near["direction"], near["alert"]) == (BESIDE, "in", beside.id)
    assert [(one["id"], one["comment"]) for one in context["similar"]] == [(past.id, "Hydrant was flushed.")]
    assert [(one["kind"], one["text"]) for one in context["events"]] == [("maintenance", NOTE)], "ground truth is none"
    assert context["swaps"] == []
    problem(http.get("/v1/alerts/none-such"), 404)


def test_alerts_are_filtered_and_paged(http: httpx.Client, running: Running) -> None:
    assert {one["state"] for one in http.get("/v1/alerts", params={"state": "active"}).json()["alerts"]} == {"active"}
    assert [one["asset"] for one in http.get("/v1/alerts", params={"asset": LEAK.asset}).json()["alerts"]] == [LEAK.asset]
    assert [one["severity"] for one in http.get("/v1/alerts", params={"severity": "minor"}).json()["alerts"]] == ["minor"]
    first = http.get("/v1/alerts", params={"limit": 2}).json()
    rest = http.get("/v1/alerts", params={"limit": 2, "after": first["next"]}).json()
    assert len({one["id"] for one in first["alerts"] + rest["alerts"]}) == len(running.plant.alerts)
    assert rest["next"] is None
    problem(http.get("/v1/alerts", params={"after": "nonsense"}), 400)


def test_models_tell_champion_history_refusals_and_who_serves(http: httpx.Client) -> None:
    models = {model["name"]: model for model in http.get("/v1/models").json()["models"]}
    model = models["water.junction"]
    assert model["champion"]["version"] == "0002-ef56ab78"
    assert {"sha256", "since"} <= set(model["champion"])
    assert model["challenger"] is None
    assert [one["decision"] for one in model["history"]] == ["refused", "champion", "retired"]
    assert all(one["why"] and one["time"].endswith("Z") and one["figures"] for one in model["history"])
    assert model["refusals"][0]["version"] == "0004-deadbeef"
    assert [(one["partition"], one["version"]) for one in model["serving"]] == [(0, "0002-ef56ab78"), (1, "0002-ef56ab78")]


def test_alarms_raised_beside_those_asked_for_are_told(http: httpx.Client) -> None:
    models = {model["name"]: model for model in http.get("/v1/models").json()["models"]}
    told = models["water.junction"]["alarms"]
    assert (told["version"], told["target"], told["twins"]) == ("0002-ef56ab78", 0.02, 59)
    assert told["week"] == {"alarms": 3, "expected": 8.26, "twin_days": 413.0, "ratio": 0.3632}
    assert told["since_version"]["alarms"] == 1
    assert models["water.tank"]["alarms"] is None
    assert http.get("/v1/models/water.junction").json()["alarms"] == told
    lines = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if not line.startswith("#"))
    assert float(lines['livetwin_alarms_raised{model="water.junction",period="week"}']) == 3
    assert float(lines['livetwin_alarms_expected{model="water.junction",period="version"}']) == pytest.approx(2.36)
    assert float(lines['livetwin_alarms_raised_over_expected{model="water.junction",period="week"}']) == pytest.approx(0.3632)


def test_a_version_has_a_model_card_as_json_and_markdown(http: httpx.Client) -> None:
    card = http.get("/v1/models/water.junction/versions/0002-ef56ab78").json()
    assert (card["model"]["base"], card["decision"]["decision"]) == ("0001-ab12cd34", "champion")
    assert (card["data"]["twins"], card["data"]["days"], card["data"]["period_s"]) == (25, 7.0, 300.0)
    assert card["gate"] == {"loss": {"candidate": -0.395, "champion": -0.375}}
    assert card["hygiene"] == {"alerted": 12.0}
    assert card["compute"]["energy"]["wh"] == pytest.approx(0.073)
    assert card["faults"]["confusion"] == [[4, 0], [2, 2]]
    assert http.get("/v1/models/water.junction/versions/0001-ab12cd34").json()["faults"] is None
    text = http.get("/v1/models/water.junction/versions/0002-ef56ab78/card.md")
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "| energy | 0.073 Wh (processor 0.021, memory 0.052, GPU 0) |" in text.text
    assert "| normal | 2 | 2 | 1 | 0.5 | 0.667 |" in text.text
    problem(http.get("/v1/models/water.junction/versions/0009-none"), 404)
    problem(http.get("/v1/models/no.such/versions/0002-ef56ab78"), 404)


def test_the_energy_of_updates_and_of_scoring_is_told(http: httpx.Client) -> None:
    scoring = http.get("/v1/system").json()["scoring"]
    assert (scoring["processors"], scoring["scored_steps"], scoring["cpu_s"]) == (2, 100_000, 18.0)
    assert scoring["wh_per_million_steps"] == pytest.approx(0.2)  # 18 s of 4 W are 0.02 Wh for a tenth of a million
    told = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if not line.startswith("#"))
    assert float(told["livetwin_energy_watt_hours_per_million_steps"]) == pytest.approx(0.2)
    assert float(told['livetwin_processor_energy_watt_hours_total{processor="aa"}']) == pytest.approx(0.01)
    assert float(told['livetwin_update_energy_watt_hours{model="water.tank"}']) == pytest.approx(0.073)
    assert 'livetwin_processor_cpu_seconds_total{processor="old"}' not in told


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_telemetry_lands_on_the_topic_keyed_by_asset(http: httpx.Client, running: Running) -> None:
    single = {"asset": "http-1", "time": "2026-01-01T00:00:00Z", "flow": 1.25}
    columns = {"asset": "http-2", "time": [1_767_225_600, 1_767_225_601], "flow": [1, None], "on": [True, False]}
    assert http.post("/v1/telemetry", json=single).json() == {
        "records": 1, "readings": 1, "assets": 1, "items": 1, "refused": [],
    }  # fmt: skip
    answer = http.post("/v1/telemetry", json=[columns, single])
    assert answer.status_code == 202
    assert answer.json() == {"records": 2, "readings": 3, "assets": 2, "items": 2, "refused": []}
    every = records(running, running.topics.telemetry)
    found = [(one.key, orjson.loads(one.value)) for one in every if one.key in (b"http-1", b"http-2")]
    assert sorted(key for key, _ in found) == [b"http-1", b"http-1", b"http-2"]
    assert (b"http-2", columns) in found
    assert (b"http-1", single) in found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"time": 1}, "asset is"),
        ({"asset": "p1", "flow": 1}, "time is"),
        ({"asset": "p1", "time": "yesterday", "flow": 1}, "'yesterday'"),
        ({"asset": "p1", "time": 1, "flow": "fast"}, "flow is 'fast'"),
        ({"asset": "p1", "time": 1}, "no channel"),
        ({"asset": "p1", "time": [1, 2], "flow": [1]}, "expected a list of 2"),
        ({"asset": "p1", "time": 1, "flow": [1, 2]}, "time is not"),
        ([], "0 items"),
        ("text", "JSON str"),
    ],
)
def test_bad_telemetry_is_refused_by_name_and_what_is_good_beside_it_is_taken(
    http: httpx.Client, running: Running, body: Any, says: str
) -> None:
    before = len(records(running, running.topics.telemetry))
    found = problem(http.post("/v1/telemetry", json=body), 400)
    assert says in found["detail"]
    assert len(records(running, running.topics.telemetry)) == before
    if isinstance(body, dict):
        assert found["errors"][0]["where"].startswith("item 0")
        answer = http.post("/v1/telemetry", json=[{"asset": "p1", "time": 1, "flow": 1}, body])
        assert answer.status_code == 207
        taken = answer.json()
        assert (taken["items"], taken["records"], [one["where"][:6] for one in taken["refused"]]) == (2, 1, ["item 1"])
        assert says in taken["refused"][0]["message"]
        assert len(records(running, running.topics.telemetry)) == before + 1


def test_a_body_that_is_too_large_or_no_json_is_said_to_be(http: httpx.Client) -> None:
    assert "8,388,608" in problem(http.post("/v1/telemetry", json={"asset": "a" * 9_000_000, "time": 1}), 413)["detail"]
    chunks = (b"x" * 100_000 for _ in range(100))
    problem(http.post("/v1/telemetry", content=chunks, headers={"content-type": "application/json"}), 413)
    problem(http.post("/v1/telemetry", content=b"{", headers={"content-type": "application/json"}), 400)
    problem(http.post("/v1/telemetry", content=b"{}", headers={"content-type": "text/plain"}), 415)


def test_events_land_on_their_topic(http: httpx.Client, running: Running) -> None:
    answer = http.post(
        "/v1/events", json={"asset": "p9", "time": "2026-01-01T00:00:00Z", "kind": "maintenance", "text": "bearing changed"}
    )
    assert answer.status_code == 202
    values = [orjson.loads(one.value) for one in records(running, running.topics.events)]
    assert any(value["text"] == "bearing changed" and value["time_ns"] == 1_767_225_600 * NS for value in values)
    problem(http.post("/v1/events", json={"asset": "p9", "time": 1}), 400)


def test_what_an_operator_says_of_an_alert_becomes_one_command(http: httpx.Client, running: Running) -> None:
    alert = running.plant.alerts[1].id
    said: dict[str, dict[str, Any]] = {
        "acknowledge": {"by": "kim"},
        "comment": {"text": "seen it", "by": "kim"},
        "shelve": {"until": "2026-02-01T00:00:00Z"},
        "false-alarm": {},
    }
    ids = {}
    for action, body in said.items():
        answer = http.post(f"/v1/alerts/{alert}:{action}", json=body)
        assert answer.status_code == 202, answer.text
        ids[answer.json()["command_id"]] = action
    again = http.post(f"/v1/alerts/{alert}:comment", json={"text": "seen it", "command_id": "c-1"})
    assert again.json()["command_id"] == "c-1"
    found = [(one.key, AlertCommand.model_validate_json(one.value)) for one in records(running, running.topics.alert_commands)]
    mine = {command.command_id: command for key, command in found if key == alert.encode()}
    assert {ids[one]: mine[one].action for one in ids} == {action: action for action in said}
    shelved = next(command for command in mine.values() if command.action == "shelve")
    assert shelved.until_ns == 1_769_904_000 * NS
    assert all(command.asset == running.plant.alerts[1].asset for command in mine.values())
    problem(http.post("/v1/alerts/none-such:acknowledge"), 404)
    problem(http.post(f"/v1/alerts/{alert}:comment", json={"text": ""}), 422)
    problem(http.post(f"/v1/alerts/{alert}:shelve", json={"until": "soon"}), 400)


def test_a_label_is_feedback_of_the_period_of_the_alert(http: httpx.Client, running: Running) -> None:
    alert = running.plant.alerts[1]
    answer = http.post(f"/v1/alerts/{alert.id}:label", json={"label": " leak ", "by": "kim"})
    assert answer.status_code == 202, answer.text
    given = [Feedback.model_validate_json(one.value) for one in records(running, running.topics.feedback)]
    (found,) = (one for one in given if one.by == "kim")
    until_ns = (alert.cleared_ns or alert.updated_ns) + 1
    assert found == Feedback(asset=alert.asset, from_ns=alert.onset_ns, to_ns=until_ns, label="leak", by="kim", alert_id=alert.id)
    assert Feedback.model_validate(answer.json()) == found
    problem(http.post("/v1/alerts/none-such:label", json={"label": "leak"}), 404)
    problem(http.post(f"/v1/alerts/{alert.id}:label", json={"label": " "}), 422)


def test_model_commands_reach_the_trainer_or_say_why_not(http: httpx.Client, running: Running) -> None:
    assert http.post("/v1/models/water.tank:promote", json={"version": "0001-ab12cd34"}).status_code == 202
    assert http.post("/v1/models/water.tank:rollback").status_code == 202
    assert http.post("/v1/models/water.tank:train").status_code == 202
    found = [one for one in records(running, running.topics.models) if b"/command/" in one.key]
    commands = [ModelCommand.model_validate_json(one.value) for one in found]
    assert [(one.name, one.action, one.version) for one in commands] == [
        ("water.tank", "promote", "0001-ab12cd34"),
        ("water.tank", "rollback", None),
        ("water.tank", "train", None),
    ]
    assert "0009" in problem(http.post("/v1/models/water.tank:promote", json={"version": "0009"}), 404)["detail"]
    problem(http.post("/v1/models/no.such:train"), 404)
    problem(http.post("/v1/models/water.tank:promote", json={}), 422)


def test_faults_are_switched_and_listed_beside_the_ground_truth(http: httpx.Client, running: Running) -> None:
    first = http.get("/v1/demo/faults").json()
    assert [(one["fault"], one["asset"]) for one in first["faults"]] == [("leak", LEAK.asset)]
    assert first["events"][0]["label"] == "leak"
    asset = next(asset for asset in running.plant.twins if asset.startswith("tank-"))
    assert (
        http.post("/v1/demo/faults", json={"fault": "offset", "asset": asset, "channel": "level", "size": 0.5}).status_code == 202
    )
    found = records(running, running.topics.demo_commands)
    assert any(
        one.key == f"fault/offset/{asset}".encode() and DemoCommand.model_validate_json(one.value).size == 0.5 for one in found
    )
    assert http.post("/v1/demo/faults", json={"fault": "offset", "asset": asset, "active": False}).status_code == 202
    problem(http.post("/v1/demo/faults", json={"fault": "leak", "asset": "nowhere"}), 404)
    problem(http.post("/v1/demo/faults", json={"fault": "stuck", "asset": asset, "channel": "colour"}), 422)
    problem(http.post("/v1/demo/faults", json={"fault": "meteor", "asset": asset}), 422)


# ── errors and contracts ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_error_is_problem_details(http: httpx.Client) -> None:
    assert "no-such" in problem(http.get("/v1/twins/no-such"), 404)["detail"]
    problem(http.get("/v1/twins/no-such/history"), 404)
    problem(http.get("/v1/nothing"), 404)
    assert "GET" in problem(http.delete("/v1/twins"), 405)["detail"]
    assert problem(http.get("/v1/twins", params={"limit": 0}), 422)["errors"][0]["where"] == "query.limit"
    problem(http.get(f"/v1/twins/{LEAK.asset}/history", params={"from": "noon"}), 400)
    problem(http.get(f"/v1/twins/{LEAK.asset}/history", params={"channel": "colour"}), 400)
    problem(http.get(f"/v1/twins/{LEAK.asset}/history", params={"from": 2000, "to": 1000}), 400)


def test_a_name_from_elsewhere_does_not_reach_a_gateway_on_loopback(http: httpx.Client) -> None:
    assert http.get("/v1/twins", headers={"host": "evil.example"}).status_code == 400


def test_contracts_describe_routes_and_topics(http: httpx.Client, running: Running) -> None:
    openapi = http.get("/openapi.json").json()
    assert openapi["openapi"].startswith("3.1")
    assert {"/v1/twins", "/v1/alerts/{id}:false-alarm", "/v1/models/{name}:rollback", "/v1/telemetry", "/v1/stream"} <= set(
        openapi["paths"]
    )
    for path, operations in openapi["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
    asyncapi = http.get("/asyncapi.json").json()
    assert asyncapi["asyncapi"].startswith("3.")
    assert {channel["address"] for channel in asyncapi["channels"].values()} == {spec.name for spec in running.topics.specs(1)}
    state = asyncapi["components"]["schemas"]["TwinState"]
    assert {"asset", "time_ns", "values", "risk"} <= set(state["properties"])


def test_metrics_count_twins_alerts_lag_and_requests(http: httpx.Client, running: Running) -> None:
    http.get("/v1/twins/no-such")
    text = http.get("/metrics").text
    assert 'livetwin_twins{health="alarm",type="water.junction"} 1.0' in text
    assert 'livetwin_alerts_active{acknowledged="false",severity="major"}' in text
    assert "livetwin_historian_lag_records" in text
    assert "livetwin_store_size_bytes" in text
    behind = running.topics.telemetry
    assert f'livetwin_role_lag_records{{role="trainer",topic="{behind}"}} ' in text
    assert 'livetwin_role_members{role="historian"} 1.0' in text
    assert 'livetwin_role_members{role="processor"} 0.0' in text
    assert 'livetwin_http_requests_total{method="GET",route="/v1/twins/{id}",status="404"}' in text
    assert "livetwin_dead_letter_records 1.0" in text


def test_a_type_of_which_nothing_comes_any_more_is_told_everywhere(http: httpx.Client, running: Running) -> None:
    tanks = [state for state in running.plant.twins.values() if state.type == QUIET_TYPE]
    deadline = time.monotonic() + 60
    while (arrivals := http.get("/v1/system").json()["arrivals"]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert {one["type"] for one in arrivals if one["quiet"]} >= {QUIET_TYPE}
    of_tanks = [one for one in arrivals if one["type"] == QUIET_TYPE]
    assert sum(one["twins"] for one in of_tanks) == len(tanks)
    for one in arrivals:
        past_s = time.time() - datetime.fromisoformat(one["last_came"]).timestamp()
        assert one["quiet"] == (past_s > one["expected_within_s"])
    place = f'{{partition="{of_tanks[0]["partition"]}",type="water.tank"}}'
    text = http.get("/metrics").text
    assert f"livetwin_quiet{place} 1.0" in text
    assert f"livetwin_last_step_came_seconds{place} " in text
    monitored = records(running, running.topics.monitoring)
    told = [Quiet.model_validate_json(one.value) for one in monitored if (one.key or b"").startswith(b"quiet/")]
    assert {(one.type, one.partition) for one in told if one.quiet} >= {(one["type"], one["partition"]) for one in of_tanks}


def test_the_system_shows_lag_and_refused_records_with_their_reason(http: httpx.Client, running: Running) -> None:
    found = http.get("/v1/system").json()
    assert found["broker"]["reachable"]
    assert found["lag"]["historian"]["members"] == 1
    assert found["lag"]["historian"]["records"][running.topics.history] == 0
    assert set(found["lag"]) == {"processor", "historian", "alerting", "trainer"}
    assert found["dead_letters"]["count"] == 1
    assert found["dead_letters"]["newest"][0]["reason"] == "json"

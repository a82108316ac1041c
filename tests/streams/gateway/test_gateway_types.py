"""Types, Thing Descriptions and the fleet graph over HTTP, of the demo plant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import jsonschema_rs
import pytest

from deploy.feeds.interfaces import interface
from streams.gateway.examples import EXAMPLES
from tests.streams.gateway.conftest import Running
from tests.streams.gateway.test_gateway_api import problem

pytestmark = pytest.mark.kafka

SCHEMA = json.loads((Path(__file__).parents[2] / "twin" / "schemas" / "td-1.1.json").read_text())


def test_types_are_those_declared_with_units_and_contract(http: httpx.Client, running: Running) -> None:
    found = http.get("/v1/types").json()
    assert [one["id"] for one in found["types"]] == sorted(
        f"dtmi:livetwin:water:{n};1" for n in ("Junction", "Pipe", "Pump", "Tank")
    )
    assert (found["problems"], found["next"]) == ({}, None)
    tank = next(one for one in found["types"] if one["short_name"] == "water.tank")
    assert {one["name"]: one["unit"] for one in tank["channels"]} == {"inflow": "litrePerSecond", "level": "metre"}
    assert sum(one["twins"] for one in found["types"]) == running.plant.declarations
    detail = http.get("/v1/types/water.tank").json()
    assert detail["interface"]["contents"] == interface("water.tank")["contents"]
    assert [
        one["id"] for one in http.get("/v1/types", params={"limit": 2, "after": found["types"][0]["id"]}).json()["types"]
    ] == [one["id"] for one in found["types"][1:3]]
    problem(http.get("/v1/types/dtmi:plant:Nothing;1"), 404)


def test_every_twin_is_a_thing_whose_addresses_answer(http: httpx.Client, running: Running) -> None:
    validator = jsonschema_rs.validator_for(SCHEMA)
    for asset in running.plant.twins:
        answer = http.get(f"/v1/twins/{asset}/td")
        assert answer.headers["content-type"] == "application/td+json"
        assert validator.is_valid(answer.json()), asset
    thing: dict[str, Any] = answer.json()
    values = http.get(urljoin(thing["base"], thing["forms"][0]["href"])).json()
    assert set(thing["properties"]) <= set(values)
    for name, affordance in thing["properties"].items():
        value = http.get(urljoin(thing["base"], affordance["forms"][0]["href"])).json()
        assert value == values[name]
        if value is not None:
            assert jsonschema_rs.is_valid({"type": affordance["type"]}, value)
    problem(http.get("/v1/twins/nobody/td"), 404)
    problem(http.get(f"/v1/twins/{asset}/values/nothing"), 404)


def test_the_fleet_is_asked_by_type_relationship_distance_and_static_data(http: httpx.Client, running: Running) -> None:
    whole = http.get("/v1/fleet").json()
    assert whole["total"] == running.plant.declarations
    assert whole["problems"] == []
    tank = http.get("/v1/fleet", params={"type": "water.tank"}).json()["twins"][0]
    near = http.get("/v1/fleet", params={"from": tank["id"], "depth": 1}).json()
    assert {one["id"] for one in near["twins"] if one["distance"] == 1} == set(
        http.get(f"/v1/twins/{tank['id']}").json()["neighbours"]
    )
    name, value = next((name, value) for name, value in tank["properties"].items() if isinstance(value, float))
    same = http.get("/v1/fleet", params={f"property.{name}": f">={value}", "type": "water.tank"}).json()
    assert tank["id"] in {one["id"] for one in same["twins"]}
    assert all(one["properties"][name] >= value for one in same["twins"])


def test_an_answer_without_twins_says_why(http: httpx.Client) -> None:
    assert http.get("/v1/fleet", params={"type": "water.tank"}).json()["why_nothing"] == []
    found = http.get("/v1/fleet", params={"type": "water.tank", "property.elevation": ">1e6"}).json()
    assert found["total"] == 0
    assert found["why_nothing"][0].startswith("No twin has elevation >1e6. It goes from ")


def test_every_example_fits_its_schema_and_has_the_fields_that_are_really_answered(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for path, example in EXAMPLES.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        assert content["example"] == example, path
        schema = {**content["schema"], "components": document["components"]}
        jsonschema_rs.validate(schema, example)
        kind = "water.tank" if path.startswith("/v1/types") else "tank-1"
        found = http.get(path.format(id=kind, name="level")).json()
        assert jsonschema_rs.is_valid(schema, found), path
        if isinstance(example, dict):
            assert set(example) == set(found), path


def test_the_commands_of_the_http_page_are_answered(http: httpx.Client) -> None:
    text = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
    asked = re.findall(r"^curl '?http://127\.0\.0\.1:8080([^'\s]+)'?$", text, re.MULTILINE)
    assert len(asked) >= 8
    for address in asked:
        answer = http.get(address)
        assert answer.status_code == 200, f"{address}: {answer.text}"
        if address.startswith("/v1/fleet"):
            assert answer.json()["twins"], address


def test_pages_of_the_fleet_meet_each_twin_and_each_edge_once(http: httpx.Client) -> None:
    whole = http.get("/v1/fleet").json()
    twins: list[str] = []
    edges: list[Any] = []
    after: str | None = None
    while True:
        page = http.get("/v1/fleet", params={"limit": 9} | ({"after": after} if after else {})).json()
        twins += [one["id"] for one in page["twins"]]
        edges += page["edges"]
        after = page["next"]
        if after is None:
            break
    assert twins == [one["id"] for one in whole["twins"]]
    assert edges == whole["edges"]


def test_a_question_that_is_misspelt_or_about_nobody_is_a_problem(http: httpx.Client) -> None:
    assert (
        "relationshp: expected one of after, depth"
        in problem(http.get("/v1/fleet", params={"relationshp": "feeds"}), 400)["detail"]
    )
    problem(http.get("/v1/fleet", params={"from": "nobody"}), 404)
    problem(http.get("/v1/fleet", params={"depth": -1}), 422)

"""Thing Descriptions are what the W3C's own schema takes, whatever the type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.feeds.interfaces import interface
from twin.fleet import Relationship, TwinDeclaration
from twin.thing_description import describe_twin, describe_type
from twin.types import compile_type

SCHEMA = jsonschema_rs.validator_for(json.loads((Path(__file__).parent / "schemas" / "td-1.1.json").read_text()))
BASE = "http://127.0.0.1:8080/"


def faults(document: dict[str, Any]) -> list[str]:
    return [f"{list(one.instance_path)}: {one.message}" for one in SCHEMA.iter_errors(json.loads(json.dumps(document)))]


NAMES = ["water.tank", "water.pump", "water.pipe", "water.junction", "host.computer", "host.disk", "host.network", "host.process"]


@pytest.mark.parametrize("name", NAMES)
def test_demo_types_are_things(name: str) -> None:
    assert faults(describe_type(compile_type(interface(name)), BASE)) == []


def test_the_schema_does_refuse() -> None:
    described = describe_type(compile_type(interface("water.tank")), BASE)
    assert faults({**described, "securityDefinitions": {}})
    del described["properties"]["level"]["forms"]
    assert faults(described)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=5) | st.booleans() | st.floats(-1e9, 1e9), max_size=4),
    st.text(min_size=1, max_size=20),
)
def test_any_twin_is_a_thing(properties: dict[str, Any], asset: str) -> None:
    twin = TwinDeclaration(
        asset=asset,
        type="dtmi:livetwin:water:Tank;1",
        properties=properties,
        relationships=(Relationship(name="feeds", target=asset),),
    )
    described = describe_twin(compile_type(interface("water.tank")), twin, BASE)
    assert faults(described) == []
    assert all(described["properties"][name]["const"] == value for name, value in properties.items())


def test_an_enumeration_names_its_words() -> None:
    words = {"@type": "Enum", "valueSchema": "string", "enumValues": [{"name": n, "enumValue": n} for n in ("closed", "open")]}
    valve = {"@type": "Telemetry", "name": "valve", "schema": words}
    kind = compile_type({"@id": "dtmi:p:Valve;3", "@type": "Interface", "contents": [valve]})
    described = describe_type(kind, BASE)
    assert faults(described) == []
    assert described["properties"]["valve"]["oneOf"] == [{"const": 0, "title": "closed"}, {"const": 1, "title": "open"}]
    assert described["version"] == {"instance": "3", "model": "3"}

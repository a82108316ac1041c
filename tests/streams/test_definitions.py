"""The view of `definitions`: any order of its records gives the same types, and what can't be used says why."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import orjson
import pytest

from streams.definitions import Definitions


def interface(identifier: str, *contents: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"@context": "dtmi:dtdl:context;3", "@id": identifier, "@type": "Interface", "contents": list(contents), **more}


def telemetry(name: str, **more: Any) -> dict[str, Any]:
    return {"@type": "Telemetry", "name": name, "schema": "double", **more}


MOTOR = interface("dtmi:plant:Motor;1", telemetry("speed"))
MACHINE = interface("dtmi:plant:Machine;1", telemetry("temp"))
PUMP = interface(
    "dtmi:plant:Pump;1", {"@type": "Component", "name": "motor", "schema": "dtmi:plant:Motor;1"}, extends="dtmi:plant:Machine;1"
)


def view(*interfaces: dict[str, Any]) -> Definitions:
    found = Definitions()
    for one in interfaces:
        found.apply(f"type/{one['@id']}".encode(), orjson.dumps(one))
    return found


def test_interfaces_may_come_in_any_order() -> None:
    for order in permutations([MOTOR, MACHINE, PUMP]):
        found = view(*order)
        assert found.types["dtmi:plant:Pump;1"].channel_names == ("motor.speed", "temp")
        assert found.faults == {}


def test_a_type_whose_base_is_missing_waits_and_says_for_what() -> None:
    found = view(MOTOR, PUMP)
    assert "dtmi:plant:Pump;1" not in found.types
    assert found.faults == {"type/dtmi:plant:Pump;1": "waits for dtmi:plant:Machine;1"}


def test_a_declaration_that_can_not_be_used_leaves_the_one_before() -> None:
    found = view(MOTOR)
    assert not found.apply(b"type/dtmi:plant:Motor;1", orjson.dumps({**MOTOR, "samplingPeriod": "five"}))
    assert found.types["dtmi:plant:Motor;1"].period_ns == 1_000_000_000
    assert "at /samplingPeriod: found 'five'" in found.faults["type/dtmi:plant:Motor;1"]
    assert found.interfaces["dtmi:plant:Motor;1"] == MOTOR


def test_a_base_that_changes_changes_the_types_that_extend_it() -> None:
    found = view(MOTOR, MACHINE, PUMP)
    revision = found.revision
    found.apply(b"type/dtmi:plant:Machine;1", orjson.dumps({**MACHINE, "samplingPeriod": "PT5S"}))
    assert found.types["dtmi:plant:Pump;1"].period_ns == 5_000_000_000
    assert found.revision > revision


def test_a_twin_of_a_type_that_has_not_come_says_so_until_it_comes() -> None:
    found = view()
    found.apply(b"twin/p1", orjson.dumps({"asset": "p1", "type": "dtmi:plant:Motor;1"}))
    assert found.faults == {"twin/p1": "waits for dtmi:plant:Motor;1"}
    found.apply(b"type/dtmi:plant:Motor;1", orjson.dumps(MOTOR))
    assert found.faults == {}
    assert found.type_of("p1") is found.types["dtmi:plant:Motor;1"]


def test_two_types_of_one_short_name_do_not_share_a_model() -> None:
    found = view(MOTOR, {**MOTOR, "@id": "dtmi:livetwin:plant:motor;1"}, {**MOTOR, "samplingPeriod": "PT5S"})
    assert list(found.types) == ["dtmi:plant:Motor;1"]
    assert found.types["dtmi:plant:Motor;1"].period_ns == 5_000_000_000
    assert found.by_slug("plant.motor") is found.types["dtmi:plant:Motor;1"]
    assert "its short name 'plant.motor' is that of dtmi:plant:Motor;1" in found.faults["type/dtmi:livetwin:plant:motor;1"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("home/p1", b'{"asset":"p1"}', "'home/p1' is no AssetHome: partition: Field required"),
        ("unknown/p1", b"nonsense", "'unknown/p1' is no UnknownAsset: value: Invalid JSON"),
        ("terms/p1/3", b'{"asset":"p1","epoch":4,"terms":[]}', "a TwinTerms of 'terms/p1/4' stands under the key 'terms/p1/3'"),
        ("terms/p1/3", b'{"asset":"p1","epoch":3,"terms":[]}', "'terms/p1/3' has terms from offsets [], expected rising ones"),
        ("twin/p1", b'{"asset":"p2","type":"dtmi:a;1"}', "a TwinDeclaration of 'twin/p2' stands under the key 'twin/p1'"),
        ("property/p1/5", b'{"asset":"p1","time":6,"properties":{}}', "of 'property/p1/6' stands under the key 'property/p1/5'"),
    ],
)
def test_a_record_that_is_not_what_its_key_says_is_named_and_changes_nothing(key: str, value: bytes, expected: str) -> None:
    view = Definitions()
    assert not view.apply(key.encode(), value)
    assert expected in view.faults[key]
    assert view.faults[key].endswith("; not used")
    assert view.revision == 0

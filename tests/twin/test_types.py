"""Twin types: what an interface says is what the channel holds, and what can't be is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import TypeInvalid
from twin.type_sets import compile_set
from twin.types import compile_type


def interface(**telemetry: Any) -> dict[str, Any]:
    element = {"@type": "Telemetry", "name": "level", "schema": "double", **telemetry}
    return {"@id": "dtmi:plant:Tank;1", "@type": "Interface", "contents": [element]}


def test_gap_rule_spike_limit_and_role_are_the_channels() -> None:
    (channel,) = compile_type(interface(gapRule="linear", gapLimit=3, spikeLimit=0.5, role="state")).channels
    assert (channel.gap_rule, channel.gap_limit, channel.spike_limit, channel.role) == ("linear", 3, 0.5, "state")


def test_a_gap_is_held_for_six_steps_unless_the_type_says_otherwise() -> None:
    (channel,) = compile_type(interface()).channels
    assert (channel.gap_rule, channel.gap_limit, channel.spike_limit, channel.role) == ("hold", 6, None, "sensor")


@pytest.mark.parametrize(
    ("found", "expected"), [({"gapRule": "guess"}, "'hold'"), ({"role": "boss"}, "'actuator'"), ({"spikeLimit": -1}, "0 or more")]
)
def test_a_word_or_limit_that_can_not_be_is_refused(found: dict[str, Any], expected: str) -> None:
    with pytest.raises(TypeInvalid, match=expected):
        compile_type(interface(**found))


# ── one interface ───────────────────────────────────────────────────────────────────────────────────────────────────


def findings(*documents: Any) -> list[str]:
    return [str(one) for one in compile_set([("plant.json", one) for one in documents]).errors]


def with_contents(*contents: Any, identifier: str = "dtmi:plant:Pump;1", **more: Any) -> dict[str, Any]:
    return {"@context": "dtmi:dtdl:context;3", "@id": identifier, "@type": "Interface", "contents": list(contents), **more}


def telemetry(name: str = "flow", **more: Any) -> dict[str, Any]:
    return {"@type": "Telemetry", "name": name, "schema": "double", **more}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (3, "? at /: found 3, expected a DTDL interface, which is a JSON object"),
        ({"@id": "pump"}, "? at /@id: found 'pump', expected a DTMI such as 'dtmi:plant:Pump;1'"),
        ({"@id": "dtmi:plant:Pump;1", "@type": "Thing"}, "at /@type: found 'Thing', expected 'Interface'"),
        (with_contents(telemetry(), **{"@context": "dtmi:dtdl:context;9"}), "at /@context: found 'dtmi:dtdl:context;9'"),
        (with_contents(telemetry(), **{"@context": ["x", "dtmi:dtdl:context;9"]}), "at /@context/1: found 'dtmi:dtdl:context;9'"),
        (with_contents(telemetry(), samplingPeriod=5), "at /samplingPeriod: found 5, expected an ISO 8601 duration"),
        (
            with_contents(telemetry(), samplingPeriods="PT5S"),
            "at /samplingPeriods: found 'samplingPeriods', expected 'samplingPer",
        ),
        (with_contents(telemetry(highlimit=5)), "at /contents/0/highlimit: found 'highlimit', expected 'highLimit'"),
        (with_contents(telemetry(maximum=1e39)), "at /contents/0/maximum: found 1e+39, expected what a 32-bit float can hold"),
        ([with_contents(telemetry()), {"@type": "Interface"}], "plant.json: interface 1 of the list at /@id: found None"),
        (with_contents(telemetry(), samplingPeriod="five"), "at /samplingPeriod: found 'five', expected an ISO 8601 duration"),
        (with_contents(telemetry(), samplingPeriod="PT0S"), "at /samplingPeriod: found 'PT0S', expected more than zero"),
        (with_contents("flow"), "at /contents/0: found 'flow', expected an object"),
        (
            with_contents(telemetry(), {"@type": "Gauge", "name": "g"}),
            "at /contents/1/@type: found 'Gauge', expected one of Telemetry",
        ),
        (with_contents(telemetry("2nd")), "at /contents/0/name: found '2nd', expected letters"),
        (
            with_contents(telemetry(), telemetry()),
            "at /contents/1/name: found 'flow', expected another name; it is that of /contents/0",
        ),
        (with_contents(telemetry(schema=None)), "at /contents/0/schema: found nothing, expected a numeric schema"),
        (with_contents(telemetry(schema="blob")), "at /contents/0/schema: found 'blob', expected a numeric schema"),
        (
            with_contents(telemetry(schema={"@type": "Object"})),
            "at /contents/0/schema: found schema Object, expected a number or an Enum",
        ),
        (with_contents(telemetry(schema={"@type": "Array"})), "found schema Array"),
        (with_contents(telemetry(schema={"@type": "Map"})), "found schema Map"),
        (with_contents(telemetry(unit="furlong")), None),
        (with_contents(telemetry(unit="wobble")), "at /contents/0/unit: found 'wobble', expected a unit of DTDL's"),
        (
            with_contents(telemetry(unit="bar", **{"@type": ["Telemetry", "Temperature"]})),
            "found 'bar', expected a unit of Temperature: deg",
        ),
        (
            with_contents(telemetry(minimum=2, maximum=1)),
            "at /contents/0/minimum: found 2, expected a number below maximum, which is 1",
        ),
        (with_contents(telemetry(lowLimit=True)), "at /contents/0/lowLimit: found True, expected a number"),
        (
            with_contents(telemetry(), {"@type": "Relationship", "name": "feeds", "target": "tank"}),
            "/contents/1/target: found 'tank'",
        ),
        (
            with_contents(telemetry(), {"@type": "Relationship", "name": "feeds", "maxMultiplicity": 0}),
            "found 0, expected at least 1",
        ),
        (
            with_contents(telemetry(), {"@type": "Property", "name": "x", "schema": "double", "annotates": "y"}),
            "/contents/1/annotates",
        ),
        (with_contents(telemetry(), extends="dtmi:plant:Base;1"), "at /extends: found 'dtmi:plant:Base;1', which is not here"),
        (
            with_contents({"@type": "Component", "name": "motor", "schema": "dtmi:plant:Motor;1"}),
            "/contents/0/schema: found 'dtmi:plant:Mo",
        ),
    ],
)
def test_an_error_names_file_place_found_and_expected(document: Any, expected: str | None) -> None:
    found = findings(document)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith("plant.json: ")
        assert expected in found[0]


def test_what_nobody_reads_is_noted() -> None:
    odd = with_contents({**telemetry("time"), "vendor": 3}, {**telemetry(), "@type": "Property", "name": "x", "highLimit": 3})
    found = compile_set([("plant.json", {**odd, "name": "Pump"})])
    assert not found.errors
    assert [(one.pointer, one.found) for one in found.findings] == [
        ("/name", "'name'"),
        ("/contents/0/vendor", "'vendor'"),
        ("/contents/1/highLimit", "'highLimit'"),
        ("/contents", "'time'"),  # a record's time is no channel
    ]


def test_all_errors_come_at_once() -> None:
    broken = with_contents(telemetry("a", unit="wobble"), telemetry("b", schema="blob"), samplingPeriod="five", lateness="late")
    with pytest.raises(TypeInvalid) as refused:
        compile_type(broken)
    for place in ("/samplingPeriod", "/lateness", "/contents/0/unit", "/contents/1/schema"):
        assert f"dtmi:plant:Pump;1 at {place}: found" in str(refused.value)


KEYS = [
    "@id", "@type", "@context", "contents", "name", "schema", "extends", "unit", "minimum", "fields", "samplingPeriod",
    "enumValues", "valueSchema", "annotates",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.floats() | st.text(max_size=12)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=6),
)


@settings(deadline=None)
@given(ANY_JSON)
def test_whatever_json_comes_is_compiled_or_refused(document: Any) -> None:
    element = document if isinstance(document, dict) else {"schema": document, "unit": document, "name": document}
    for one in (
        document,
        with_contents(document),
        with_contents({**telemetry(), **element}),
        {**with_contents(telemetry()), **element},
    ):
        try:
            compile_type(one)
        except TypeInvalid as error:
            assert "expected" in str(error)  # noqa: PT017


def test_commands_texts_and_annotations_are_no_channels_and_it_says_so() -> None:
    found = compile_set(
        [
            (
                None,
                with_contents(
                    telemetry(),
                    telemetry("message", schema="string"),
                    {"@type": ["Telemetry", "ValueAnnotation"], "name": "accuracy", "schema": "double", "annotates": "flow"},
                    {"@type": "Command", "name": "reboot"},
                ),
            )
        ]
    )
    assert not found.errors
    assert found.types["dtmi:plant:Pump;1"].channel_names == ("flow",)
    assert [one.pointer for one in found.findings] == ["/contents/1/schema", "/contents/2", "/contents/3"]


def test_an_enumeration_is_a_channel_of_numbers() -> None:
    valve = {"@type": "Enum", "valueSchema": "string", "enumValues": [{"name": n, "enumValue": n} for n in ("closed", "open")]}
    mode = {"@id": "dtmi:plant:mode;1", "@type": "Enum", "valueSchema": "integer",
            "enumValues": [{"name": "off", "enumValue": 10}, {"name": "on", "enumValue": 20}]}  # fmt: skip
    compiled = compile_type(
        with_contents(telemetry("valve", schema=valve), telemetry("mode", schema=mode["@id"]), schemas=[mode])
    )
    by_name = {channel.name: channel for channel in compiled.channels}
    assert by_name["valve"].codes == (("closed", 0.0), ("open", 1.0))
    assert (by_name["mode"].codes, by_name["mode"].minimum, by_name["mode"].maximum) == ((("off", 10.0), ("on", 20.0)), 10, 20)
    assert by_name["mode"].role == "state"


def test_version_4_is_read() -> None:
    v4 = with_contents(
        telemetry(schema="unsignedShort", unit="metre", **{"@type": ["Telemetry", "Length", "Required"]}),
        **{"@context": ["dtmi:dtdl:context;4", "dtmi:dtdl:extension:quantitativeTypes;2", "dtmi:dtdl:extension:requirement;1"]},
    )
    assert compile_type(v4).channels[0].semantic == "Length"


# ── sets ────────────────────────────────────────────────────────────────────────────────────────────────────────────

MOTOR = with_contents(telemetry("speed", unit="revolutionPerMinute"), identifier="dtmi:plant:Motor;1")
BASE = with_contents(
    telemetry("temp", unit="degreeCelsius"), {"@type": "Property", "name": "serial", "schema": "string"},
    identifier="dtmi:plant:Machine;1", samplingPeriod="PT5S", lateness="PT1S",
)  # fmt: skip
PUMP = with_contents(
    telemetry("flow"), {"@type": "Component", "name": "motor", "schema": "dtmi:plant:Motor;1"}, extends=["dtmi:plant:Machine;1"]
)


def test_a_type_has_what_it_inherits_and_its_components_channels() -> None:
    compiled = compile_type(PUMP, {one["@id"]: one for one in (MOTOR, BASE)})
    assert compiled.channel_names == ("flow", "motor.speed", "temp")
    assert (compiled.period_ns, compiled.lateness_ns) == (5_000_000_000, 1_000_000_000)
    assert [one.name for one in compiled.properties] == ["serial"]
    assert compiled.bases == ("dtmi:plant:Machine;1",)


def test_interfaces_given_in_place_are_those_named() -> None:
    nested = {**PUMP, "extends": [BASE], "contents": [PUMP["contents"][0], {**PUMP["contents"][1], "schema": MOTOR}]}
    assert compile_type(nested).contract == compile_type(PUMP, {one["@id"]: one for one in (MOTOR, BASE)}).contract


def test_what_comes_twice_by_two_ways_is_one() -> None:
    left, right = (with_contents(identifier=f"dtmi:plant:{name};1", extends="dtmi:plant:Machine;1") for name in ("Left", "Right"))
    both = with_contents(extends=["dtmi:plant:Left;1", "dtmi:plant:Right;1"])
    assert compile_set([("a", [BASE, left, right, both])]).types["dtmi:plant:Pump;1"].channel_names == ("temp",)


def test_names_that_clash_through_extends_are_refused() -> None:
    other = with_contents(telemetry("temp"), identifier="dtmi:plant:Other;1")
    both = with_contents(extends=["dtmi:plant:Machine;1", "dtmi:plant:Other;1"])
    (found,) = findings(BASE, other, both)
    assert "found 'temp' in dtmi:plant:Other;1, expected another name; dtmi:plant:Machine;1 has one" in found


def test_a_component_and_a_channel_of_one_name_are_refused() -> None:
    (found,) = findings(MOTOR, with_contents(telemetry("motor.speed"), PUMP["contents"][1]))
    assert "found 'motor.speed', expected each channel once" in found


def test_circles_are_refused_at_each_type_in_them() -> None:
    one = with_contents(telemetry("a"), identifier="dtmi:c:One;1", extends="dtmi:c:Two;1")
    two = with_contents(telemetry("b"), identifier="dtmi:c:Two;1", extends="dtmi:c:One;1")
    assert [line.split(" at ")[0] for line in findings(one, two)] == ["plant.json: dtmi:c:One;1", "plant.json: dtmi:c:Two;1"]
    own = with_contents(telemetry(), {"@type": "Component", "name": "self", "schema": "dtmi:plant:Pump;1"})
    assert "components that do not contain themselves" in findings(own)[0]


@pytest.mark.parametrize(("version", "deepest"), [("3", 10), ("4", 12)])
def test_extends_goes_as_deep_as_the_version_allows(version: str, deepest: int) -> None:
    context = {"@context": f"dtmi:dtdl:context;{version}"}
    chain = [
        with_contents(
            telemetry(f"c{i}"),
            identifier=f"dtmi:d:L{i};1",
            **context,
            **({"extends": f"dtmi:d:L{i + 1};1"} if i <= deepest else {}),
        )
        for i in range(deepest + 2)
    ]
    found = compile_set([("deep", chain)])
    assert [one.type for one in found.errors] == ["dtmi:d:L0;1"]
    assert len(found.types["dtmi:d:L1;1"].channels) == deepest + 1


def test_two_interfaces_of_one_identifier_are_refused() -> None:
    assert "is taken by another interface in plant.json" in findings(MOTOR, {**MOTOR, "displayName": "Other"})[0]
    assert findings(MOTOR, MOTOR) == []

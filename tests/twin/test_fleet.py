"""The fleet graph: queries against the definition written out naively, circles and dangling targets, static data over time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import ReadingRefused
from twin.fleet import Fleet, PropertyChange, Relationship, TwinDeclaration
from twin.fleet_query import FleetQuery, ask, circles, edges_between, faults
from twin.fleet_reasons import why_nothing
from twin.types import compile_type


def kind(name: str, *contents: dict[str, object], **more: object) -> dict[str, object]:
    level = {"@type": "Telemetry", "name": "level", "schema": "double"}
    return {"@id": f"dtmi:plant:{name};1", "@type": "Interface", "contents": [level, *contents], **more}


TANK = compile_type(kind("Tank"))
PUMP = compile_type(
    kind(
        "Pump",
        {"@type": "Relationship", "name": "feeds", "target": "dtmi:plant:Tank;1", "minMultiplicity": 1, "maxMultiplicity": 2},
    )
)
BOOSTER = compile_type(
    {"@id": "dtmi:plant:Booster;1", "@type": "Interface", "extends": "dtmi:plant:Pump;1"},
    {"dtmi:plant:Pump;1": kind("Pump", {"@type": "Relationship", "name": "feeds"})},
)
TYPES = {one.id: one for one in (TANK, PUMP, BOOSTER)}


def twin(asset: str, of: str = "Tank", *edges: tuple[str, str], **properties: str | float) -> TwinDeclaration:
    return TwinDeclaration(
        asset=asset,
        type=f"dtmi:plant:{of};1",
        relationships=tuple(Relationship(name=name, target=target) for name, target in edges),
        properties=dict(properties),
    )


PLANT = Fleet(
    [
        twin("p1", "Pump", ("feeds", "t1"), power=40.0),
        twin("p2", "Booster", ("feeds", "t1"), ("watches", "p1"), power=15.0),
        twin("t1", "Tank", ("feeds", "t2"), site="north"),
        twin("t2", "Tank", ("feeds", "t1"), site="south"),
        twin("t3", "Tank", ("feeds", "nowhere"), site="south"),
    ]
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (FleetQuery(), {"p1": 0, "p2": 0, "t1": 0, "t2": 0, "t3": 0}),
        (FleetQuery(type="dtmi:plant:Pump;1"), {"p1": 0, "p2": 0}),
        (FleetQuery(type="plant.pump"), {"p1": 0, "p2": 0}),
        (FleetQuery(type="plant.booster"), {"p2": 0}),
        (FleetQuery(start="p1"), {"p1": 0, "p2": 1, "t1": 1, "t2": 2}),
        (FleetQuery(start="p1", direction="out"), {"p1": 0, "t1": 1, "t2": 2}),
        (FleetQuery(start="t2", direction="in", depth=2), {"t2": 0, "t1": 1, "p1": 2, "p2": 2}),
        (FleetQuery(start="p1", relationship="feeds", direction="out", depth=1), {"p1": 0, "t1": 1}),
        (FleetQuery(start="p1", depth=2, type="plant.tank"), {"t1": 1, "t2": 2}),
        (FleetQuery(relationship="watches"), {"p1": 0, "p2": 0}),
        (FleetQuery(properties={"site": "south"}), {"t2": 0, "t3": 0}),
        (FleetQuery(properties={"power": ">20"}), {"p1": 0}),
        (FleetQuery(properties={"power": "15"}), {"p2": 0}),
        (FleetQuery(properties={"site": ">1"}), {}),
    ],
)
def test_queries(query: FleetQuery, expected: dict[str, int]) -> None:
    assert ask(PLANT, TYPES, query) == dict(sorted(expected.items()))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (FleetQuery(start="p9"), ["No twin has the id p9."]),
        (FleetQuery(type="plant.valve"), ["No twin is of type plant.valve. There are plant.booster, plant.pump, plant.tank."]),
        (FleetQuery(relationship="fed"), ["No relationship is called fed. There are feeds, watches."]),
        (FleetQuery(properties={"colour": "red"}), ["No twin has static data called colour."]),
        (FleetQuery(properties={"power": ">50"}), ["No twin has power >50. It goes from 15 to 40."]),
        (FleetQuery(properties={"site": "east"}), ["No twin has site east. There are north, south."]),
        (
            FleetQuery(type="plant.tank", start="p2", depth=1, properties={"site": "south"}),
            [
                "Each condition fits some twins, but no twin fits all of them.",
                "Without a limit to the distance: 1.",
                "Without a start: 2.",
                "Without site: 1.",
            ],
        ),
    ],
)
def test_a_question_that_finds_nothing_is_told_why(query: FleetQuery, told: list[str]) -> None:
    assert ask(PLANT, TYPES, query) == {}
    assert why_nothing(PLANT, TYPES, query) == told


def test_circles_and_dangling_targets_are_told() -> None:
    edges = edges_between(PLANT, ["p1", "p2", "t1", "t2", "t3"])
    assert circles(edges) == [["t1", "t2"]]
    assert [(one.source, one.target) for one in edges if one.dangling] == [("t3", "nowhere")]


def test_faults_name_twin_edge_and_what_was_expected() -> None:
    fleet = Fleet([*PLANT.twins(), twin("p3", "Pump", ("feeds", "p1"), ("feeds", "t1"), ("feeds", "t2")), twin("x", "Ghost")])
    assert faults(fleet, TYPES, ["p1", "p3", "t3", "x"]) == [
        "p3: feeds points to p1, a dtmi:plant:Pump;1, expected a dtmi:plant:Tank;1",
        "p3: 3 × feeds, expected 1 to 2",
        "t3: feeds points to nowhere, which nobody has declared",
        "t3: feeds is no relationship of dtmi:plant:Tank;1",
        "x: type dtmi:plant:Ghost;1 is not declared",
    ]


def test_static_data_of_another_kind_than_the_type_says_are_named() -> None:
    of_type = (("height", "double"), ("count", "integer"), ("spare", "boolean"), ("site", "string"))
    tank = compile_type(kind("Tank", *({"@type": "Property", "name": name, "schema": schema} for name, schema in of_type)))
    fleet = Fleet([twin("t1", height=3.5, count=2, site="north"), twin("t2", height="high", site=3, count=True)])
    fleet.change(PropertyChange(asset="t1", time=1_700_000_000, properties={"spare": "yes", "owner": 5}))
    assert faults(fleet, {tank.id: tank}, ["t1", "t2"]) == [
        "t1: spare is 'yes', expected boolean",
        "t2: height is 'high', expected double",
        "t2: count is True, expected integer",
        "t2: site is 3.0, expected string",
    ]


GRAPHS = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefgz")), max_size=20)


@settings(deadline=None)
@given(GRAPHS, st.sampled_from("abcdefg"), st.integers(0, 5))
def test_a_walk_reaches_what_single_edges_reach(edges: list[tuple[str, str]], start: str, depth: int) -> None:
    fleet = Fleet(twin(one, "Tank", *[("feeds", to) for source, to in edges if source == one]) for one in "abcdefg")
    reached = {start: 0}
    for distance in range(1, depth + 1):
        for source, to in edges:
            for near, far in ((source, to), (to, source)):
                if reached.get(near) == distance - 1 and far != "z":
                    reached.setdefault(far, distance)
    assert ask(fleet, TYPES, FleetQuery(start=start, depth=depth)) == dict(sorted(reached.items()))
    for one in "abcdefg":
        near = {to for source, to in edges if source == one} | {source for source, to in edges if to == one}
        assert fleet.neighbours(one) == near - {one}


@settings(deadline=None)
@given(GRAPHS)
def test_a_circle_is_a_set_of_twins_that_all_reach_each_other(edges: list[tuple[str, str]]) -> None:
    fleet = Fleet(twin(one, "Tank", *[("feeds", to) for source, to in edges if source == one]) for one in "abcdefg")

    def ahead(start: str) -> set[str]:
        """What the start reaches by one edge or more."""
        found: set[str] = set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            new = {to for source, to in edges if source == node and to != "z"} - found
            found |= new
            waiting += new
        return found

    naive = {frozenset(other for other in "abcdefg" if other in ahead(one) and one in ahead(other)) for one in "abcdefg"} - {
        frozenset()
    }
    assert {frozenset(circle) for circle in circles(edges_between(fleet, "abcdefg"))} == naive


def test_a_declaration_that_replaces_another_takes_its_edges_away() -> None:
    fleet = Fleet([twin("a", "Tank", ("feeds", "b")), twin("b")])
    fleet.declare(twin("a"))
    assert fleet.neighbours("b") == set()
    assert fleet.incoming("b") == []


@settings(deadline=None)
@given(st.permutations([(100, "A"), (200, "B"), (300, "C")]))
def test_static_data_is_as_of_a_time_whatever_order_its_changes_came_in(changes: list[tuple[int, str]]) -> None:
    fleet = Fleet([twin("p", "Tank", impeller="0", site="north")])
    for time, impeller in changes:
        assert fleet.change(PropertyChange(asset="p", time=time, properties={"impeller": impeller}))
    assert not fleet.change(PropertyChange(asset="p", time=200, properties={"impeller": "B"}))
    assert fleet.properties("p") == {"impeller": "C", "site": "north"}
    assert [fleet.properties("p", at_ns=at * 10**9)["impeller"] for at in (99, 100, 250)] == ["0", "A", "B"]
    with pytest.raises(ReadingRefused):
        fleet.change(PropertyChange(asset="p", time="soon", properties={}))

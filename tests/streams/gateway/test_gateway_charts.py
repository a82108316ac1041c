"""What charts draw: where twins stand on the map, which marks show on a trend."""

from __future__ import annotations

from streams.gateway import chart_fleet, chart_twin
from streams.stores.port import ChannelSeries, RiskSeries, TwinHistory
from twin.fleet import Relationship, TwinDeclaration
from twin.quality import Quality


def test_a_twin_without_a_place_stands_below_the_map_and_moves_nobody() -> None:
    placed = [TwinDeclaration(asset=f"p{n}", type="t", properties={"x": n / 10, "y": (n % 3) / 3}) for n in range(10)]
    newcomers = [TwinDeclaration(asset=f"q{n}", type="t") for n in range(30)]
    drawn = chart_fleet.choose([*placed, *newcomers], {})
    assert drawn.placed
    places = {node.asset: (node.x, node.y) for node in drawn.nodes}
    assert all(places[one.asset] == (one.properties["x"], one.properties["y"]) for one in placed)
    assert all((places[one.asset][1] or 0.0) < 0.0 for one in newcomers)
    assert len(set(places.values())) == 40


def test_with_a_relationship_only_its_edges_are_drawn() -> None:
    edges = (Relationship(name="feeds", target="b"), Relationship(name="watches", target="b"))
    declared = [TwinDeclaration(asset="a", type="t", relationships=edges), TwinDeclaration(asset="b", type="t")]
    assert chart_fleet.choose(declared, {}, "watches").edges == (("a", "b", "watches"),)
    assert len(chart_fleet.choose(declared, {}).edges) == 2


def test_each_kind_of_poor_quality_has_its_mark_and_a_long_stretch_does_not_hide_the_line() -> None:
    count = 360
    quality = [int(Quality.STUCK)] * count
    quality[100], quality[101], quality[200] = int(Quality.SPIKE), 0, int(Quality.GAP)
    series = ChannelSeries("level", list(range(count)), [1.0] * count, [], [], [None] * count, [None] * count, quality)
    history = TwinHistory("a", [series], RiskSeries([], [], [], []))
    option = chart_twin.option(history, [], {}, 0, count, dark=False)
    marks = next(one for one in option["series"] if one["name"] == "quality")["data"]
    assert len(marks) == count - 1  # all are told, in the tooltip
    shown = [one for one in marks if one["symbol"] != "none"]
    assert {one["quality"] for one in shown} == {"Stuck", "Spike", "Gap"}
    assert len({one["symbol"] for one in shown}) == 3
    assert len(shown) < 2 * chart_twin.MOST_MARKS

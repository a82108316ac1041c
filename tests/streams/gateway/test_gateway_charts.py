"""What charts draw: where twins stand on the map, which marks show on a trend."""

from __future__ import annotations

import math

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


def test_a_large_fleet_without_places_shows_what_belongs_together_together() -> None:
    """Twenty lines of fifteen: each around its line, apart from the others, and those without edges below."""
    declared = []
    for line in range(20):
        own = [f"l{line:02}-{n:02}" for n in range(14)]
        contains = tuple(Relationship(name="contains", target=asset) for asset in own)
        declared.append(TwinDeclaration(asset=f"l{line:02}", type="line", relationships=contains))
        declared += [
            TwinDeclaration(asset=asset, type="part", relationships=(Relationship(name="feeds", target=own[(n + 1) % 14]),))
            for n, asset in enumerate(own)
        ]
    declared += [TwinDeclaration(asset=f"z{n}", type="part") for n in range(7)]
    drawn = chart_fleet.choose(declared, {})
    places = {node.asset: (node.x or 0.0, node.y or 0.0) for node in drawn.nodes}
    assert drawn.placed
    assert len({(round(x, 3), round(y, 3)) for x, y in places.values()}) == len(declared) == 307
    for line in range(20):
        hub = places[f"l{line:02}"]
        inside = max(math.dist(hub, places[f"l{line:02}-{n:02}"]) for n in range(14))
        outside = min(math.dist(hub, place) for asset, place in places.items() if not asset.startswith(f"l{line:02}"))
        assert inside < outside
    assert max(places[f"z{n}"][1] for n in range(7)) < min(y for asset, (_, y) in places.items() if asset.startswith("l"))
    width, height = (max(at) - min(at) for at in zip(*places.values(), strict=True))
    assert 1 < width / height < 2.5
    assert chart_fleet.choose(reversed(declared), {}).nodes == drawn.nodes
    longest = max(math.dist(places[source], places[target]) for source, target, _ in drawn.edges)
    assert longest < width / 4


def test_one_large_cluster_has_room_for_everybody() -> None:
    chain = [
        TwinDeclaration(asset=f"p{n:03}", type="t", relationships=(Relationship(name="feeds", target=f"p{n + 1:03}"),))
        for n in range(300)
    ]
    drawn = chart_fleet.choose(chain, {})
    places = [(node.x or 0.0, node.y or 0.0) for node in drawn.nodes]
    nearest = min(math.dist(one, other) for at, one in enumerate(places) for other in places[:at])
    assert nearest > 0.8


def test_parts_that_do_not_hang_together_stay_on_the_map() -> None:
    """A force layout pushes them out of it."""
    pairs = [
        TwinDeclaration(asset=f"{name}{n}", type="t", relationships=(Relationship(name="feeds", target=f"b{n}"),))
        for n in range(25)
        for name in "ab"
    ]
    assert chart_fleet.choose(pairs, {}).placed
    assert not chart_fleet.choose(pairs[:10], {}).placed

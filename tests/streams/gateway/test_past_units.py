"""The history of a twin whose channels had other units before is told in those that they have now."""

from __future__ import annotations

from streams.gateway.past_units import in_present_units
from streams.stores.port import ChannelSeries, RiskSeries, TwinHistory
from twin.types import Channel, TwinType


def kind(dtmi: str, **units: str) -> TwinType:
    return TwinType(dtmi, "x", tuple(Channel(name, unit=unit or None) for name, unit in units.items()), 1, 0, None, 0, 0)


def series(name: str, *values: float | None) -> ChannelSeries:
    cells = list(values)
    return ChannelSeries(name, list(range(len(cells))), cells, cells, cells, cells, [1.0] * len(cells), [0] * len(cells))


def test_each_stretch_is_converted_from_the_unit_that_it_had() -> None:
    types = {
        one.id: one
        for one in (
            kind("dtmi:a;1", temp="degreeFahrenheit", flow="litrePerSecond", level=""),
            kind("dtmi:a;2", temp="degreeCelsius", flow="bar", level="metre"),
        )
    }
    now = {"temp": "degreeCelsius", "flow": "litrePerSecond", "level": "metre"}
    channels = [series("temp", 212.0, None, 20.0), series("flow", 1.0, 1.0, 2.0), series("level", 3.0, 3.0, 3.0)]
    risk = RiskSeries([0, 1, 2], [0.0] * 3, [None] * 3, [""] * 3)
    found = TwinHistory("p", channels, risk, [(0, "dtmi:a;1"), (2, "dtmi:a;2")])
    temp, flow, level = in_present_units(found, types, now).channels
    assert [None if cell is None else round(cell, 6) for cell in temp.value] == [100.0, None, 20.0]
    assert temp.low == temp.high == temp.expected == temp.value
    assert [round(cell or 0, 4) for cell in temp.spread] == [0.5556, 0.5556, 1.0]
    assert flow.value == [1.0, 1.0, None]  # a pressure is no flow
    assert level.value == [3.0, 3.0, 3.0]

"""A twin's history in the units that its channels have now, where it was of types with other ones before.

In:   the history, with the types that the twin was of; the types.
Out:  the same, converted; what does not convert has no value. A unit where there was none counts as that of before, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streams.stores.port import ChannelSeries, TwinHistory
from twin.errors import LivetwinError
from twin.types import TwinType
from twin.units import Conversion, conversion


def in_present_units(found: TwinHistory, types: Mapping[str, TwinType], units: Mapping[str, str]) -> TwinHistory:
    """`units`: of the channels, as they are now."""
    channels = found.channels
    for place, (begin, dtmi) in enumerate(found.types):
        end = found.types[place + 1][0] if place + 1 < len(found.types) else 2**63
        kind = types.get(dtmi)
        before = {channel.name: channel.unit for channel in kind.channels} if kind is not None else {}
        for nth, series in enumerate(channels):
            then, now = before.get(series.channel), units.get(series.channel)
            if then is not None and now is not None and then != now:
                channels = [*channels[:nth], _converted(series, begin, end, then, now), *channels[nth + 1 :]]
    return replace(found, channels=channels)


def _converted(series: ChannelSeries, begin: int, end: int, then: str, now: str) -> ChannelSeries:
    try:
        change: Conversion | None = conversion(then, now)
    except LivetwinError:
        change = None

    def of(cells: list[float | None], offset: float) -> list[float | None]:
        return [
            cell
            if cell is None or not begin <= time_ns < end
            else None
            if change is None
            else cell * change.scale + offset * change.offset
            for time_ns, cell in zip(series.time_ns, cells, strict=True)
        ]

    return replace(
        series,
        value=of(series.value, 1.0),
        low=of(series.low, 1.0),
        high=of(series.high, 1.0),
        expected=of(series.expected, 1.0),
        spread=of(series.spread, 0.0),
    )

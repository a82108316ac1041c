"""Units that a record states itself: its values in the unit in which they are taken, whatever unit they came in.

In:   channels of one record, the unit that each states, the unit in which the twin's readings are taken.
Out:  the channels converted; those whose unit is not known, or measures something else, are left out and named.
A unit is looked up once, then it is a factor: no step here costs more for a reading than a multiplication.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from streams.formats.readings import Telemetry
from twin.common_units import canonical
from twin.errors import UnitUnusable
from twin.units import Conversion, conversion, known

_FACTORS = 65_536  # pairs of units kept, those that are none among them


@lru_cache(_FACTORS)
def factor(stated: str, wanted: str | None) -> Conversion | str:
    """How values of the stated unit are taken, or in words why they are not."""
    if wanted is None:
        return f"unit {stated[:64]!r} is stated, expected none: the type's channel has no unit"
    try:
        return conversion(stated, wanted)
    except UnitUnusable as error:
        return str(error)


def converted(
    channels: Mapping[str, Any], stated: Mapping[str, str], wanted: Mapping[str, str | None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Channels in the units wanted, and by channel why one is left out.

    Args:
        channels: a JSON value a channel, or a list or an array of them.
        stated: units by channel; a channel that is not named stays as it is.
        wanted: units by channel; who is not in there is not converted.

    >>> converted({"flow": 3.6, "temp": 20.0}, {"flow": "m3/h", "temp": "bar"}, {"flow": "litrePerSecond", "temp": "kelvin"})[0]
    {'flow': 1.0}
    """
    found, faults = dict(channels), dict[str, str]()
    for name, unit in stated.items():
        if name not in channels or name not in wanted:
            continue
        how = factor(unit, wanted[name])
        if isinstance(how, str):
            del found[name]
            faults[name] = f"{name}: {how}"
        elif not how.identity:
            found[name] = _scaled(channels[name], how)
    return found, faults


def _scaled(cells: Any, how: Conversion) -> Any:
    """Numbers converted; words, truth values and what is no number at all stay as they are, for whoever reads them."""
    if isinstance(cells, np.ndarray):
        return cells * how.scale + how.offset
    if isinstance(cells, list):
        return [_scaled(cell, how) if not isinstance(cell, list) else cell for cell in cells]
    if isinstance(cells, int | float) and not isinstance(cells, bool):
        return cells * how.scale + how.offset
    return cells


class FirstUnits:
    """The unit of each channel as the first record stated it, for a type that is yet to be inferred."""

    def __init__(self) -> None:
        self.units: dict[str, str] = {}

    def taken(self, telemetry: Telemetry) -> Mapping[str, Any]:
        """The channels of a record in the units of the first; those in a unit that is none are left out."""
        if not telemetry.units:
            return telemetry.channels
        for name, unit in telemetry.units.items():
            if name in telemetry.channels and name not in self.units and known(unit):
                self.units[name] = canonical(unit)
        wanted = {name: self.units.get(name) for name in telemetry.channels}
        return converted(telemetry.channels, telemetry.units, wanted)[0]

"""How an asset's readings become values of its type: units converted, words of enumerations turned into numbers.

In:   the type, and the units that the asset's source is declared to use.
Out:  `Intake` of one twin, compiled once; `IntakeTable` of all twins of a type, which converts a whole batch at once.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin.errors import UnitUnusable
from twin.reading import ReadingBatch
from twin.types import TwinType
from twin.units import conversion

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Intake:
    """C channels of one twin. `faults`: channels whose unit can't be converted, and why; they take no readings."""

    scale: NDArray[np.float64]  # (C,)
    offset: NDArray[np.float64]  # (C,)
    faults: Mapping[str, str]

    @property
    def identity(self) -> bool:
        return bool((self.scale == 1).all() and (self.offset == 0).all())


def compile_intake(kind: TwinType, units: Mapping[str, str]) -> Intake:
    """Conversions for a twin whose source sends `units`; channels that it does not name come in the type's own.

    >>> from twin.types import Channel
    >>> kind = TwinType("dtmi:p:T;1", "T", (Channel("temp", unit="degreeCelsius"),), 1, 0, None, 0, 0)
    >>> compile_intake(kind, {"temp": "degreeFahrenheit"}).scale.round(4).tolist()
    [0.5556]
    >>> sorted(compile_intake(kind, {"temp": "bar"}).faults)
    ['temp']
    """
    scale, offset = np.ones(len(kind.channels)), np.zeros(len(kind.channels))
    faults: dict[str, str] = {}
    for index, channel in enumerate(kind.channels):
        unit = units.get(channel.name)
        if unit is None:
            continue
        try:
            if channel.unit is None:
                raise UnitUnusable(f"unit {unit!r} is declared for it, expected none: the type's channel has no unit")
            found = conversion(unit, channel.unit)
        except UnitUnusable as error:
            faults[channel.name] = f"{channel.name}: {error}"
            continue
        scale[index], offset[index] = found.scale, found.offset
    for name in units.keys() - set(kind.channel_names):
        faults[name] = f"{name}: a unit is declared for it, expected one of {', '.join(kind.channel_names)}"
    return Intake(scale, offset, faults)


class IntakeTable:
    """Scale and offset of A twins × C channels; nothing is held until a twin needs a conversion."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._scale = np.ones((0, channels))
        self._offset = np.zeros((0, channels))

    def put(self, row: int, intake: Intake) -> None:
        if row >= len(self._scale):
            if intake.identity:
                return
            more = max(64, row + 1, 2 * len(self._scale)) - len(self._scale)
            self._scale = np.concatenate([self._scale, np.ones((more, self._channels))])
            self._offset = np.concatenate([self._offset, np.zeros((more, self._channels))])
        self._scale[row], self._offset[row] = intake.scale, intake.offset

    def converted(self, batch: ReadingBatch) -> ReadingBatch:
        """The batch in the type's units. Values stay what a float32 can hold."""
        if not len(self._scale):
            return batch
        row = np.minimum(batch.row, len(self._scale) - 1)
        held = batch.row < len(self._scale)
        scale = np.where(held, self._scale[row].T, 1.0)
        offset = np.where(held, self._offset[row].T, 0.0)
        return replace(batch, values=np.clip(batch.values * scale + offset, -_LARGEST, _LARGEST))

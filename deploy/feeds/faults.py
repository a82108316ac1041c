"""Faults of the demo plant: which are on, and what a sensor then says.

In:   `DemoCommand`s; the true readings of one step.
Out:  leaks and pump trips for the hydraulics; readings as faulty sensors show them.
Pure: no clock, no I/O. Faults of the process (leak, pump-trip) act on the hydraulics, faults of a sensor on its reading alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.records import DemoCommand
from twin.errors import LivetwinError

HOUR_S = 3600
SENSOR_FAULTS = frozenset({"stuck", "drift", "offset"})
# (offset in units, drift in units per hour) that are clear to see beside the sensor's noise and the day's swing
DEFAULT_SENSOR_SIZE: Mapping[str, tuple[float, float]] = {
    "pressure": (3.0, 0.5),
    "level": (0.6, 0.1),
    "head": (4.0, 0.8),
    "power": (20.0, 4.0),
    "flow": (15.0, 3.0),
    "inflow": (20.0, 4.0),
    "demand": (3.0, 0.6),
    "headloss": (1.0, 0.2),
}


class FaultRefused(LivetwinError):
    """A demo command for an asset or channel that the plant does not have, or a size that makes no sense."""


@dataclass(slots=True)
class SensorFault:
    """One faulty sensor: position in its type's array, size in units or units per hour, since when, what it froze at."""

    kind: str
    type: str
    row: int
    column: int
    size: float
    since_step: int
    frozen: float | None = None


class Faults:
    """The faults that are on, by kind and asset: a later command for the same pair replaces the earlier one."""

    def __init__(self, layout: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]], step_s: int) -> None:
        self._layout = layout
        self._step_s = step_s
        self._where = {asset: (kind, row) for kind, (assets, _) in layout.items() for row, asset in enumerate(assets)}
        self._sensors: dict[tuple[str, str], SensorFault] = {}
        self._commands: dict[tuple[str, str], DemoCommand] = {}

    def active(self) -> list[DemoCommand]:
        """The commands that are in force, by fault and asset."""
        return [self._commands[key] for key in sorted(self._commands)]

    def is_on(self, fault: str, asset: str) -> bool:
        return (fault, asset) in self._commands

    def on(self, fault: str) -> Iterator[DemoCommand]:
        """Commands in force of one kind of fault."""
        return (command for (kind, _), command in self._commands.items() if kind == fault)

    def sensor(self, command: DemoCommand) -> SensorFault | None:
        """The faulty sensor that a command made; None for faults of the process."""
        return self._sensors.get((command.fault, command.asset))

    def switch(self, command: DemoCommand, step: int) -> bool:
        """Switch a fault on or off from `step` on; whether anything changed.

        Raises:
            FaultRefused: unknown asset or channel, or a kind of fault that this asset can't have; nothing changes.
        """
        what = f"fault {command.fault} on {command.asset!r} not switched"
        if command.asset not in self._where:
            example = next(iter(self._where))
            raise FaultRefused(f"{what}: the plant has no such asset, expected one of {len(self._where)} such as {example!r}")
        key = (command.fault, command.asset)
        if not command.active:
            self._sensors.pop(key, None)
            return self._commands.pop(key, None) is not None
        kind, row = self._where[command.asset]
        if command.fault == "leak" and not kind.endswith(":Junction;1"):
            raise FaultRefused(f"{what}: it is a {kind}, expected a junction")
        if command.fault == "pump-trip" and not kind.endswith(":Pump;1"):
            raise FaultRefused(f"{what}: it is a {kind}, expected a pump")
        if command.size is not None and not (np.isfinite(command.size) and (command.fault != "leak" or 0 < command.size <= 1000)):
            raise FaultRefused(f"{what}: size is {command.size}, expected a number (for a leak 0 to 1000 litres a second)")
        if self._commands.get(key) == command:
            return False
        if command.fault in SENSOR_FAULTS:
            self._sensors[key] = self._sensor_fault(command, kind, row, step, what)
        self._commands[key] = command
        return True

    def _sensor_fault(self, command: DemoCommand, kind: str, row: int, step: int, what: str) -> SensorFault:
        channels = self._layout[kind][1]
        channel = command.channel or main_channel(channels)
        if channel not in channels:
            raise FaultRefused(f"{what}: it has no channel {channel!r}, expected one of {', '.join(channels)}")
        offset, drift = DEFAULT_SENSOR_SIZE.get(channel, (1.0, 0.2))
        default = {"offset": offset, "drift": drift, "stuck": 0.0}[command.fault]
        size = default if command.size is None else command.size
        return SensorFault(command.fault, kind, row, channels.index(channel), size, step)

    def disturb(self, readings: Mapping[str, NDArray[np.float64]], step: int) -> None:
        """Change the readings in place as the faulty sensors do."""
        for fault in self._sensors.values():
            array = readings[fault.type]
            if fault.kind == "offset":
                array[fault.row, fault.column] += fault.size
            elif fault.kind == "drift":
                array[fault.row, fault.column] += fault.size * (step - fault.since_step) * self._step_s / HOUR_S
        for fault in self._sensors.values():  # last: a frozen sensor shows nothing else any more
            if fault.kind == "stuck":
                array = readings[fault.type]
                if fault.frozen is None:
                    fault.frozen = float(array[fault.row, fault.column])
                array[fault.row, fault.column] = fault.frozen

    def state(self) -> list[dict[str, Any]]:
        """What `restore` needs to go on, in JSON's own types."""
        found = []
        for key, command in sorted(self._commands.items()):
            sensor = self._sensors.get(key)
            found.append(
                {
                    "command": command.model_dump(mode="json"),
                    "since_step": sensor.since_step if sensor else 0,
                    "frozen": sensor.frozen if sensor else None,
                }
            )
        return found

    def restore(self, state: list[dict[str, Any]]) -> None:
        for entry in state:
            command = DemoCommand.model_validate(entry["command"])
            self.switch(command, entry["since_step"])
            sensor = self._sensors.get((command.fault, command.asset))
            if sensor is not None:
                sensor.frozen = entry["frozen"]


def main_channel(channels: tuple[str, ...]) -> str:
    """The channel that a sensor fault means when it names none.

    >>> main_channel(("demand", "pressure"))
    'pressure'
    """
    return next((name for name in ("pressure", "level", "flow") if name in channels), channels[0])

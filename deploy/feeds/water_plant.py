"""The demo plant: EPANET's Net3 with customers, a control programme, sensors with noise, and faults.

In:   a step length, a seed, an event time to start at, commands that switch faults.
Out:  the readings of all assets, one step after the other, for as long as one likes.
Pure: no clock; the same seed, start and commands give the same readings. `state()` and `restore` continue a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.feeds.demand import Demand
from deploy.feeds.faults import Faults
from deploy.feeds.hydraulics import M_PER_FT, Hydraulics, net3
from deploy.feeds.leaks import default_leak_lps
from streams.records import DemoCommand
from twin.block import StepBlock
from twin.quality import Quality
from twin.types import NS_PER_S

JUNCTION, TANK, PUMP, PIPE = (f"dtmi:livetwin:water:{name};1" for name in ("Junction", "Tank", "Pump", "Pipe"))
# the mains that carry most, one for each stretch without a large branch
KEY_PIPES = (
    "329", "125", "173", "321", "187", "229", "101", "103", "105", "109", "111", "120", "116", "117", "131", "204", "237", "243",
)  # fmt: skip
CHANNELS: Mapping[str, tuple[str, ...]] = {
    JUNCTION: ("demand", "pressure"),
    TANK: ("inflow", "level"),
    PUMP: ("command", "flow", "head", "power"),
    PIPE: ("flow", "headloss"),
}
# one standard deviation of a sensor's noise: share of the reading, and units
NOISE: Mapping[str, tuple[float, float]] = {
    "pressure": (0.0, 0.05),
    "level": (0.0, 0.01),
    "flow": (0.005, 0.05),
    "inflow": (0.005, 0.05),
    "demand": (0.005, 0.01),
    "head": (0.0, 0.05),
    "headloss": (0.0, 0.02),
    "power": (0.005, 0.1),
    "command": (0.0, 0.0),
}
_LAKE_PUMP, _RIVER_PUMP, _BYPASS = "10", "335", "330"
_LAKE_HOURS = (1, 15)  # the lake pump runs by the clock
_RIVER_ON_M, _RIVER_OFF_M = 17.1 * M_PER_FT, 19.1 * M_PER_FT  # the river pump by the level of tank 1
_FULL_TANK, _FULL_M, _ROOM_M = 2, 10.4, 10.1  # tank 3 shuts its inlet at 10.8 m, which hammers the network: stop before that
_SETTLING_S = 2 * 86_400  # simulated before the first reading, so that tanks are in their daily rhythm
STATE_VERSION = 1

Floats = NDArray[np.float64]


class WaterPlant:
    """The plant, one step at a time. `time_ns` is the event time of the next step's readings.

    >>> plant = WaterPlant(300, seed=1, start_ns=0)
    >>> sorted(plant.step()["tank-1"])
    ['inflow', 'level']
    """

    def __init__(self, step_s: int = 300, seed: int = 1, start_ns: int = 0, state: Mapping[str, Any] | None = None) -> None:
        network = net3()
        self.step_s = step_s
        self._step_number = start_ns // (step_s * NS_PER_S) if state is None else int(state["step"])
        self._random = np.random.default_rng(seed)
        self.hydraulics = Hydraulics(step_s, None if state is None else state["levels_m"])
        self._demand = Demand(network, self.hydraulics.junctions, step_s, self._random)
        self._customers = np.flatnonzero(self._demand.customers)
        self._pipes = [self.hydraulics.pipes.index(name) for name in KEY_PIPES]
        names = {
            JUNCTION: [f"junction-{self.hydraulics.junctions[i]}" for i in self._customers],
            TANK: [f"tank-{name}" for name in self.hydraulics.tanks],
            PUMP: [f"pump-{name}" for name in self.hydraulics.pumps],
            PIPE: [f"pipe-{name}" for name in KEY_PIPES],
        }
        self.layout = {kind: (tuple(assets), CHANNELS[kind]) for kind, assets in names.items()}
        self.faults = Faults(self.layout, step_s)
        self.demand_share = 1.0  # of what customers usually take; for evaluations, no part of the saved state
        self._leaking: set[str] = set()
        self._river_on = True
        if state is None:
            self._settle()
        else:
            self._restore(state)

    @property
    def time_ns(self) -> int:
        return self._step_number * self.step_s * NS_PER_S

    @property
    def step_number(self) -> int:
        """Steps since 1970 up to the next readings."""
        return self._step_number

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(asset for assets, _ in self.layout.values() for asset in assets)

    def switch(self, command: DemoCommand) -> bool:
        """Switch a fault on or off from the next step on; whether anything changed.

        Raises:
            FaultRefused: the plant has no such asset or channel; nothing changes.
        """
        changed = self.faults.switch(command, self._step_number)
        self._set_leaks()
        return changed

    def step(self) -> dict[str, dict[str, float]]:
        """Readings of all assets at `time_ns`, asset → channel → value; event time moves on by one step."""
        return {
            asset: dict(zip(self.layout[kind][1], values, strict=True))
            for kind, array in self.step_arrays().items()
            for asset, values in zip(self.layout[kind][0], array.tolist(), strict=True)
        }

    def step_arrays(self) -> dict[str, Floats]:
        """The same as `step`, type → (asset, channel) in the order of `layout`."""
        readings = self._advance()
        for kind, array in readings.items():
            share = np.array([NOISE[channel][0] for channel in CHANNELS[kind]])
            floor = np.array([NOISE[channel][1] for channel in CHANNELS[kind]])
            array += self._random.standard_normal(array.shape) * (share * np.abs(array) + floor)
        np.maximum(readings[JUNCTION][:, 0], 0.0, out=readings[JUNCTION][:, 0])  # a customer's meter does not run backwards
        self.faults.disturb(readings, self._step_number)
        self._step_number += 1
        return readings

    def _advance(self) -> dict[str, Floats]:
        hydraulics = self.hydraulics
        demand = self._demand.at(self._step_number * self.step_s) * self.demand_share
        hydraulics.set_demands(demand)
        levels = hydraulics.levels_m()
        commands = self._control(levels)
        hydraulics.solve()
        flows = hydraulics.pipe_flows_lps(self._pipes)
        pumped = hydraulics.pump_flows_lps()
        gains = np.where(pumped > 1e-3, hydraulics.pump_gains_m(), 0.0)  # a closed pump's headloss is the network's, not its own
        readings = {
            # the meter of a customer sees what the customer takes, not what leaks out before it
            JUNCTION: np.stack([demand[self._customers], hydraulics.pressures_m()[self._customers]], axis=1),
            TANK: np.stack([hydraulics.tank_inflows_lps(), levels], axis=1),
            PUMP: np.stack([commands, pumped, gains, hydraulics.pump_powers_kw()], axis=1),
            PIPE: np.stack([flows, np.sign(flows) * hydraulics.pipe_headlosses_m(self._pipes)], axis=1),
        }
        hydraulics.advance()
        return readings

    def _control(self, levels_m: Floats) -> Floats:
        """The plant's control programme: what each pump is told. A tripped pump is told to run and does not."""
        if levels_m[0] > _RIVER_OFF_M or levels_m[_FULL_TANK] > _FULL_M:
            self._river_on = False
        elif levels_m[0] < _RIVER_ON_M and levels_m[_FULL_TANK] < _ROOM_M:
            self._river_on = True
        hour = self._step_number * self.step_s / 3600 % 24
        told = {_LAKE_PUMP: _LAKE_HOURS[0] <= hour < _LAKE_HOURS[1], _RIVER_PUMP: self._river_on}
        runs = {pump: on and not self.faults.is_on("pump-trip", f"pump-{pump}") for pump, on in told.items()}
        for pump, is_open in runs.items():
            self.hydraulics.set_link(pump, is_open)
        self.hydraulics.set_link(_BYPASS, not runs[_RIVER_PUMP])
        return np.array([float(told[pump]) for pump in self.hydraulics.pumps])

    def _set_leaks(self) -> None:
        wanted = {command.asset: self.leak_lps(command) for command in self.faults.on("leak")}
        for asset in sorted(self._leaking | set(wanted)):
            self.hydraulics.set_emitter(asset.removeprefix("junction-"), wanted.get(asset, 0.0))
        self._leaking = set(wanted)

    @staticmethod
    def leak_lps(command: DemoCommand) -> float:
        """How much a leak lets out at 20 m head: as told, or enough to be seen at its junction."""
        return command.size if command.size is not None else default_leak_lps(command.asset.removeprefix("junction-"))

    def wording(self, command: DemoCommand) -> str:
        """What a command does, for people.

        >>> WaterPlant(1800).wording(DemoCommand(fault="pump-trip", asset="pump-10"))
        'pump-trip of pump-10 begins'
        """
        size = ""
        if command.active and command.fault == "leak":
            size = f": {self.leak_lps(command):g} litres a second at 20 m head"
        elif command.active and (sensor := self.faults.sensor(command)) is not None:
            channel = self.layout[sensor.type][1][sensor.column]
            amount = {"drift": f" by {sensor.size:g} an hour", "offset": f" by {sensor.size:g}"}.get(sensor.kind, "")
            size = f": {channel}{amount}"
        return f"{command.fault} of {command.asset} {'begins' if command.active else 'ends'}{size}"

    def _settle(self) -> None:
        steps = _SETTLING_S // self.step_s
        self._step_number -= steps
        for _ in range(steps):
            self._advance()
            self._step_number += 1

    def state(self) -> dict[str, Any]:
        """All that a plant needs to go on where this one stands, in JSON's own types."""
        return {
            "version": STATE_VERSION,
            "step": self._step_number,
            "step_s": self.step_s,
            "levels_m": self.hydraulics.levels_m().tolist(),
            "river_on": self._river_on,
            "demand": self._demand.state(),
            "random": self._random.bit_generator.state,
            "faults": self.faults.state(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._demand.restore(state["demand"])
        self._random.bit_generator.state = state["random"]
        self._river_on = bool(state["river_on"])
        self.faults.restore(state["faults"])
        self._set_leaks()


def simulate(
    days: float,
    seed: int = 1,
    commands: Iterable[tuple[int, DemoCommand]] = (),
    *,
    step_s: int = 300,
    start_ns: int = 1_767_571_200 * NS_PER_S,
) -> dict[str, StepBlock]:
    """Run the plant offline: type → all its readings, on the grid of the type.

    Args:
        days: event time to simulate.
        seed: of demand and sensor noise.
        commands: (steps after the start, command), switched before that step's readings.
        start_ns: event time of the first step; Monday 2026-01-05 unless told.
    """
    plant = WaterPlant(step_s, seed, start_ns)
    pending: Sequence[tuple[int, DemoCommand]] = sorted(commands, key=lambda entry: entry[0])
    steps = round(days * 86_400 / step_s)
    first = plant.step_number
    values = {
        kind: np.empty((len(assets), steps, len(channels)), np.float32) for kind, (assets, channels) in plant.layout.items()
    }
    done = 0
    for step in range(steps):
        while done < len(pending) and pending[done][0] <= step:
            plant.switch(pending[done][1])
            done += 1
        for kind, array in plant.step_arrays().items():
            values[kind][:, step] = array
    return {
        kind: StepBlock(
            assets=assets,
            channels=channels,
            first_step=first,
            period_ns=step_s * NS_PER_S,
            values=values[kind],
            quality=np.full(values[kind].shape, int(Quality.GOOD), np.uint8),
        )
        for kind, (assets, channels) in plant.layout.items()
    }

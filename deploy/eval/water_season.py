"""A season of the water plant with faults injected one after the other, as records of `telemetry`.

In:   a seed, which kinds of faults to inject, or for how many days to go on without any.
Out:  records an hour, in log order; the faults as they were.
Deterministic: the same seed gives the same records.

The time of a season is cut into slots. Each holds one fault of the process, or several faults of sensors at twins that are
no neighbours; then all is well for some hours, so that no fault stands in another's window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from deploy.eval.water_faults import PROCESS_KINDS, Disturbance, Fault, draw_process, draw_sensor
from deploy.feeds.producer import epoch
from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import PUMP, WaterPlant
from streams.definitions import Definitions
from streams.log_record import PlainRecord
from twin.types import NS_PER_S

STEP_S = 300
HOUR = 3600 // STEP_S  # steps
DAY = 24 * HOUR
RECORD_STEPS = 3  # of one asset in one record
FAULT_STEPS = 12 * HOUR
SHORT_FAULT_STEPS = {"pump-trip": 6 * HOUR, "closed-main": 6 * HOUR}  # longer ones would empty the tanks
SETTLING_STEPS = {"process": 12 * HOUR, "sensor": 7 * HOUR}  # after a fault's end: tanks find back, windows are clean again
BETWEEN_STEPS = (HOUR, 4 * HOUR)  # and then before the next one, at random
PARALLEL = 8  # sensor faults at once, at twins that are no neighbours
FIRST_STEPS = 12 * HOUR  # before the first fault
MONDAY_S = 1_767_571_200
_RUNS_LPS = 10.0


def definitions() -> Definitions:
    """The plant's types and twins, as its feed declares them."""
    found = Definitions()
    for interface in water_interfaces(STEP_S):
        found.apply(f"type/{interface['@id']}".encode(), orjson.dumps(interface))
    for twin in water_declarations(WaterPlant(STEP_S).layout):
        found.apply(f"twin/{twin.asset}".encode(), twin.model_dump_json().encode())
    return found


class WaterSeason:
    """Some weeks of the plant.

    Args:
        seed: of demand, noise, places, sizes and times.
        kinds: faults to inject, one each; their order is drawn.
        days: how long it lasts without faults; with some it lasts until all have been.
        first_day: days after the Monday on which the models' training begins.
        demand_share: demand of all customers at a step of the season, as a share of the usual.
    """

    def __init__(
        self,
        *,
        seed: int,
        kinds: Sequence[str] = (),
        days: float = 0.0,
        first_day: int = 8,
        demand_share: Callable[[int], float] | None = None,
    ) -> None:
        self._random = np.random.default_rng([seed, 1])
        self._plant = WaterPlant(STEP_S, seed, (MONDAY_S + first_day * 86_400) * NS_PER_S)
        self.layout = self._plant.layout
        self.definitions = definitions()
        self.first_step = self._plant.step_number
        self.faults: list[Fault] = []
        self._disturbance = Disturbance(self.layout, np.random.default_rng([seed, 2]))
        self._fleet = self.definitions.fleet
        self._demand_share = demand_share
        self._waiting = _slots(kinds, self._random)
        self._active: list[Fault] = []
        self._next_slot = self.first_step + FIRST_STEPS
        self._last_step = self.first_step + round(days * DAY)
        self._flows = np.zeros(len(self.layout[PUMP][0]))
        self._offset = 0

    def hours(self) -> Iterator[list[PlainRecord]]:
        """Records of hour after hour until the season is over."""
        while self._waiting or self._active or self._plant.step_number < self._last_step:
            yield [record for _ in range(HOUR // RECORD_STEPS) for record in self._records()]

    def _records(self) -> Iterator[PlainRecord]:
        """One record of each asset of which something came."""
        times, steps, silent = [], [], []
        for _ in range(RECORD_STEPS):
            self._end_and_begin()
            times.append(epoch(self._plant.time_ns))
            if self._demand_share is not None:
                self._plant.demand_share = self._demand_share(self._plant.step_number - self.first_step)
            readings = self._plant.step_arrays()
            self._flows = readings[PUMP][:, self.layout[PUMP][1].index("flow")].copy()
            silent.append(self._disturbance.apply(self._active, readings))
            steps.append(readings)
        timestamp = self._plant.time_ns // 1_000_000
        for kind, (assets, channels) in self.layout.items():
            values = np.round(np.stack([one[kind] for one in steps], axis=2), 4)  # asset, channel, step
            for row, asset in enumerate(assets):
                came = [place for place in range(RECORD_STEPS) if asset not in silent[place]]
                if came:
                    yield self._record(asset, channels, [times[place] for place in came], values[row][:, came], timestamp)

    def _record(
        self, asset: str, channels: Sequence[str], times: list[Any], values: NDArray[np.float64], timestamp: int
    ) -> PlainRecord:
        content = {"asset": asset, "time": times, **dict(zip(channels, values.tolist(), strict=True))}
        self._offset += 1
        return PlainRecord("telemetry", 0, self._offset - 1, timestamp, asset.encode(), orjson.dumps(content))

    def _end_and_begin(self) -> None:
        now = self._plant.step_number
        for fault in [one for one in self._active if one.end <= now]:
            self._active.remove(fault)
            self._switch(fault, active=False)
        if not self._active and self._waiting and now >= self._next_slot:
            self._begin(self._waiting[0], now)

    def _begin(self, kinds: Sequence[str], now: int) -> None:
        """The faults of one slot; a pump trips when the next one runs."""
        running = [asset for asset, flow in zip(self.layout[PUMP][0], self._flows.tolist(), strict=True) if flow > _RUNS_LPS]
        if kinds[0] == "pump-trip" and not running:
            return
        self._waiting.pop(0)
        end = now + SHORT_FAULT_STEPS.get(kinds[0], FAULT_STEPS)
        if kinds[0] in PROCESS_KINDS:
            begun = [draw_process(kinds[0], self.layout, self._random, now, end, running=running)]
        else:
            begun = []
            avoid: set[str] = set()
            for kind in kinds:
                fault = None
                while fault is None:  # a type all of whose twins have a fault, or a neighbour with one: another type
                    fault = draw_sensor(kind, self.layout, self._random, now, end, avoid=avoid)
                begun.append(fault)
                avoid |= {fault.asset} | self._fleet.neighbours(fault.asset)
        for fault in begun:
            self._switch(fault, active=True)
        self._active += begun
        self.faults += begun
        settling = SETTLING_STEPS["process" if begun[0].of_process else "sensor"]
        self._next_slot = end + settling + int(self._random.integers(*BETWEEN_STEPS))
        self._last_step = end + settling

    def _switch(self, fault: Fault, *, active: bool) -> None:
        command = fault.command(active=active)
        if command is not None:
            self._plant.switch(command)
        elif fault.kind == "closed-main":
            self._plant.hydraulics.set_link(fault.asset.removeprefix("pipe-"), not active)


def _slots(kinds: Sequence[str], random: np.random.Generator) -> list[tuple[str, ...]]:
    """Kinds by slot, in an order that is drawn."""
    shuffled = [kinds[place] for place in random.permutation(len(kinds))]
    process = [(kind,) for kind in shuffled if kind in PROCESS_KINDS]
    sensors = [kind for kind in shuffled if kind not in PROCESS_KINDS]
    slots = process + [tuple(sensors[at : at + PARALLEL]) for at in range(0, len(sensors), PARALLEL)]
    return [slots[place] for place in random.permutation(len(slots))]

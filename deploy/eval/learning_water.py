"""Weeks of the demo plant in which it changes, or a fault grows slowly.

In:   which change, a seed.
Out:  `Scenario`s. The same seed gives the same demand and the same noise with and without the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deploy.eval.learning_scenario import Injected, Plan, Scenario, Span, drift_plan, slow_plan
from deploy.feeds.faults import DEFAULT_SENSOR_SIZE, HOUR_S, SENSOR_FAULTS, main_channel
from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import JUNCTION, PIPE, PUMP, TANK, WaterPlant
from streams.records import DemoCommand, EventRecord
from twin.block import StepBlock
from twin.quality import Quality
from twin.types import NS_PER_S

Floats = NDArray[np.float64]
MONDAY_NS = 1_767_571_200 * NS_PER_S
LONG_S = 30 * 86_400  # before the beginning: a drift since then has settled
SLOT_HOURS, FAULT_HOURS = 4, 2  # a fault of two hours, two hours of rest
AT_ONCE = 4  # sensors that are faulty at the same time, one a twin
NO_SENSOR_FAULTS = frozenset({"command"})


@dataclass(slots=True)
class Change:
    """What is different from the plant as built, as a function of event time; nothing by default."""

    demand: Callable[[int], float] = lambda time_s: 1.0  # factor on every customer's demand
    pump_speed: Callable[[int], float] = lambda time_s: 1.0  # worn impellers lift as slower ones do
    sensors: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)  # asset, channel → gain, offset
    sensors_from_s: int = 0
    sensors_until_s: int = 0


class ChangingPlant(WaterPlant):
    """The demo plant with a change."""

    def __init__(self, change: Change, step_s: int, seed: int, start_ns: int) -> None:
        self._change = change
        super().__init__(step_s, seed, start_ns)

    def _advance(self) -> dict[str, Floats]:
        change, time_s = self._change, self._step_number * self.step_s
        self._demand.factor = change.demand(time_s)
        self.hydraulics.pump_speed = change.pump_speed(time_s)
        readings = super()._advance()
        if change.sensors_from_s <= time_s < change.sensors_until_s:
            for (asset, channel), (gain, offset) in change.sensors.items():
                kind, row, column = self._place(asset, channel)
                readings[kind][row, column] = gain * readings[kind][row, column] + offset
        return readings

    def _place(self, asset: str, channel: str) -> tuple[str, int, int]:
        kind = next(kind for kind, (assets, _) in self.layout.items() if asset in assets)
        assets, channels = self.layout[kind]
        return kind, assets.index(asset), channels.index(channel)


@dataclass(frozen=True, slots=True)
class _Drift:
    """A change between two event times, and the types of twins that it is looked at on."""

    change: Callable[[float, float], Change]  # from, until, s since 1970
    types: tuple[str, ...]
    announced: tuple[str, ...] = ()  # assets whose recalibration is announced on `events`


def _ramp(from_s: float, until_s: float, days: float) -> Callable[[int], float]:
    """0 before, 1 once it is there, 0 again from `until_s` on."""
    return lambda time_s: 0.0 if time_s >= until_s else float(np.clip((time_s - from_s) / (days * 86_400), 0.0, 1.0))


def _pattern(from_s: float, until_s: float) -> Change:
    """People stay at home: the morning's peak comes later and lower, the early afternoon takes more."""
    on = _ramp(from_s, until_s, 0.25)
    return Change(demand=lambda time_s: 1.0 - on(time_s) * 0.25 * float(np.cos(2 * np.pi * (time_s / 3600 % 24 - 7.5) / 12)))


def _wear(from_s: float, until_s: float) -> Change:
    """Both pumps' head curves fall by a seventh within two days: as if they ran 7 % slower."""
    on = _ramp(from_s, until_s, 2.0)
    return Change(pump_speed=lambda time_s: 1.0 - 0.07 * on(time_s))


def _season(from_s: float, until_s: float) -> Change:
    """A heat wave: within two days a quarter more is taken, most of it in the evening."""
    on = _ramp(from_s, until_s, 2.0)
    return Change(demand=lambda time_s: 1.0 + on(time_s) * (0.22 + 0.12 * float(np.cos(2 * np.pi * (time_s / 3600 - 19) / 24))))


RECALIBRATED = {("tank-1", "level"): (1.03, 0.25), ("pump-10", "head"): (1.04, 1.0), ("pump-335", "power"): (0.93, 0.0)}


def _recalibration(from_s: float, until_s: float) -> Change:
    """Three sensors show other values than before, as after a visit with a reference instrument."""
    return Change(sensors=RECALIBRATED, sensors_from_s=int(from_s), sensors_until_s=int(until_s))


DRIFTS: Mapping[str, _Drift] = {
    "demand pattern": _Drift(_pattern, (JUNCTION, TANK, PIPE)),
    "pump wear": _Drift(_wear, (PUMP, PIPE)),
    "new season": _Drift(_season, (JUNCTION, TANK, PUMP)),
    "sensor recalibration": _Drift(_recalibration, (TANK, PUMP), tuple(asset for asset, _ in RECALIBRATED)),
}


def drift_scenario(name: str, *, seed: int, step_s: int = 300, twins: int = 12, plan: Plan | None = None) -> Scenario:
    """One drift of the plant, by its name in DRIFTS.

    Args:
        twins: of each type that are looked at, spread over the plant.
        plan: None: `drift_plan`.
    """
    drift = DRIFTS[name]
    plan = plan or drift_plan(86_400 // step_s)
    start_s = MONDAY_NS // NS_PER_S
    begins = start_s + plan.drifted.start * step_s
    ends = start_s + plan.drifted_until * step_s
    plant = WaterPlant(step_s, seed, MONDAY_NS)
    chosen = _chosen(plant, drift.types, twins)
    faults, commands = _faults(chosen, plan, step_s, np.random.default_rng(seed))
    announced = tuple(
        EventRecord(asset=asset, time_ns=int(at_s) * NS_PER_S, kind="recalibration")
        for at_s in (begins, ends)
        for asset in drift.announced
    )
    return Scenario(
        name=name,
        interfaces=tuple(one for one in water_interfaces(step_s) if one["@id"] in drift.types),
        declarations=tuple(one for one in water_declarations(plant.layout) if any(one.asset in c[0] for c in chosen.values())),
        plan=plan,
        blocks=_run(drift.change(begins, ends), commands, plan.end, chosen, step_s, seed),
        undrifted=_run(Change(), [], plan.end, chosen, step_s, seed),
        settled=_run(drift.change(start_s - LONG_S, ends), [], plan.end, chosen, step_s, seed),
        faults=tuple(faults),
        announced=announced,
    )


Chosen = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]  # type → assets, channels


def _chosen(plant: WaterPlant, types: Sequence[str], twins: int) -> Chosen:
    found = {}
    for kind in types:
        assets, channels = plant.layout[kind]
        at = np.unique(np.linspace(0, len(assets) - 1, min(twins, len(assets))).astype(int))
        found[kind] = (tuple(assets[place] for place in at), channels)
    return found


def _faults(
    chosen: Chosen, plan: Plan, step_s: int, random: np.random.Generator
) -> tuple[list[Injected], list[tuple[int, DemoCommand]]]:
    """Sensor faults at random twins, half to twice the size that is clear to see, for two hours each."""
    found: list[Injected] = []
    commands: list[tuple[int, DemoCommand]] = []
    steps_an_hour = 3600 // step_s
    twins = [(asset, channels) for assets, channels in chosen.values() for asset in assets]
    for span in (plan.faults, plan.returned_faults):
        if span is None:
            continue
        for start in range(span.start, span.stop - SLOT_HOURS * steps_an_hour + 1, SLOT_HOURS * steps_an_hour):
            for place in random.permutation(len(twins))[:AT_ONCE].tolist():
                asset, channels = twins[place]
                kind = sorted(SENSOR_FAULTS)[int(random.integers(len(SENSOR_FAULTS)))]
                usable = [channel for channel in channels if channel not in NO_SENSOR_FAULTS]
                channel = usable[int(random.integers(len(usable)))]
                offset, drift = DEFAULT_SENSOR_SIZE[channel]
                size = float(np.exp(random.uniform(np.log(0.5), np.log(2.0)))) * float(random.choice([-1.0, 1.0]))
                size *= {"offset": offset, "drift": drift, "stuck": 0.0}[kind]
                stop = start + FAULT_HOURS * steps_an_hour
                commands.append((start, DemoCommand(fault=kind, asset=asset, channel=channel, size=size)))
                commands.append((stop, DemoCommand(fault=kind, asset=asset, active=False)))
                found.append(Injected(asset, kind, Span(start, stop)))
    return found, commands


SLOW_LEAKS = ("junction-15", "junction-211")
SLOW_SENSORS = {"junction-247": -3.0, "junction-121": 3.0, "tank-2": 0.6}  # units, once it has grown


def slow_scenario(*, seed: int, step_s: int = 300, twins: int = 12, plan: Plan | None = None) -> Scenario:
    """Leaks and sensor drifts that grow for a week, nothing else changes."""
    plan = plan or slow_plan(86_400 // step_s)
    plant = WaterPlant(step_s, seed, MONDAY_NS)
    chosen = dict(_chosen(plant, (JUNCTION, TANK), twins))
    for kind, (assets, channels) in chosen.items():
        slow = [asset for asset in plant.layout[kind][0] if asset in SLOW_LEAKS or asset in SLOW_SENSORS]
        chosen[kind] = (tuple(sorted({*assets, *slow})), channels)
    steps_an_hour, grows = 3600 // step_s, plan.drifted
    hours = (grows.stop - grows.start) // steps_an_hour
    commands: list[tuple[int, DemoCommand]] = []
    for junction in SLOW_LEAKS:
        whole = WaterPlant.leak_lps(DemoCommand(fault="leak", asset=junction))
        for hour in range(1, hours + 1):
            at = grows.start + (hour - 1) * steps_an_hour
            commands.append((at, DemoCommand(fault="leak", asset=junction, size=whole * hour / hours)))
    for asset, grown in SLOW_SENSORS.items():
        channel = main_channel(plant.layout[TANK if asset.startswith("tank") else JUNCTION][1])
        per_hour = grown / ((grows.stop - grows.start) * step_s / HOUR_S)
        commands.append((grows.start, DemoCommand(fault="drift", asset=asset, channel=channel, size=per_hour)))
    leaks = [Injected(asset, "leak", grows, spreads=True) for asset in SLOW_LEAKS]
    drifts = [Injected(asset, "drift", grows) for asset in SLOW_SENSORS]
    return Scenario(
        name="slow faults",
        interfaces=tuple(one for one in water_interfaces(step_s) if one["@id"] in chosen),
        declarations=tuple(one for one in water_declarations(plant.layout) if any(one.asset in c[0] for c in chosen.values())),
        plan=plan,
        blocks=_run(Change(), commands, plan.end, chosen, step_s, seed),
        undrifted=None,
        slow=(*leaks, *drifts),
    )


def _run(
    change: Change, commands: Sequence[tuple[int, DemoCommand]], steps: int, chosen: Chosen, step_s: int, seed: int
) -> dict[str, StepBlock]:
    """What the sensors of the chosen twins show, by type."""
    plant = ChangingPlant(change, step_s, seed, MONDAY_NS)
    rows = {kind: [plant.layout[kind][0].index(asset) for asset in assets] for kind, (assets, _) in chosen.items()}
    values = {kind: np.empty((len(assets), steps, len(channels)), np.float32) for kind, (assets, channels) in chosen.items()}
    first = plant.step_number
    waiting = _in_order(commands)
    due = next(waiting, None)
    for step in range(steps):
        while due is not None and due[0] <= step:
            plant.switch(due[1])
            due = next(waiting, None)
        shown = plant.step_arrays()
        for kind, array in values.items():
            array[:, step] = shown[kind][rows[kind]]
    good = {kind: np.full(array.shape, int(Quality.GOOD), np.uint8) for kind, array in values.items()}
    return {
        kind: StepBlock(assets, channels, first, step_s * NS_PER_S, values[kind], good[kind])
        for kind, (assets, channels) in chosen.items()
    }


def _in_order(commands: Sequence[tuple[int, DemoCommand]]) -> Iterator[tuple[int, DemoCommand]]:
    return iter(sorted(commands, key=lambda entry: entry[0]))

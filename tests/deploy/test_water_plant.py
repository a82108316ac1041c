"""The demo plant offline: a week stays sane, faults look as they should, a saved plant goes on as if nothing had happened."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deploy.feeds.epanet import Epanet, HydraulicsFailed
from deploy.feeds.faults import FaultRefused
from deploy.feeds.water import JUNCTION, PIPE, PUMP, TANK, WaterPlant, simulate
from deploy.feeds.water_fleet import water_declarations, water_interfaces
from deploy.feeds.water_plant import NOISE
from deploy.feeds.water_state import on_grid
from streams.records import DemoCommand
from twin.block import StepBlock
from twin.fleet import Fleet
from twin.types import NS_PER_S, compile_type

MONDAY_NS = 1_767_571_200 * NS_PER_S
HOUR = 12  # steps
ONSET = 24 * HOUR + 8 * HOUR  # a Tuesday at eight


@pytest.fixture(scope="module")
def week() -> dict[str, StepBlock]:
    return simulate(7)


def series(blocks: dict[str, StepBlock], kind: str, asset: str, channel: str) -> np.ndarray:
    block = blocks[kind]
    return block.values[block.assets.index(asset), :, block.channels.index(channel)].astype(float)


def test_a_week_stays_within_what_its_types_allow(week: dict[str, StepBlock]) -> None:
    for interface in water_interfaces(300):
        kind = compile_type(interface)
        block = week[kind.id]
        assert block.channels == kind.channel_names
        assert block.period_ns == kind.period_ns
        assert np.isfinite(block.values).all()
        for position, channel in enumerate(kind.channels):
            values = block.values[:, :, position]
            for low in (channel.minimum, channel.low_limit):
                assert low is None or values.min() >= low, channel.name
            for high in (channel.maximum, channel.high_limit):
                assert high is None or values.max() <= high, channel.name
            if channel.stuck_after is not None:  # noise moves a channel that may be watched for freezing
                assert (np.diff(np.round(values, 4), axis=1) != 0).mean() > 0.99, channel.name


def test_tanks_breathe_every_day_and_never_run_over_or_dry(week: dict[str, StepBlock]) -> None:
    declared = {twin.asset: twin.properties for twin in water_declarations(WaterPlant().layout)}
    for tank in week[TANK].assets:
        level = series(week, TANK, tank, "level")
        assert 1.0 < level.min() < level.max() <= float(declared[tank]["maxLevel"]) + 5 * NOISE["level"][1]
        assert np.ptp(level.reshape(7, -1), axis=1).min() > 0.5


def test_a_tank_fills_by_what_flows_in(week: dict[str, StepBlock]) -> None:
    diameter_m = 85 * 0.3048  # tank 1, from the network file
    area_m2 = np.pi * diameter_m**2 / 4
    risen_m3 = np.diff(series(week, TANK, "tank-1", "level")[::HOUR]) * area_m2
    flowed_m3 = (series(week, TANK, "tank-1", "inflow") * 300 / 1000).reshape(-1, HOUR).sum(axis=1)[:-1]
    assert np.abs(risen_m3 - flowed_m3).max() < 5 * NOISE["level"][1] * 2**0.5 * area_m2


def test_demand_follows_the_hour_and_is_another_on_weekends(week: dict[str, StepBlock]) -> None:
    town = series(week, JUNCTION, "junction-115", "demand").reshape(7, 24, HOUR).mean(axis=2)
    weekday, weekend = town[:5].mean(axis=0), town[5:].mean(axis=0)
    assert weekday[1] > 1.5 * weekday[18]  # the pattern of the network file
    assert weekend.sum() < weekday.sum()
    assert np.ptp(weekend) < np.ptp(weekday)


def test_a_seed_gives_the_same_plant_again_and_another_seed_another() -> None:
    one, same, other = (simulate(0.1, seed)[JUNCTION].values for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("asset", ["junction-101", "junction-15", "junction-121", "junction-213", "junction-255"])
def test_a_leak_lowers_pressure_most_there_or_next_to_it_and_no_meter_sees_it(week: dict[str, StepBlock], asset: str) -> None:
    leaking = simulate(2, commands=[(ONSET, DemoCommand(fault="leak", asset=asset))])
    before, after = week[JUNCTION].values[:, : 48 * HOUR], leaking[JUNCTION].values
    assert np.array_equal(before[:, :ONSET], after[:, :ONSET])
    drop = (before - after)[:, ONSET : ONSET + 3 * HOUR, 1].mean(axis=1)
    assets = week[JUNCTION].assets
    assert drop[assets.index(asset)] >= 10 * NOISE["pressure"][1]
    fleet = Fleet(water_declarations(WaterPlant().layout))
    near = {asset} | fleet.neighbours(asset)
    near |= {further for one in near if not one.startswith("junction") for further in fleet.neighbours(one)}
    assert assets[int(drop.argmax())] in near
    metered = np.abs(before - after)[:, :, 0]
    assert metered.max() == 0


def test_a_leak_of_a_told_size_loses_that_much_and_stops_when_it_is_repaired() -> None:
    leak = DemoCommand(fault="leak", asset="junction-101", size=25)
    repaired = leak.model_copy(update={"active": False})
    clean = simulate(1)
    blocks = simulate(1, commands=[(8 * HOUR, leak), (10 * HOUR, repaired)])

    def drawn(found: dict[str, StepBlock]) -> np.ndarray:
        """All that enters the network: from the river through main 329, from the lake, less what tanks take."""
        river, lake = series(found, PIPE, "pipe-329", "flow"), series(found, PUMP, "pump-10", "flow")
        return river + lake - found[TANK].values[:, :, 0].sum(axis=0)

    lost = drawn(blocks) - drawn(clean)
    during, after = np.zeros(288, bool), np.zeros(288, bool)
    during[8 * HOUR : 10 * HOUR], after[10 * HOUR : 12 * HOUR] = True, True
    pressure = series(blocks, JUNCTION, "junction-101", "pressure")[during].mean()
    assert lost[during].mean() == pytest.approx(25 * (pressure / 20) ** 0.5, rel=0.1)
    assert abs(lost[after].mean()) < 3
    pressures = [series(found, JUNCTION, "junction-101", "pressure") for found in (clean, blocks)]
    assert (pressures[0] - pressures[1])[during].mean() > 1.0
    assert abs((pressures[0] - pressures[1])[after].mean()) < 0.3


def test_a_tripped_pump_is_told_to_run_and_does_not(week: dict[str, StepBlock]) -> None:
    tripped = simulate(2, commands=[(ONSET, DemoCommand(fault="pump-trip", asset="pump-10"))])
    assert series(week, PUMP, "pump-10", "flow")[ONSET : ONSET + HOUR].min() > 50
    assert np.abs(series(tripped, PUMP, "pump-10", "flow")[ONSET : ONSET + HOUR]).max() < 1
    assert series(tripped, PUMP, "pump-10", "command")[ONSET : ONSET + HOUR].min() == 1
    assert series(tripped, JUNCTION, "junction-101", "pressure").min() > 0  # the town is still served


def test_faulty_sensors_freeze_drift_and_jump(week: dict[str, StepBlock]) -> None:
    tank = {"asset": "tank-1", "channel": "level"}
    for fault, size, expected in (
        ("offset", 0.5, np.full(6 * HOUR, 0.5)),
        ("drift", 0.1, np.arange(6 * HOUR) / HOUR * 0.1),
    ):
        faulty = simulate(2, commands=[(ONSET, DemoCommand(fault=fault, size=size, **tank))])
        added = (series(faulty, TANK, "tank-1", "level") - series(week, TANK, "tank-1", "level")[: 48 * HOUR])[ONSET:]
        assert np.allclose(added[: 6 * HOUR], expected, atol=1e-3)
    stuck = simulate(2, commands=[(ONSET, DemoCommand(fault="stuck", **tank))])
    frozen = series(stuck, TANK, "tank-1", "level")
    assert np.ptp(frozen[ONSET:]) == 0
    assert frozen[ONSET] == series(week, TANK, "tank-1", "level")[ONSET]
    assert np.array_equal(stuck[JUNCTION].values, week[JUNCTION].values[:, : 48 * HOUR])  # the plant itself is well


@pytest.mark.parametrize(
    "command",
    [
        DemoCommand(fault="leak", asset="nowhere"),
        DemoCommand(fault="leak", asset="tank-1"),
        DemoCommand(fault="pump-trip", asset="tank-1"),
        DemoCommand(fault="stuck", asset="tank-1", channel="colour"),
        DemoCommand(fault="leak", asset="junction-101", size=-3),
        DemoCommand(fault="offset", asset="tank-1", size=float("nan")),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_and_changes_nothing(command: DemoCommand) -> None:
    plant = WaterPlant(1800)
    with pytest.raises(FaultRefused, match="not switched"):
        plant.switch(command)
    assert plant.faults.active() == []


def test_a_saved_plant_goes_on_as_if_nothing_had_happened() -> None:
    plant = WaterPlant(300, seed=3, start_ns=MONDAY_NS)
    plant.switch(DemoCommand(fault="leak", asset="junction-101"))
    plant.switch(DemoCommand(fault="stuck", asset="tank-2"))
    plant.switch(DemoCommand(fault="drift", asset="pipe-103", channel="flow"))
    for _ in range(100):
        plant.step_arrays()
    restored = WaterPlant(300, seed=99, state=json.loads(json.dumps(plant.state())))
    assert restored.faults.active() == plant.faults.active()
    for _ in range(100):
        assert restored.time_ns == plant.time_ns
        for found, expected in zip(restored.step_arrays().values(), plant.step_arrays().values(), strict=True):
            assert np.allclose(found, expected, atol=5e-3)  # the solver iterates from another start


def test_event_time_never_goes_back_when_the_step_length_changes() -> None:
    plant = WaterPlant(300, start_ns=MONDAY_NS + 300 * NS_PER_S)
    state = on_grid(plant.state() | {"backfill_until_step": plant.step_number}, 900)
    restored = WaterPlant(900, state=state)
    assert plant.time_ns <= restored.time_ns < plant.time_ns + 900 * NS_PER_S
    restored.step()


def test_the_plant_goes_on_when_the_solver_has_reached_its_longest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = simulate(0.5, seed=5)
    monkeypatch.setattr("deploy.feeds.hydraulics.LONGEST_RUN_S", 4 * 3600)
    found = simulate(0.5, seed=5)
    for kind, block in expected.items():
        assert np.allclose(found[kind].values, block.values, atol=0.01)


def test_a_network_that_the_solver_does_not_take_is_refused_in_its_words() -> None:
    with pytest.raises(HydraulicsFailed, match=r"open answered 2.*the plant stops"):
        Epanet("[JUNCTIONS]\n 1 nonsense\n[END]\n")


def test_every_asset_is_declared_once_has_a_place_and_a_neighbour() -> None:
    plant = WaterPlant()
    declarations = water_declarations(plant.layout)
    assert sorted(twin.asset for twin in declarations) == sorted(plant.assets)
    fleet = Fleet(declarations)
    for twin in declarations:
        assert 0 <= float(twin.properties["x"]) <= 1
        assert 0 <= float(twin.properties["y"]) <= 1
        assert fleet.neighbours(twin.asset)
        assert all(edge.target in fleet for edge in twin.relationships)
    assert "junction-123" in fleet.neighbours("pipe-329")

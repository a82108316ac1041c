"""What `livetwin type infer` makes of plants: what a process engineer would write, or nothing."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from deploy.feeds.water import WaterPlant, telemetry
from deploy.feeds.water_fleet import water_interfaces
from deploy.type_inference import infer, of_records
from streams.log_record import PlainRecord
from twin.types import TwinType, compile_type

START = 1_767_571_200


def inferred(rows: list[dict[str, Any]]) -> dict[str, TwinType]:
    records = [PlainRecord("t", 0, at, START * 1000, None, orjson.dumps(row)) for at, row in enumerate(rows)]
    found = [compile_type(interface) for interface, _ in infer(of_records(records, "t"), "Plant")]  # type: ignore[arg-type]
    return {kind.id: kind for kind in found}


def line(step: int) -> dict[str, Any]:
    running = step % 97 > 20
    return {
        "asset": "line1", "time": START + 10 * step,
        "energy_total_kwh": 1000 + 0.025 * step, "pieces": step % 350 * 2, "starts": step // 97,
        "valve_position_pct": [0, 25, 50, 100][step // 60 % 4], "pump_running": int(running),
        "mode": ["off", "auto", "by hand"][step // 150 % 3],
        "speed_rpm": (1480 + step % 3) if running else 0, "error_code": 17 if step % 200 == 0 else 0,
        "temp_c": 65 + 0.5 * math.sin(step / 9), "inlet_pressure_bar": 4.2 + 0.05 * math.sin(step / 5),
        "flow": {"value": 12 + 3 * math.sin(step / 30), "unit": "m3/h"}, "setpoint_temp_c": 65 if step < 300 else 70,
    }  # fmt: skip


def test_roles_units_and_words_of_a_production_line() -> None:
    (kind,) = inferred([line(step) for step in range(600)]).values()
    assert kind.period_ns == 10 * 10**9
    assert {one.name: (one.role, one.unit) for one in kind.channels} == {
        "energy_total_kwh": ("counter", "kilowattHour"),
        "pieces": ("counter", None),  # it was set back once
        "starts": ("counter", None),  # it moves seldom, and is called so
        "valve_position_pct": ("actuator", "percent"),
        "pump_running": ("state", None),
        "mode": ("state", None),
        "speed_rpm": ("sensor", "revolutionPerMinute"),  # few whole values, but measured
        "error_code": ("state", None),
        "temp_c": ("sensor", "degreeCelsius"),
        "inlet_pressure_bar": ("sensor", "bar"),
        "flow": ("sensor", "cubicMetrePerHour"),  # the source states it
        "setpoint_temp_c": ("actuator", "degreeCelsius"),
    }
    by_name = {one.name: one for one in kind.channels}
    assert [word for word, _ in by_name["mode"].codes] == ["auto", "by hand", "off"]


@pytest.mark.parametrize(("name", "cold"), [("temp_c", 20.0), ("inlet_pressure_bar", 0.0), ("speed_rpm", 0.0), ("flow", 0.0)])
def test_a_plant_that_starts_up_or_trips_stays_within_the_ranges(name: str, cold: float) -> None:
    """The sample has neither; what is out of range is not scored."""
    (kind,) = inferred([line(step) for step in range(21, 90)]).values()
    (channel,) = [one for one in kind.channels if one.name == name]
    assert channel.minimum is not None
    assert channel.maximum is not None
    assert channel.minimum <= cold < channel.maximum


def test_assets_of_several_kinds_on_one_topic_get_a_type_each() -> None:
    plant = WaterPlant()
    kinds = inferred(telemetry(plant, 50))
    assert [kind.removeprefix("dtmi:livetwin:inferred:") for kind in sorted(kinds)] == [
        "PlantJunction;1", "PlantPipe;1", "PlantPump;1", "PlantTank;1"
    ]  # fmt: skip
    assert {kind.channel_names for kind in kinds.values()} == {compile_type(one).channel_names for one in water_interfaces(300)}
    pump = next(kind for kind in kinds.values() if "Pump" in kind.id)
    assert {one.name: one.role for one in pump.channels}["command"] == "actuator"
    power = next(one for one in pump.channels if one.name == "power")
    assert -10 < (power.minimum or 0) < 0 < 100 < (power.maximum or 0)  # its noise about nothing is not half of its range
    junction = next(kind for kind in kinds.values() if "Junction" in kind.id)
    assert {one.role for one in junction.channels} == {"sensor"}
    assert {kind.period_ns for kind in kinds.values()} == {300 * 10**9}


def test_a_unit_is_of_the_kind_that_states_it() -> None:
    rows: list[dict[str, Any]] = []
    for step in range(60):
        rows.append({"asset": "meter-1", "time": START + step, "flow": {"value": 3 + step % 5, "unit": "m3/h"}})
        rows.append({"asset": "pump-1", "time": START + step, "flow": 3 + step % 7, "power": 5 + step % 3, "speed": step % 9})
    units = {kind: {one.name: one.unit for one in found.channels} for kind, found in inferred(rows).items()}
    assert sorted(units.values(), key=len) == [{"flow": "cubicMetrePerHour"}, {"flow": None, "power": None, "speed": None}]

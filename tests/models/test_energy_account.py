"""Energy of work: told without network or root; and an update with an account of what it was and took."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.accounting import accounted_update
from models.energy import WORLD, EnergyMeter
from models.origin import software
from models.power import PowerTerms, watts_a_cpu_second
from models.update import Update, UpdateFailed, UpdateJob
from tests.models.fleets import rhythm, type_of


def busy(cpu_s: float) -> float:
    """Compute for so long; the CPU seconds that it took."""
    began = time.process_time()
    while time.process_time() - began < cpu_s:
        pass
    return time.process_time() - began


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("energy was asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("offline")
def test_energy_follows_cpu_time_and_the_watts_that_were_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    threads = psutil.cpu_count() or 1
    meter = EnergyMeter(PowerTerms(cpu_watts=36.0 * threads))  # 36 W a thread: 10 Wh for 1000 CPU seconds
    meter.look_ahead()
    with meter.running() as metered:
        took_s = busy(0.5)
    found = metered.energy
    assert found is not None
    assert not found.measured
    assert f"{36 * threads} W" in found.source
    assert found.cpu_wh == pytest.approx(took_s / 100, rel=0.35)  # what codecarbon does itself is counted too
    assert found.ram_wh > 0
    assert found.wh == found.cpu_wh + found.ram_wh + found.gpu_wh
    assert (found.carbon_g > 0, found.grid) == (True, WORLD)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert os.listdir(tmp_path) == []  # codecarbon writes emissions.csv where it is let


@pytest.mark.usefixtures("offline")
def test_a_country_changes_the_carbon_alone_and_one_that_is_none_counts_as_the_world() -> None:
    told = {}
    for country in ("FRA", "POL", "XXX"):
        with EnergyMeter(PowerTerms(country, 100.0)).running() as metered:
            busy(0.2)
        assert metered.energy is not None
        told[country] = metered.energy
    assert told["POL"].carbon_g / told["POL"].wh > 5 * told["FRA"].carbon_g / told["FRA"].wh
    assert (told["FRA"].grid, told["XXX"].grid) == ("FRA", WORLD)


def test_what_the_work_raises_passes_through_and_leaves_the_meter_usable() -> None:
    meter = EnergyMeter(PowerTerms(cpu_watts=10.0))
    with pytest.raises(ZeroDivisionError), meter.running():
        raise ZeroDivisionError
    with meter.running() as metered:
        busy(0.1)
    assert metered.energy is not None


def test_the_watts_of_a_cpu_second_are_those_that_the_meter_counts_with() -> None:
    assert watts_a_cpu_second(PowerTerms(cpu_watts=40.0))[0] == 40.0 / (psutil.cpu_count() or 1)
    watts, source = watts_a_cpu_second(PowerTerms())
    assert watts > 0
    assert source.startswith("estimated: CPU time at ")


def job(home: Path, steps: int) -> UpdateJob:
    block = rhythm(twins=3, steps=steps)
    return UpdateJob(
        home=home,
        type=type_of(block),
        block=block,
        exclude=np.zeros(block.values.shape[:2], np.bool_),
        champion=None,
        fine_tune=False,
        number=1,
        alarms_per_twin_day=0.02,
        seed=11,
        threads=1,
    )


def test_an_update_tells_what_it_learnt_from_how_it_is_built_and_what_it_took(tmp_path: Path) -> None:
    asked = job(tmp_path, 300)
    meter = EnergyMeter(PowerTerms(cpu_watts=36.0 * (psutil.cpu_count() or 1)))
    began = time.process_time()
    found = accounted_update(asked, meter)
    took_s = time.process_time() - began
    assert isinstance(found, Update)
    assert found.origin is not None
    assert found.compute is not None
    times = asked.block.time_ns()
    assert (found.origin.data_from_ns, found.origin.data_to_ns) == (times[0], times[-1])
    assert (found.origin.twins, found.origin.assets, found.origin.seed) == (3, asked.block.assets, 11)
    assert found.origin.channels == ("flow", "pressure")
    assert found.origin.structure["twins"] == 3
    assert {type(value) for value in found.origin.structure.values()} == {float, bool}  # as they come back from the record
    assert {"past", "horizons", "rank", "window", "components", "calendar_day"} <= found.origin.structure.keys()
    assert found.compute.cpu_s == pytest.approx(took_s, abs=0.5)
    assert found.compute.energy is not None
    assert found.compute.energy.cpu_wh == pytest.approx(found.compute.cpu_s / 100, rel=0.35)
    assert found.compute.software == software()
    assert {"livetwin", "torch", "python"} <= software().keys()


def test_a_round_without_a_version_tells_what_it_took(tmp_path: Path) -> None:
    found = accounted_update(job(tmp_path, 40), EnergyMeter(PowerTerms(cpu_watts=10.0)))
    assert isinstance(found, UpdateFailed)
    assert found.compute is not None
    assert found.compute.wall_s > 0

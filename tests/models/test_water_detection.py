"""On the simulated water network: a fault-free week stays quiet at the target rate, faults become alarms of the right twin.

One model a type is trained on seven clean days; every other day here has other demand and other noise.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from deploy.feeds.faults import DEFAULT_SENSOR_SIZE
from deploy.feeds.water import JUNCTION, PUMP, TANK, simulate
from models.evaluate import Alarm, evaluate
from models.training import Trained, train
from streams.records import DemoCommand
from tests.models.fleets import type_of
from twin.block import StepBlock

pytestmark = [pytest.mark.slow]

STEPS_A_DAY = 288
MONDAY_S = 1_767_571_200
TARGET = 0.02
TRIALS, TRIAL = 40, 36  # faults a type and day, and steps that each lasts
CONTEXT = 128  # steps scored before a fault, so that alarms that were there before it do not count


@pytest.fixture(scope="module")
def versions() -> dict[str, Trained]:
    torch.set_num_threads(1)
    return {
        type_id: train(
            type=type_of(block, type_id.split(":")[-1].split(";")[0]),
            block=block,
            base=None,
            number=1,
            alarms_per_twin_day=TARGET,
            seed=7,
            threads=1,
        )
        for type_id, block in simulate(7, seed=1).items()
    }


def days_later(days: int) -> int:
    return (MONDAY_S + days * 86_400) * 10**9


def alarms_after(
    versions: dict[str, Trained], type_id: str, command: DemoCommand, hours: float, *, at: int = STEPS_A_DAY, seed: int = 3
) -> list[Alarm]:
    """Alarms of the type within `hours` after the fault was switched on, onsets counted from there."""
    after = int(hours * 12)
    whole = simulate((at + after) / STEPS_A_DAY, seed, [(at, command)], start_ns=days_later(8))[type_id]
    block = whole.between(at - CONTEXT, at + after)
    found = evaluate(versions[type_id].model, block, start=64).alarms
    return [Alarm(one.asset, one.onset - CONTEXT, one.top_channel, one.severity) for one in found if one.onset >= CONTEXT]


def test_a_fault_free_week_raises_no_more_alarms_than_the_target_says(versions: dict[str, Trained]) -> None:
    later = simulate(8, seed=2, start_ns=days_later(6))
    for type_id, trained in versions.items():
        block: StepBlock = later[type_id]
        found = evaluate(trained.model, block, start=STEPS_A_DAY)
        expected = TARGET * 7 * len(block.assets)
        assert len(found.alarms) <= stats.poisson.ppf(0.99, expected), (type_id, len(found.alarms), expected)
        # the p-values are honest too: no more small ones than they promise, give or take the clusters they come in
        p = found.p_value[:, STEPS_A_DAY:]
        assert 0.02 < (p < 0.05).mean() < 0.09, type_id
        assert (p < 0.001).mean() < 0.002, type_id


@pytest.mark.parametrize("junction", ["junction-15", "junction-211", "junction-239", "junction-247"])
def test_a_leak_becomes_an_alarm_of_that_junction_within_the_hour_with_pressure_on_top(
    versions: dict[str, Trained], junction: str
) -> None:
    alarms = alarms_after(versions, JUNCTION, DemoCommand(fault="leak", asset=junction), hours=1)
    own = [alarm for alarm in alarms if alarm.asset == junction]
    assert own, alarms
    assert own[0].top_channel == "pressure"
    assert own[0].onset <= 12


def test_a_sensor_that_is_off_becomes_an_alarm_of_its_channel(versions: dict[str, Trained]) -> None:
    for type_id, asset, channel in ((JUNCTION, "junction-211", "pressure"), (TANK, "tank-3", "level")):
        alarms = alarms_after(versions, type_id, DemoCommand(fault="offset", asset=asset, channel=channel), hours=2)
        own = [alarm.top_channel for alarm in alarms if alarm.asset == asset]
        assert own[:1] == [channel], alarms


def test_a_drifting_sensor_becomes_an_alarm_within_half_a_day(versions: dict[str, Trained]) -> None:
    alarms = alarms_after(versions, JUNCTION, DemoCommand(fault="drift", asset="junction-211", channel="pressure"), hours=12)
    assert ("junction-211", "pressure") in [(alarm.asset, alarm.top_channel) for alarm in alarms]


def test_a_pump_that_trips_becomes_an_alarm_within_two_hours(versions: dict[str, Trained]) -> None:
    # at 03:30 the lake pump is told to run, and ran until the fault
    alarms = alarms_after(versions, PUMP, DemoCommand(fault="pump-trip", asset="pump-10"), hours=2, at=STEPS_A_DAY + 42)
    assert [alarm.asset for alarm in alarms][:1] == ["pump-10"]


def faulty_trials(block: StepBlock, known: tuple[str, ...], count: int, seed: int) -> tuple[StepBlock, list[str]]:
    """Stretches of single twins, each with one channel faulty from step CONTEXT on; they begin with the block.

    Offsets to either side, growing offsets, noise and wrong gains, 0.5 to 3 times the plant's default size; frozen values.
    """
    random = np.random.default_rng(seed)
    rows = [row for row, asset in enumerate(block.assets) if asset in known]
    assets, values, faulty = [], [], []
    for _ in range(count):
        row, channel = int(random.choice(rows)), str(random.choice([one for one in block.channels if one != "command"]))
        column, size = (
            block.channels.index(channel),
            DEFAULT_SENSOR_SIZE[channel][0] * random.uniform(0.5, 3) * random.choice([-1, 1]),
        )
        stretch = block.values[row, : CONTEXT + TRIAL].copy()
        after = stretch[CONTEXT:, column]  # a view
        match random.choice(["offset", "growing", "frozen", "noise", "gain"]):
            case "offset":
                after += size
            case "growing":
                after += size * np.linspace(0, 2, TRIAL)
            case "frozen":
                after[:] = after[0]
            case "noise":
                after += random.normal(0, abs(size) / 2, TRIAL)
            case "gain":
                after *= 1 + 0.3 * np.sign(size)
        assets.append(block.assets[row])
        values.append(stretch)
        faulty.append(channel)
    stacked = np.stack(values)
    quality = np.zeros(stacked.shape, np.uint8)
    return StepBlock(tuple(assets), block.channels, block.first_step, block.period_ns, stacked, quality), faulty


def test_the_strongest_channel_of_an_alarm_is_the_faulty_one(versions: dict[str, Trained]) -> None:
    right: dict[str, list[bool]] = {}
    for part, hour in enumerate((0, 7, 15)):
        later = simulate((CONTEXT + TRIAL) / STEPS_A_DAY, seed=20 + part, start_ns=days_later(8 + part) + hour * 3600 * 10**9)
        for type_id, block in later.items():
            model = versions[type_id].model
            trials, faulty = faulty_trials(block, model.info.assets, TRIALS, seed=part)
            found = evaluate(model, trials, start=64)
            before = found.alarm[:, :CONTEXT].any(axis=1)
            for row in np.flatnonzero(~before & found.alarm.any(axis=1)).tolist():
                onset = int(found.alarm[row].argmax())
                named = trials.channels[found.top_channel[row, onset]]
                right.setdefault(type_id, []).append(named == faulty[row])
    shares = {type_id: (round(float(np.mean(each)), 3), len(each)) for type_id, each in right.items()}
    named = [one for each in right.values() for one in each]
    assert all(count >= 20 for _, count in shares.values()), shares
    assert all(share >= 0.7 for share, _ in shares.values()), shares
    assert np.mean(named) >= 0.85, shares

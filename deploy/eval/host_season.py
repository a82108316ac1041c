"""Some weeks of synthetic computers, fault-free: what their processors, load, memory and swap do by day, by night and at random.

In:   a seed, how many computers, for how many days.
Out:  records of `telemetry` of the type that the feed `host` publishes, once a minute instead of once a second.
These are no recordings: each computer has a daily rhythm, a job at night, bursts of work at random times with heavy tails, and
memory that grows and is given back. Made to have what is hard about computers: bursts, plateaus, channels that stand still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from deploy.eval.water_faults import Fault
from deploy.feeds.interfaces import interface, sampled
from streams.definitions import Definitions
from streams.log_record import PlainRecord
from twin.fleet import TwinDeclaration

COMPUTER = "dtmi:livetwin:host:Computer;1"
CHANNELS = ("cpu", "load1", "memory", "swap")
STEP_S = 60
HOUR = 3600 // STEP_S
DAY = 24 * HOUR
MONDAY_S = 1_767_571_200
RECORD_STEPS = 15
_BURSTS_A_DAY, _BURST_STEPS, _BURST_PERCENT = 6.0, 8.0, 25.0
_JOB_STEPS, _JOB_PERCENT = 25, 35.0

Floats = NDArray[np.float64]


class HostSeason:
    """A fleet of computers.

    Args:
        seed: of what happens from day to day.
        fleet_seed: of what distinguishes the computers from each other.
        computers: how many.
        days: how long.
        first_day: days after a Monday.
    """

    def __init__(self, *, seed: int, fleet_seed: int, computers: int, days: int, first_day: int = 0) -> None:
        assets = tuple(f"computer-{number}" for number in range(computers))
        self.layout = {COMPUTER: (assets, CHANNELS)}
        self.faults: Sequence[Fault] = ()
        self.first_step = (MONDAY_S + first_day * 86_400) // STEP_S
        self.definitions = Definitions()
        kind = sampled(interface("host.computer"), STEP_S)
        self.definitions.apply(f"type/{COMPUTER}".encode(), orjson.dumps(kind))
        for asset in assets:
            twin = TwinDeclaration(asset=asset, type=COMPUTER)
            self.definitions.apply(f"twin/{asset}".encode(), twin.model_dump_json().encode())
        self._values = np.stack(
            [_computer([seed, number], [fleet_seed, number], self.first_step, days * DAY) for number in range(computers)]
        )

    def hours(self) -> Iterator[list[PlainRecord]]:
        """Records of hour after hour, four of each computer."""
        offset = 0
        (assets,) = (assets for assets, _ in self.layout.values())
        for hour in range(0, self._values.shape[1], HOUR):
            found = []
            for start in range(hour, hour + HOUR, RECORD_STEPS):
                times = ((self.first_step + np.arange(start, start + RECORD_STEPS)) * STEP_S).tolist()
                for asset, values in zip(assets, self._values[:, start : start + RECORD_STEPS], strict=True):
                    content = {"asset": asset, "time": times, **dict(zip(CHANNELS, values.T.tolist(), strict=True))}
                    found.append(PlainRecord("telemetry", 0, offset, times[-1] * 1000, asset.encode(), orjson.dumps(content)))
                    offset += 1
            yield found


def _computer(seed: list[int], own_seed: list[int], first_step: int, steps: int) -> Floats:
    """(steps, channel) of one computer."""
    own, random = np.random.default_rng(own_seed), np.random.default_rng(seed)
    base, swing, phase, cores = own.uniform(3, 25), own.uniform(2, 25), own.uniform(0, 2 * np.pi), 2 ** int(own.integers(1, 6))
    job_at, memory_base, swap_base = int(own.integers(0, 6 * HOUR)), own.uniform(20, 60), own.choice([0.0, own.uniform(1, 20)])
    at = first_step + np.arange(steps)
    rhythm = swing * (0.5 + 0.5 * np.sin(2 * np.pi * at / DAY + phase))
    work = base + rhythm * np.exp(_wandering(random, steps, 0.15, 3 * HOUR))
    for begin in np.flatnonzero(random.random(steps) < _BURSTS_A_DAY / DAY):
        length = 1 + int(random.exponential(_BURST_STEPS))
        work[begin : begin + length] += _BURST_PERCENT * random.lognormal(0, 0.7)
    for begin in np.flatnonzero(at % DAY == job_at):
        work[begin : begin + _JOB_STEPS + int(random.integers(-4, 5))] += _JOB_PERCENT
    cpu = np.clip(work * np.exp(random.normal(0, 0.08, steps)) + random.normal(0, 0.5, steps), 0, 100)
    load = np.empty(steps)
    level = cpu[0] / 100 * cores
    for step, busy in enumerate((cpu / 100 * cores).tolist()):  # averaged over the last minutes, as the kernel does
        level += 0.63 * (busy - level)
        load[step] = level
    used = memory_base + 0.15 * (cpu - base) + 5 * _wandering(random, steps, 1.0, 12 * HOUR)
    swap = swap_base + 0.2 * np.floor(np.abs(_wandering(random, steps, 2.0, DAY))) * (swap_base > 0)
    return np.stack([np.round(cpu, 1), np.round(load, 2), np.round(np.clip(used, 0, 100), 1), np.round(swap, 1)], axis=1)


def _wandering(random: np.random.Generator, steps: int, sigma: float, memory: float) -> Floats:
    """A first-order autoregression of this spread and memory, steps."""
    keep = float(np.exp(-1 / memory))
    draws = (sigma * np.sqrt(1 - keep**2) * random.standard_normal(steps)).tolist()
    found, value = np.empty(steps), sigma * float(random.standard_normal())
    for step, draw in enumerate(draws):
        value = keep * value + draw
        found[step] = value
    return found

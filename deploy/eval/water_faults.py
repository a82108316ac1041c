"""Faults that the evaluation injects into the water plant: what there is, how large it may be, how it changes readings.

In:   a random generator; the plant's layout.
Out:  `Fault`s; commands for the plant, or readings as a faulty source sends them.
Sizes range from barely visible to gross. Leaks, trips and closed mains act on the hydraulics; all others on readings alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.feeds.faults import DEFAULT_SENSOR_SIZE
from deploy.feeds.leaks import default_leak_lps
from deploy.feeds.water_plant import JUNCTION, NOISE, PIPE, PUMP, TANK
from streams.records import DemoCommand

PROCESS_KINDS = ("leak", "pump-trip", "closed-main")
SENSOR_KINDS = ("offset", "drift", "stuck", "noise", "unit", "frozen", "gap")
KINDS = (*PROCESS_KINDS, *SENSOR_KINDS)
MOVED_KINDS = ("pump-trip", "closed-main", "frozen", "gap")  # all or nearly all channels are touched: a top channel says little

SHARES = {"leak": (0.1, 2.0), "offset": (0.1, 3.0), "drift": (0.1, 3.0), "noise": (3.0, 30.0)}  # log-uniform, see `size_of`
TYPE_SHARE = {JUNCTION: 0.4, PIPE: 0.3, TANK: 0.15, PUMP: 0.15}  # of sensor faults: junctions alone would leave pumps untried
# units that a source may be set to by mistake, as factors of the number that comes
WRONG_UNITS = {
    "metre": (3.28084, 9.80665, 1.42197, 100.0),  # foot, kilopascal of water column, psi, centimetre
    "litrePerSecond": (3.6, 15.8503, 0.06),  # cubic metre an hour, gallon a minute, cubic metre a minute
    "kilowatt": (1.34102, 1000.0, 0.001),  # horsepower, watt, megawatt
}
UNIT_OF = {"flow": "litrePerSecond", "inflow": "litrePerSecond", "demand": "litrePerSecond", "power": "kilowatt"}

Layout = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: steps [onset, end) of event time. `channels` are those it touches; `size` as `size_of` says."""

    kind: str
    asset: str
    channels: tuple[str, ...]
    size: float
    onset: int
    end: int

    @property
    def of_process(self) -> bool:
        return self.kind in PROCESS_KINDS

    def command(self, *, active: bool) -> DemoCommand | None:
        """How the plant is told; None for what is done to the readings, or to a link."""
        if self.kind not in ("leak", "pump-trip", "offset", "drift", "stuck"):
            return None
        channel = self.channels[0] if self.kind in ("offset", "drift", "stuck") else None
        size = None if self.kind in ("pump-trip", "stuck") else self.size
        return DemoCommand(fault=self.kind, asset=self.asset, channel=channel, size=size, active=active)


def draw_process(
    kind: str, layout: Layout, random: np.random.Generator, onset: int, end: int, *, running: Sequence[str]
) -> Fault:
    """A fault of the process at a random place.

    Args:
        running: pumps that run now; a pump that stands can't trip.
    """
    if kind == "leak":
        asset = str(random.choice(layout[JUNCTION][0]))
        return Fault(kind, asset, ("pressure",), size_of(kind, asset, "pressure", random), onset, end)
    if kind == "pump-trip":
        return Fault(kind, str(random.choice(running)), ("flow", "head", "power"), 1.0, onset, end)
    return Fault(kind, str(random.choice(layout[PIPE][0])), layout[PIPE][1], 1.0, onset, end)


def draw_sensor(
    kind: str, layout: Layout, random: np.random.Generator, onset: int, end: int, *, avoid: Collection[str]
) -> Fault | None:
    """A fault of a sensor or of its gateway at a random place that is none of `avoid`; None where there is no such place."""
    types = list(TYPE_SHARE)
    of_type = types[int(random.choice(len(types), p=list(TYPE_SHARE.values())))]
    assets, channels = layout[of_type]
    free = [asset for asset in assets if asset not in avoid]
    if not free:
        return None
    asset = str(random.choice(free))
    if kind in ("frozen", "gap"):
        return Fault(kind, asset, channels, 1.0, onset, end)
    channel = str(random.choice([name for name in channels if name != "command"]))
    return Fault(kind, asset, (channel,), size_of(kind, asset, channel, random), onset, end)


def size_of(kind: str, asset: str, channel: str, random: np.random.Generator) -> float:
    """Leak: litres a second at 20 m. Offset: units. Drift: units an hour. Noise: standard deviations of the sensor's own.
    Unit: factor. Others: 1.

    Leaks, offsets and drifts are shares of what the demo switches on, which is clear to see.
    """
    if kind == "unit":
        return float(random.choice(WRONG_UNITS[UNIT_OF.get(channel, "metre")]))
    if kind not in SHARES:
        return 1.0
    low, high = np.log(SHARES[kind])
    share = float(np.exp(random.uniform(low, high)))
    sign = float(random.choice((-1.0, 1.0)))
    if kind == "leak":
        return share * default_leak_lps(asset.removeprefix("junction-"))
    if kind in ("offset", "drift"):
        return sign * share * DEFAULT_SENSOR_SIZE[channel][kind == "drift"]
    return share


class Disturbance:
    """What faulty sources do to readings that the plant's own faults do not: noise, wrong unit, frozen gateway, gap."""

    def __init__(self, layout: Layout, random: np.random.Generator) -> None:
        self._layout = layout
        self._random = random
        self._where = {asset: (kind, row) for kind, (assets, _) in layout.items() for row, asset in enumerate(assets)}
        self._frozen: dict[str, Floats] = {}

    def apply(self, faults: Sequence[Fault], readings: Mapping[str, Floats]) -> frozenset[str]:
        """Change the readings of one step in place; assets from which nothing comes."""
        silent = set()
        for fault in faults:
            kind, row = self._where[fault.asset]
            values = readings[kind][row]
            if fault.kind == "gap":
                silent.add(fault.asset)
            elif fault.kind == "frozen":
                values[:] = self._frozen.setdefault(fault.asset, values.copy())
            elif fault.kind in ("noise", "unit"):
                channel = fault.channels[0]
                column = self._layout[kind][1].index(channel)
                share, floor = NOISE[channel]
                if fault.kind == "unit":
                    values[column] *= fault.size
                else:
                    values[column] += fault.size * (share * abs(values[column]) + floor) * self._random.standard_normal()
        for asset in set(self._frozen) - {fault.asset for fault in faults if fault.kind == "frozen"}:
            del self._frozen[asset]
        return frozenset(silent)

"""Hydraulics: EPANET's network Net3, stepped on a fixed grid for as long as one likes.

In:   demands (L/s), pump and pipe status, leaks, tank levels to start from.
Out:  pressures, flows and levels of one step, as arrays in metric units.
The plant's own control programme replaces the network file's controls and patterns, which end after a week.

The network ships with `wntr`; units of its file are US (gallons a minute, feet, psi).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deploy.feeds import epanet
from deploy.feeds.epanet import Epanet, wntr_file

LPS_PER_GPM = 0.0630901964
M_PER_FT = 0.3048
M_PER_PSI = 0.3048 / 0.4333
LONGEST_RUN_S = 2_000_000_000  # 63 years of event time; then the solver starts again from the present levels
_DROPPED_SECTIONS = ("CONTROLS", "RULES", "REPORT", "TIMES")

Floats = NDArray[np.float64]


class Hydraulics:
    """Net3, one fixed step at a time.

    Nodes and links are named by their ids in the network file; arrays follow `junctions`, `tanks`, `pipes`, `pumps`.
    """

    def __init__(self, step_s: int, tank_levels_m: Sequence[float] | None = None) -> None:
        self._epanet = Epanet(without_sections(net3(), _DROPPED_SECTIONS))
        self._step_s = step_s
        self.pump_speed = 1.0  # of all pumps that run, as a share of the nominal one; a worn impeller lifts as a slower one does
        for what, seconds in (
            (epanet.DURATION, LONGEST_RUN_S),
            (epanet.HYDSTEP, step_s),
            (epanet.PATTERNSTEP, step_s),
            (epanet.REPORTSTEP, step_s),
            (epanet.REPORTSTART, LONGEST_RUN_S),
        ):
            self._epanet.set_time(what, seconds)
        self._junction_index, self.junctions = self._elements("node", epanet.NODECOUNT, epanet.JUNCTION)
        self._tank_index, self.tanks = self._elements("node", epanet.NODECOUNT, epanet.TANK)
        self._pipe_index, self.pipes = self._elements("link", epanet.LINKCOUNT, epanet.PIPE, epanet.CHECKED_PIPE)
        self._pump_index, self.pumps = self._elements("link", epanet.LINKCOUNT, epanet.PUMP)
        self._link_index = dict(zip(self.pipes + self.pumps, self._pipe_index + self._pump_index, strict=True))
        constant = [0.0] * len(self.junctions)  # pattern 0: always 1
        self._epanet.set_values("node", self._junction_index, epanet.PATTERN, constant)
        self._start(tank_levels_m)

    def _elements(self, of: str, count: int, *kinds: int) -> tuple[list[int], tuple[str, ...]]:
        """Indices and names of all nodes or links of some kinds."""
        found = [index for index in range(1, self._epanet.count(count) + 1) if self._epanet.kind(of, index) in kinds]
        return found, tuple(self._epanet.name(of, index) for index in found)

    def _start(self, levels_m: Sequence[float] | None) -> None:
        if levels_m is not None:
            lowest = self._nodes(self._tank_index, epanet.MINLEVEL)
            highest = self._nodes(self._tank_index, epanet.MAXLEVEL)
            levels = np.clip(np.asarray(levels_m) / M_PER_FT, lowest, highest)
            self._epanet.set_values("node", self._tank_index, epanet.TANKLEVEL, levels.tolist())
        self._epanet.call("openH")
        self._epanet.call("initH", 0)
        self._run_s = 0

    def set_demands(self, demand_lps: Floats) -> None:
        """Customers' demand of every junction, from the next `solve` on."""
        self._epanet.set_values("node", self._junction_index, epanet.BASEDEMAND, (demand_lps / LPS_PER_GPM).tolist())

    def set_emitter(self, junction: str, size_lps: float) -> None:
        """A leak that lets out `size_lps` at 20 m of pressure head, by the square root of the pressure; 0 closes it."""
        coefficient = size_lps / LPS_PER_GPM / (20.0 / M_PER_PSI) ** 0.5
        index = self._junction_index[self.junctions.index(junction)]
        self._epanet.set_values("node", [index], epanet.EMITTER, [coefficient])

    def set_link(self, link: str, is_open: bool) -> None:
        """Open or close a pump or a pipe, from the next `solve` on."""
        self._epanet.set_values("link", [self._link_index[link]], epanet.STATUS, [float(is_open)])
        if is_open and link in self.pumps and self.pump_speed != 1.0:  # opening has set it to 1
            self._epanet.set_values("link", [self._link_index[link]], epanet.SETTING, [self.pump_speed])

    def solve(self) -> None:
        """Solve the network as it is now; the read methods then tell of this moment."""
        self._epanet.run()

    def advance(self) -> None:
        """Let tanks fill and drain for one step. EPANET stops where a tank is full or empty; those stops are run through."""
        remaining = self._step_s
        while remaining > 0:
            remaining -= self._epanet.next()
            if remaining > 0:
                self.solve()
        self._run_s += self._step_s
        if self._run_s + self._step_s > LONGEST_RUN_S:
            levels = self.levels_m()
            self._epanet.call("closeH")
            self._start(levels.tolist())

    def levels_m(self) -> Floats:
        """Water above each tank's bottom."""
        return self._nodes(self._tank_index, epanet.PRESSURE) * M_PER_PSI

    def pressures_m(self) -> Floats:
        """Pressure head at each junction."""
        return self._nodes(self._junction_index, epanet.PRESSURE) * M_PER_PSI

    def tank_inflows_lps(self) -> Floats:
        return self._nodes(self._tank_index, epanet.DEMAND) * LPS_PER_GPM

    def pipe_flows_lps(self, positions: Sequence[int]) -> Floats:
        return self._links([self._pipe_index[i] for i in positions], epanet.FLOW) * LPS_PER_GPM

    def pipe_headlosses_m(self, positions: Sequence[int]) -> Floats:
        """Head lost along a pipe, without sign."""
        return np.abs(self._links([self._pipe_index[i] for i in positions], epanet.HEADLOSS)) * M_PER_FT

    def pump_flows_lps(self) -> Floats:
        return self._links(self._pump_index, epanet.FLOW) * LPS_PER_GPM

    def pump_gains_m(self) -> Floats:
        """Head that each pump adds."""
        return np.abs(self._links(self._pump_index, epanet.HEADLOSS)) * M_PER_FT

    def pump_powers_kw(self) -> Floats:
        return self._links(self._pump_index, epanet.ENERGY)

    def _nodes(self, indices: Sequence[int], what: int) -> Floats:
        return self._epanet.values("node", indices, what)

    def _links(self, indices: Sequence[int], what: int) -> Floats:
        return self._epanet.values("link", indices, what)


def net3() -> str:
    """The text of the network file."""
    return wntr_file("library", "networks", "Net3.inp").read_text(encoding="latin-1")


def section(text: str, name: str) -> list[list[str]]:
    """Rows of one section of a network file, split in words, comments dropped.

    >>> section("[TANKS]\\n;ID Level\\n 1  13.1 ;\\n[PIPES]\\n 20 3 20\\n", "TANKS")
    [['1', '13.1']]
    """
    match = re.search(rf"^\[{name}\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    rows = (line.split(";")[0].split() for line in (match.group(1).splitlines() if match else ()))
    return [row for row in rows if row]


def without_sections(text: str, names: Sequence[str]) -> str:
    """The network file without some of its sections."""
    for name in names:
        text = re.sub(rf"^\[{name}\]\s*$.*?(?=^\[)", "", text, flags=re.MULTILINE | re.DOTALL)
    return text

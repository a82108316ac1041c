"""Hydraulics: EPANET's network Net3, stepped on a fixed grid for as long as one likes.

In:   demands (L/s), pump and pipe status, emitter (leak) coefficients, tank levels to start from.
Out:  heads, flows and levels of one step, as arrays in metric units.
The plant's own control (`deploy.feeds.plc`) replaces the network file's controls and patterns, which end after a week.

The network and the solver ship with `wntr`; units of the file are US (gallons a minute, feet, psi).
"""

from __future__ import annotations

import ctypes
import logging
import re
import tempfile
import weakref
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from wntr.epanet.toolkit import ENepanet
from wntr.epanet.util import EN

from twin.errors import LivetwinError

LPS_PER_GPM = 0.0630901964
M_PER_FT = 0.3048
M_PER_PSI = 0.3048 / 0.4333
LONGEST_RUN_S = 2_000_000_000  # 63 years of event time, then the solver starts again from the present levels
_DROPPED_SECTIONS = ("CONTROLS", "RULES", "REPORT", "TIMES")

Floats = NDArray[np.float64]


class HydraulicsFailed(LivetwinError):
    """EPANET could not solve a step or does not load."""


class Hydraulics(ENepanet):  # type: ignore[misc]
    """Net3, one fixed step at a time.

    Nodes and links are named by their EPANET ids; positions in every array follow `junctions`, `tanks`, `pipes`, `pumps`.
    """

    def __init__(self, step_s: int, tank_levels_m: Sequence[float] | None = None) -> None:
        folder = tempfile.TemporaryDirectory(prefix="livetwin-epanet-")
        network = Path(folder.name) / "net3.inp"
        text = net3()
        network.write_text(without_sections(text, _DROPPED_SECTIONS), encoding="latin-1")
        super().__init__(str(network), str(network.with_suffix(".rpt")), str(network.with_suffix(".bin")))
        self._folder = folder
        self._step_s = step_s
        logging.getLogger("wntr.epanet.toolkit").setLevel(logging.ERROR)  # negative pressure is a warning a step
        self.ENopen()
        weakref.finalize(self, _close, self.ENlib, self._project, folder)
        for parameter, seconds in (
            (EN.DURATION, LONGEST_RUN_S),
            (EN.HYDSTEP, step_s),
            (EN.PATTERNSTEP, step_s),
            (EN.REPORTSTEP, step_s),
            (EN.REPORTSTART, LONGEST_RUN_S),
        ):
            self.ENsettimeparam(parameter, seconds)
        self.junctions: tuple[str, ...] = ()
        self.tanks: tuple[str, ...] = ()
        self.pipes: tuple[str, ...] = ()
        self.pumps: tuple[str, ...] = ()
        self._name_elements()
        self._value = ctypes.c_double()
        self._reference = ctypes.byref(self._value)
        for index in self._junction_index:
            self.ENsetnodevalue(index, EN.PATTERN, 0)  # pattern 0: a constant 1.0
        if tank_levels_m is not None:
            self._set_levels(tank_levels_m)
        self.ENopenH()
        self.ENinitH(0)

    def _name_elements(self) -> None:
        nodes = [(i, self.ENgetnodetype(i), self.ENgetnodeid(i)) for i in range(1, self.ENgetcount(EN.NODECOUNT) + 1)]
        links = [(i, self.ENgetlinktype(i), self.ENgetlinkid(i)) for i in range(1, self.ENgetcount(EN.LINKCOUNT) + 1)]
        self._junction_index = [i for i, kind, _ in nodes if kind == EN.JUNCTION]
        self._tank_index = [i for i, kind, _ in nodes if kind == EN.TANK]
        self._pipe_index = [i for i, kind, _ in links if kind in (EN.PIPE, EN.CVPIPE)]
        self._pump_index = [i for i, kind, _ in links if kind == EN.PUMP]
        self.junctions = tuple(name for _, kind, name in nodes if kind == EN.JUNCTION)
        self.tanks = tuple(name for _, kind, name in nodes if kind == EN.TANK)
        self.pipes = tuple(name for _, kind, name in links if kind in (EN.PIPE, EN.CVPIPE))
        self.pumps = tuple(name for _, kind, name in links if kind == EN.PUMP)

    def ENgetlinkid(self, index: int) -> str:
        """The name of a link; wntr's wrapper has only the nodes'."""
        buffer = ctypes.create_string_buffer(64)
        self.errcode = self.ENlib.EN_getlinkid(self._project, index, buffer)
        self._error()
        return buffer.value.decode("latin-1")

    def _set_levels(self, levels_m: Sequence[float]) -> None:
        for index, level in zip(self._tank_index, levels_m, strict=True):
            lowest, highest = self.ENgetnodevalue(index, EN.MINLEVEL), self.ENgetnodevalue(index, EN.MAXLEVEL)
            self.ENsetnodevalue(index, EN.TANKLEVEL, min(max(level / M_PER_FT, lowest), highest))

    def set_demands(self, demand_lps: Floats) -> None:
        """Customers' demand of every junction, from the next `solve` on."""
        for index, demand in zip(self._junction_index, (demand_lps / LPS_PER_GPM).tolist(), strict=True):
            self.ENlib.EN_setnodevalue(self._project, index, int(EN.BASEDEMAND), ctypes.c_double(demand))

    def set_emitter(self, junction: str, size_lps: float) -> None:
        """A leak that lets out `size_lps` at 20 m of pressure head, by the square root of the pressure; 0 closes it."""
        coefficient = size_lps / LPS_PER_GPM / (20.0 / M_PER_PSI) ** 0.5
        self.ENsetnodevalue(self._junction_index[self.junctions.index(junction)], EN.EMITTER, coefficient)

    def set_link(self, link: str, is_open: bool) -> None:
        """Open or close a pump or a pipe, from the next `solve` on."""
        self.ENsetlinkvalue(self.ENgetlinkindex(link), EN.STATUS, 1.0 if is_open else 0.0)

    def levels_m(self) -> Floats:
        """Water above each tank's bottom."""
        return self._nodes(self._tank_index, EN.PRESSURE) * M_PER_PSI

    def solve(self) -> None:
        """Solve the network as it is now; the read methods then tell of this moment."""
        self.ENrunH()
        self.errcodelist.clear()

    def advance(self) -> None:
        """Let tanks fill and drain for one step. EPANET stops where a tank is full or empty; those stops are run through."""
        remaining = self._step_s
        while remaining > 0:
            passed = self.ENnextH()
            if passed == 0:  # the longest run is over
                self._restart()
                return
            remaining -= passed
            if remaining > 0:
                self.solve()

    def _restart(self) -> None:
        levels = self.levels_m()
        self.ENcloseH()
        self._set_levels(levels.tolist())
        self.ENopenH()
        self.ENinitH(0)

    def pressures_m(self) -> Floats:
        """Pressure head at each junction."""
        return self._nodes(self._junction_index, EN.PRESSURE) * M_PER_PSI

    def tank_inflows_lps(self) -> Floats:
        return self._nodes(self._tank_index, EN.DEMAND) * LPS_PER_GPM

    def pipe_flows_lps(self, positions: Sequence[int]) -> Floats:
        return self._links([self._pipe_index[i] for i in positions], EN.FLOW) * LPS_PER_GPM

    def pipe_headlosses_m(self, positions: Sequence[int]) -> Floats:
        """Head lost along a pipe, without sign."""
        return np.abs(self._links([self._pipe_index[i] for i in positions], EN.HEADLOSS)) * M_PER_FT

    def pump_flows_lps(self) -> Floats:
        return self._links(self._pump_index, EN.FLOW) * LPS_PER_GPM

    def pump_gains_m(self) -> Floats:
        """Head that each pump adds."""
        return np.abs(self._links(self._pump_index, EN.HEADLOSS)) * M_PER_FT

    def pump_powers_kw(self) -> Floats:
        return self._links(self._pump_index, EN.ENERGY)

    def _nodes(self, indices: Sequence[int], code: int) -> Floats:
        return self._read(self.ENlib.EN_getnodevalue, indices, code)

    def _links(self, indices: Sequence[int], code: int) -> Floats:
        return self._read(self.ENlib.EN_getlinkvalue, indices, code)

    def _read(self, function: Callable[..., int], indices: Sequence[int], code: int) -> Floats:
        project, value, reference, kind = self._project, self._value, self._reference, int(code)
        found = np.empty(len(indices))
        for position, index in enumerate(indices):
            function(project, index, kind, reference)
            found[position] = value.value
        return found


def net3() -> str:
    """The text of the network file that ships with wntr."""
    with as_file(files("wntr.library").joinpath("networks", "Net3.inp")) as path:
        return path.read_text(encoding="latin-1")


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


def _close(library: ctypes.CDLL, project: ctypes.c_uint64, folder: tempfile.TemporaryDirectory[str]) -> None:
    library.EN_close(project)
    library.EN_deleteproject(project)
    folder.cleanup()

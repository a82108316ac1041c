"""The EPANET 2.2 solver that ships inside `wntr`, called directly.

In:   calls of EPANET's own programming interface, by their names without `EN_`.
Out:  what they return; a code of 100 or more raises, with EPANET's words.
`wntr.epanet.toolkit` would do the same, but importing it brings pandas, matplotlib and networkx along: four seconds of every
start. Here only the files of the package are found, nothing of it is imported.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin.errors import LivetwinError

# codes of EPANET's programming interface, as its documentation lists them
BASEDEMAND, PATTERN, EMITTER, TANKLEVEL, DEMAND, PRESSURE, MINLEVEL, MAXLEVEL = 1, 2, 3, 8, 9, 11, 20, 21  # nodes
FLOW, HEADLOSS, STATUS, SETTING, ENERGY = 8, 10, 11, 12, 13  # links
DURATION, HYDSTEP, PATTERNSTEP, REPORTSTEP, REPORTSTART = 0, 1, 3, 5, 6  # times
NODECOUNT, LINKCOUNT = 0, 2
JUNCTION, TANK = 0, 2
CHECKED_PIPE, PIPE, PUMP = 0, 1, 2
_FIRST_ERROR = 100  # smaller codes are warnings, such as negative pressure
_NAME_SIZE, _MESSAGE_SIZE = 64, 256


class HydraulicsFailed(LivetwinError):
    """EPANET is not there, does not load a network, or can't solve it."""


class Epanet:
    """One open network."""

    def __init__(self, network: str) -> None:
        self._library = _library()
        self._project = ctypes.c_void_p()
        folder = tempfile.TemporaryDirectory(prefix="livetwin-epanet-")
        files = [Path(folder.name) / name for name in ("network.inp", "report.txt", "results.bin")]
        files[0].write_text(network, encoding="latin-1")
        self._library.EN_createproject(ctypes.byref(self._project))
        weakref.finalize(self, _close, self._library, self._project, folder)
        self._value = ctypes.c_double()
        self._integer = ctypes.c_int()
        self._seconds = ctypes.c_long()
        self.call("open", *(str(path).encode() for path in files))

    def call(self, name: str, *arguments: object) -> None:
        """Raises HydraulicsFailed where EPANET answers with an error."""
        code = getattr(self._library, f"EN_{name}")(self._project, *arguments)
        if code >= _FIRST_ERROR:
            message = ctypes.create_string_buffer(_MESSAGE_SIZE)
            self._library.EN_geterror(code, message, _MESSAGE_SIZE - 1)
            words = message.value.decode("latin-1").strip()
            raise HydraulicsFailed(f"EPANET's {name} answered {code} ({words}), expected below {_FIRST_ERROR}; the plant stops")

    def count(self, what: int) -> int:
        self.call("getcount", what, ctypes.byref(self._integer))
        return self._integer.value

    def kind(self, of: str, index: int) -> int:
        """Kind of a `node` or `link`."""
        self.call(f"get{of}type", index, ctypes.byref(self._integer))
        return self._integer.value

    def name(self, of: str, index: int) -> str:
        """Name of a `node` or `link` in the network file."""
        buffer = ctypes.create_string_buffer(_NAME_SIZE)
        self.call(f"get{of}id", index, buffer)
        return buffer.value.decode("latin-1")

    def set_time(self, what: int, seconds: int) -> None:
        self.call("settimeparam", what, ctypes.c_long(seconds))

    def set_values(self, of: str, indices: Sequence[int], what: int, values: Sequence[float]) -> None:
        """One property of some nodes or links."""
        function = getattr(self._library, f"EN_set{of}value")
        for index, value in zip(indices, values, strict=True):
            if function(self._project, index, what, ctypes.c_double(value)) >= _FIRST_ERROR:
                self.call(f"set{of}value", index, what, ctypes.c_double(value))  # again, for the words

    def values(self, of: str, indices: Sequence[int], what: int) -> NDArray[np.float64]:
        """One property of some nodes or links."""
        function = getattr(self._library, f"EN_get{of}value")
        project, value, reference = self._project, self._value, ctypes.byref(self._value)
        found = np.empty(len(indices))
        for position, index in enumerate(indices):
            if function(project, index, what, reference) >= _FIRST_ERROR:
                self.call(f"get{of}value", index, what, reference)
            found[position] = value.value
        return found

    def run(self) -> None:
        """Solve the network as it is at this moment."""
        self.call("runH", ctypes.byref(self._seconds))

    def next(self) -> int:
        """Go on to the next moment at which something changes; seconds passed, 0 at the end of the duration."""
        self.call("nextH", ctypes.byref(self._seconds))
        return self._seconds.value


def wntr_file(*parts: str) -> Path:
    """A file of the installed package `wntr`.

    Raises:
        HydraulicsFailed: the package or the file is not there.
    """
    found = find_spec("wntr")
    if found is None or not found.submodule_search_locations:
        raise HydraulicsFailed("package wntr is not installed, expected 1.5 or newer; the demo plant can't run")
    path = Path(found.submodule_search_locations[0]).joinpath(*parts)
    if not path.exists():
        machine = f"{sys.platform} on {platform.machine()}"
        raise HydraulicsFailed(f"{path} is not there: wntr brings no EPANET for {machine}; the demo plant can't run")
    return path


@cache
def _library() -> ctypes.CDLL:
    if sys.platform == "darwin":
        place = ("darwin-arm", "libepanet2.dylib") if platform.machine() == "arm64" else ("darwin-x64", "libepanet22.dylib")
    elif sys.platform == "win32":
        place = ("windows-x64", "epanet22.dll")
    elif platform.machine() in ("x86_64", "AMD64"):
        place = ("linux-x64", "libepanet22.so")
    else:
        place = (f"linux-{platform.machine()}", "libepanet22.so")  # not in wntr 1.5: the error says so
    library = ctypes.CDLL(str(wntr_file("epanet", "libepanet", *place)))
    library.EN_geterror.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
    return library


def _close(library: ctypes.CDLL, project: ctypes.c_void_p, folder: tempfile.TemporaryDirectory[str]) -> None:
    library.EN_close(project)
    library.EN_deleteproject(project)
    folder.cleanup()

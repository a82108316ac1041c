"""Energy of work in this process, by codecarbon: measured where the machine has counters, estimated where it has none.

In:   the country whose electricity it is, and the power of the processor where people know it better.
Out:  `Energy` of what ran inside `EnergyMeter.running`.

Nothing is sent or asked: codecarbon's offline tracker, without outputs. The first use looks at the hardware, a second or two;
`look_ahead` does it before there is work. What fails here fails no work: the energy is then not known.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from models.origin import Energy
from models.power import PowerTerms, estimate

if TYPE_CHECKING:
    from codecarbon import OfflineEmissionsTracker

log = logging.getLogger(__name__)

WORLD: Final = "world average"
_SAMPLE_S = 5.0
_WH = 1000.0  # of a kWh
_COUNTERS: Final = {  # codecarbon's name of a way to measure a processor
    "intel_rapl": "RAPL counters of all processors, whatever else ran meanwhile",
    "windows_emi": "Windows' energy meter, whatever else ran meanwhile",
    "intel_power_gadget": "Intel Power Gadget, whatever else ran meanwhile",
}


@dataclass(slots=True)
class Metered:
    """`energy` is there once the work is done; None: it could not be told."""

    energy: Energy | None = None


class EnergyMeter:
    """Measures one piece of work after the other; one a process at a time."""

    def __init__(self, terms: PowerTerms) -> None:
        self._terms = terms
        self._looking: threading.Thread | None = None

    def look_ahead(self) -> None:
        """Look at the hardware in a thread, while others start."""
        self._looking = threading.Thread(target=self._look, name="livetwin-energy", daemon=True)
        self._looking.start()

    @contextmanager
    def running(self) -> Iterator[Metered]:
        """Measure what runs inside. Its exceptions pass through."""
        if self._looking is not None:
            self._looking.join()
            self._looking = None
        metered, tracker = Metered(), self._tracker()
        tracker.start()
        try:
            yield metered
        finally:
            tracker.stop()
            metered.energy = _told(tracker)

    def _look(self) -> None:
        try:
            self._tracker().get_detected_hardware()  # codecarbon keeps it for the process
        except Exception:  # whatever a machine's counters do
            log.warning("energy-unknown", exc_info=True)

    def _tracker(self) -> OfflineEmissionsTracker:
        """A tracker that logs what fails in it, and goes on."""
        from codecarbon import OfflineEmissionsTracker  # half a second, so only where it is used

        logging.getLogger("codecarbon").setLevel(logging.ERROR)  # it tells at length what it found; so does `Energy.source`
        given: dict[str, Any] = {"country_iso_code": self._terms.country} if self._terms.country else {}
        if self._terms.cpu_watts is not None:
            given["force_cpu_power"] = self._terms.cpu_watts
        return OfflineEmissionsTracker(
            tracking_mode="process",
            measure_power_secs=_SAMPLE_S,
            output_methods=[],
            emissions_endpoint="",
            electricitymaps_api_token="",
            allow_multiple_runs=True,  # without it codecarbon takes this process's signals
            log_level="error",
            **given,
        )


def _told(tracker: OfflineEmissionsTracker) -> Energy | None:
    """What a stopped tracker knows; it logs its own errors and goes on without figures."""
    found = getattr(tracker, "final_emissions_data", None)
    if found is None:
        log.warning("energy-unknown", extra={"found": "codecarbon gave no figures"})
        return None
    cpu = next((one for one in tracker._hardware if type(one).__name__ == "CPU"), None)  # nothing public tells how
    mode = getattr(cpu, "_mode", "unknown")
    source = _COUNTERS.get(mode) or estimate(float(getattr(cpu, "_tdp", 0) or 0), found.cpu_model or "unknown processor")
    return Energy(
        cpu_wh=found.cpu_energy * _WH,
        ram_wh=found.ram_energy * _WH,
        gpu_wh=found.gpu_energy * _WH,
        carbon_g=found.emissions * 1000.0,
        measured=mode in _COUNTERS,
        source=source,
        grid=found.country_iso_code if found.country_name else WORLD,  # no name: codecarbon has no such country
    )


def cpu_seconds() -> float:
    """CPU time so far of this process and of those it started that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system

"""Power of this machine's processor, as codecarbon's tables have it, for what is only known by its CPU time.

In:   what people know better.
Out:  watts of one busy thread, and how that is known. `python -m models.power` prints them as JSON: the tables take a second and
      some dozens of MiB, which a process that scores is spared.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass

import psutil

_NICE = 19


@dataclass(frozen=True, slots=True)
class PowerTerms:
    """What people know better than codecarbon's tables; see `deploy.settings.EnergySettings`.

    Args:
        country: ISO 3166 alpha-3, whose electricity mix counts; None: the world's average.
        cpu_watts: power of all threads of this machine under full load; None: a table by the processor's name.
    """

    country: str | None = None
    cpu_watts: float | None = None


def watts_a_cpu_second(terms: PowerTerms) -> tuple[float, str]:
    """Power of one busy thread of this machine in watts, and how that is known; by the same tables as `EnergyMeter`."""
    threads = psutil.cpu_count() or 1
    if terms.cpu_watts is not None:
        return terms.cpu_watts / threads, estimate(terms.cpu_watts, "as set")
    from codecarbon.core.cpu import TDP
    from codecarbon.core.util import count_physical_cpus
    from codecarbon.external.hardware import POWER_CONSTANT

    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    table = TDP()  # type: ignore[no-untyped-call]
    sockets = count_physical_cpus()  # type: ignore[no-untyped-call]
    watts = float(table.tdp) * sockets if table.tdp is not None else float(POWER_CONSTANT)
    return watts / threads, estimate(watts, table.model)


def estimate(watts: float, of: str) -> str:
    return f"estimated: CPU time at {watts:g} W for all {psutil.cpu_count() or 1} threads ({of})"


if __name__ == "__main__":
    os.nice(_NICE)
    watts, source = watts_a_cpu_second(PowerTerms())
    json.dump({"watts": watts, "source": source}, sys.stdout)

"""One update with an account of it: what it was trained on, what it took. What the training process carries out.

In:   `UpdateJob`.
Out:  the result of `models.updating`, with `origin` and `compute`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from models import version as version_file
from models.energy import EnergyMeter, cpu_seconds
from models.origin import Compute, origin_of, software
from models.update import Update, UpdateFailed, UpdateJob
from models.updating import update
from models.weights import path_of

log = logging.getLogger(__name__)


def accounted_update(job: UpdateJob, meter: EnergyMeter) -> Update | UpdateFailed:
    """Carry out one update, and say what it took; also one that ends in an error, which is told as `UpdateFailed`."""
    began_s, cpu_s = time.perf_counter(), cpu_seconds()
    with meter.running() as metered:
        found = _carried_out(job)
    compute = Compute(
        wall_s=round(time.perf_counter() - began_s, 3),
        cpu_s=round(cpu_seconds() - cpu_s, 3),
        device="cpu",  # of `models.updating`: training leaves the GPU to what serves
        software=software(),
        energy=metered.energy,
    )
    if isinstance(found, UpdateFailed):
        return replace(found, compute=compute)
    return replace(found, compute=compute, origin=origin_of(version_file.header(path_of(found.uri))))


def _carried_out(job: UpdateJob) -> Update | UpdateFailed:
    try:
        return update(job)
    except Exception as error:  # one type's failure must not stop the others
        log.exception("update-failed", extra={"model": job.type.slug})
        return UpdateFailed(f"training failed: {type(error).__name__}: {error}; the version before keeps serving")

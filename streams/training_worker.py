"""The process that trains: beside the trainer's event loop, at low priority, one update at a time.

In:   `UpdateJob`s, `DriftJob`s, `LiveJob`s.
Out:  their results; `UpdateFailed` when the process died of one (out of memory, killed). The next job starts a new process.
It ends when its parent ends, however that happened.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from models.energy import EnergyMeter
from models.live import LiveJob, Verdict
from models.power import PowerTerms
from models.update import DriftFound, DriftJob, Update, UpdateFailed, UpdateJob

log = logging.getLogger(__name__)

Job = UpdateJob | DriftJob | LiveJob
Done = Update | DriftFound | Verdict | UpdateFailed

NICE = 10  # at most a tenth of a core that a processor of priority 0 wants too
_GRACE_S = 5.0
_JOBS = 200  # then a fresh process, so that no leak of any library adds up


class TrainingWorker:
    """Starts its process with the first job.

    Args:
        power: what people know of this machine's power.
    """

    def __init__(self, power: PowerTerms | None = None) -> None:
        self._power = power or PowerTerms()
        self._context = multiprocessing.get_context("spawn")  # a fork would copy the event loop and its threads' locks
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._busy = asyncio.Lock()
        self._jobs = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def run(self, job: UpdateJob) -> Update | UpdateFailed:
        """Carry out one update; other jobs wait for it."""
        found = await self._carry_out(job)
        assert not isinstance(found, DriftFound | Verdict)
        return found

    async def look(self, job: DriftJob) -> DriftFound | UpdateFailed:
        """Carry out one look for drift; other jobs wait for it."""
        found = await self._carry_out(job)
        assert not isinstance(found, Update | Verdict)
        return found

    async def judge(self, job: LiveJob) -> Verdict | UpdateFailed:
        """Judge a version on live steps; other jobs wait for it."""
        found = await self._carry_out(job)
        assert not isinstance(found, Update | DriftFound)
        return found

    async def _carry_out(self, job: Job) -> Done:
        async with self._busy:
            try:
                if self._process is None or not self._process.is_alive() or self._jobs >= _JOBS:
                    await self._end()
                    self._start()
                assert self._pipe is not None
                self._jobs += 1
                return await asyncio.to_thread(_exchange, self._pipe, job)
            except (EOFError, OSError) as error:
                process = self._process
                await self._end()
                found = f"ended with exit code {process.exitcode}" if process is not None else f"did not start ({error})"
                return UpdateFailed(f"the training process {found}; the version before keeps serving")

    async def close(self) -> None:
        """End the process, also in the middle of a job."""
        await self._end()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._power), name="livetwin-training", daemon=True)
        process.start()
        theirs.close()  # or the pipe would not end when the process does
        self._process, self._jobs = process, 0
        log.info("training-process-started", extra={"worker_pid": process.pid})

    async def _end(self) -> None:
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if process is not None:
            process.terminate()
            await asyncio.to_thread(process.join, _GRACE_S)
            if process.is_alive():
                process.kill()
                await asyncio.to_thread(process.join, _GRACE_S)
        if pipe is not None:
            pipe.close()


def _exchange(pipe: Connection, job: Job) -> Done:
    pipe.send(job)
    found: Done = pipe.recv()
    return found


def _work(pipe: Connection, power: PowerTerms) -> None:
    """The process: one job after another until the pipe ends."""
    os.nice(max(0, NICE - os.nice(0)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the trainer ends this one in its own time
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    meter = EnergyMeter(power)
    meter.look_ahead()
    from models.accounting import accounted_update  # torch, seconds: only here
    from models.drift import look_for_drift
    from models.live_judging import judge

    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        found: Done
        try:
            match job:
                case DriftJob():
                    found = look_for_drift(job)
                case LiveJob():
                    found = judge(job)
                case UpdateJob():
                    found = accounted_update(job, meter)
        except Exception as error:  # one type's failure must not stop the others
            log.exception("look-failed", extra={"model": job.type.slug})
            found = UpdateFailed(f"{type(error).__name__}: {error}; the version before keeps serving")
        pipe.send(found)
        del job, found
        _give_memory_back()


def _give_memory_back() -> None:
    """What one job freed stays with the process otherwise (glibc), hundreds of MiB between two updates, more with each."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

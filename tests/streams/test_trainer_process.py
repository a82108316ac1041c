"""The training process ends with the trainer, however that ended; a job that fails is a reason, not a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from models.update import Update, UpdateFailed, UpdateJob
from streams.training_worker import NICE, TrainingWorker
from twin.block import StepBlock
from twin.types import compile_type

TANK = compile_type(
    {"@id": "dtmi:test:Tank;1", "@type": "Interface", "contents": [{"@type": "Telemetry", "name": "level", "schema": "double"}]}
)


def job_of(home: Path, steps: int) -> UpdateJob:
    shape = (2, steps, 1)
    values = np.random.default_rng(1).normal(10, 1, shape).astype(np.float32)
    block = StepBlock(("a", "b"), TANK.channel_names, 1_700_000_000, TANK.period_ns, values, np.zeros(shape, np.uint8))
    excluded = np.zeros(shape[:2], np.bool_)
    return UpdateJob(home, TANK, block, excluded, None, False, 1, alarms_per_twin_day=0.02, seed=7, threads=1)


async def test_a_process_carries_out_job_after_job_and_says_why_one_failed(tmp_path: Path) -> None:
    worker = TrainingWorker()
    try:
        early = await worker.run(job_of(tmp_path, steps=20))
        assert isinstance(early, UpdateFailed)
        assert early.early
        assert "none of 2 twins has" in early.why
        broken = await worker.run(replace(job_of(tmp_path, steps=300), exclude=np.zeros((1, 1, 1, 1), np.bool_)))
        assert isinstance(broken, UpdateFailed)
        assert not broken.early
        assert broken.why.startswith("training failed: ")
        assert broken.compute is not None, "what failed counts against the budget too"
        assert broken.compute.wall_s > 0
        pid = worker.pid
        assert psutil.Process(pid).nice() == max(NICE, os.nice(0)), "what trains steps back behind what scores"
        found = await worker.run(job_of(tmp_path, steps=300))
        assert isinstance(found, Update)
        assert worker.pid == pid, "the same process went on"
        assert found.version.startswith("0001-")
        assert found.why
        assert all(np.isfinite(list(found.figures.values())))
    finally:
        await worker.close()
    assert worker.pid is None
    assert not psutil.pid_exists(pid or 0)


_PARENT = """
import asyncio, time
from streams.training_worker import TrainingWorker
if __name__ == "__main__":
    async def main():
        worker = TrainingWorker()
        worker._start()
        print(worker.pid, flush=True)
        time.sleep(60)
    asyncio.run(main())
"""


def test_no_training_process_outlives_a_trainer_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        child.wait(timeout=30)

"""The watch over drift, with a real training process: steps that surprise the champion make an update due, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.update import Update, UpdateJob, Weights
from streams.drift_watch import LOOK_STEPS, DriftWatch
from streams.step_blocks import StepBlockBuilder
from streams.training_worker import TrainingWorker
from streams.triggers import TriggerRules, Triggers
from tests.streams.test_trainer_blocks import TANK

ASSETS = ["a", "b"]
LEARNT = 400


class Tanks:
    """Two tanks that swing daily; `swing` says how far."""

    def __init__(self) -> None:
        self.builder = StepBlockBuilder(TANK, max_steps=2000)
        self._random, self._fed = np.random.default_rng(3), 0

    def feed(self, steps: int, swing: float = 1.0) -> None:
        at = np.arange(self._fed, self._fed + steps)
        self._fed += steps
        for number, asset in enumerate(ASSETS):
            course = swing * np.sin(2 * np.pi * at / 48 + number)
            values = np.stack([10 + 2 * course, 5 - course], axis=1) + self._random.normal(0, 0.05, (steps, 2))
            self.builder.add([asset] * steps, at, values.astype(np.float32), np.zeros((steps, 2), np.uint8))


async def test_drift_makes_an_update_due_and_is_answered_by_it(tmp_path: Path) -> None:
    tanks, worker, now_s = Tanks(), TrainingWorker(), 0.0
    tanks.feed(LEARNT)
    triggers = Triggers(TriggerRules(every_s=1e9, min_steps=64), now_s=0.0)
    watch = DriftWatch(worker, triggers, tmp_path, threads=1, now_s=lambda: now_s)

    def due() -> str | None:
        found = triggers.due(tanks.builder, asked=False, has_model=True, announced_s=0.0, now_s=1.0)
        return found.kind if found else None

    try:
        block = tanks.builder.block()
        excluded = np.zeros(block.values.shape[:2], np.bool_)
        job = UpdateJob(tmp_path, TANK, block, excluded, None, False, 1, alarms_per_twin_day=0.02, seed=7, threads=1)
        found = await worker.run(job)
        assert isinstance(found, Update)
        champion = Weights(found.version, found.uri, found.sha256)
        triggers.began(tanks.builder, now_s=0.0)
        tanks.feed(200)
        await watch.look(tanks.builder, champion)
        assert due() is None, "as it was learnt"
        now_s = 60.0
        tanks.feed(LOOK_STEPS - 1, swing=6.0)
        worker_pid = worker.pid
        await worker.close()  # a look that is not worth it asks nobody
        await watch.look(tanks.builder, champion)
        assert worker.pid is None
        tanks.feed(240, swing=6.0)
        await watch.look(tanks.builder, champion)
        assert worker.pid not in (None, worker_pid)
        assert due() == "drift"
        triggers.began(tanks.builder, now_s=1.0)
        watch.answered(tanks.builder)
        now_s = 120.0
        tanks.feed(LOOK_STEPS, swing=6.0)
        await watch.look(tanks.builder, champion)
        assert due() is None, "no news any more"
    finally:
        await worker.close()

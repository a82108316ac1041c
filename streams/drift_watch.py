"""Drift watch: have the champion score new steps now and then, and tell the triggers when they surprise it more than before.

In:   closed steps of a type, its champion; the training process does the scoring.
Out:  what ADWIN found (`models.drift`), noted at the triggers.
A look costs little: few twins, bounded steps, and none while another trigger is due anyway.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.update import DriftJob, Surprises, UpdateFailed, Weights
from streams.step_blocks import StepBlockBuilder
from streams.training_worker import TrainingWorker
from streams.triggers import Triggers

log = logging.getLogger(__name__)

LOOK_STEPS = 12  # new steps between two looks
LOOK_S = 5.0  # and seconds
STEPS_MAX = 1024  # newest steps that a look may score
TWINS_MAX = 32  # the same ones at every look
CONTEXT = 128  # steps before the first one scored: a whole window


@dataclass(slots=True)
class _Watched:
    surprises: Surprises
    looked_s: float
    ignored_to: int  # up to this step drift has been answered by an update


class DriftWatch:
    """Of all types; one look at a time."""

    def __init__(
        self, worker: TrainingWorker, triggers: Triggers, home: Path, *, threads: int, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker, self._triggers, self._home, self._threads, self._now_s = worker, triggers, home, threads, now_s
        self._watched: dict[str, _Watched] = {}  # by type id

    async def look(self, builder: StepBlockBuilder, champion: Weights) -> None:
        """Score what is new, when there is enough of it."""
        known = self._watched.get(builder.type.id)
        if known is not None and known.surprises.version != champion.version:
            known = None
        if known is not None and (
            builder.newest - known.surprises.next_step + 1 < LOOK_STEPS or self._now_s() - known.looked_s < LOOK_S
        ):
            return
        steps = None if known is None else builder.newest - known.surprises.next_step + 1 + CONTEXT
        found = await self._worker.look(
            DriftJob(
                home=self._home,
                type=builder.type,
                block=builder.block(assets=_watched(builder.assets), steps=steps),
                champion=champion,
                earlier=known.surprises if known else None,
                steps_max=STEPS_MAX,
                ignored_to=known.ignored_to if known else -1,
                threads=self._threads,
            )
        )
        if isinstance(found, UpdateFailed):
            log.warning("drift-not-looked-for", extra={"model": builder.type.slug, "found": found.why})
            return
        watched = _Watched(found.surprises, self._now_s(), known.ignored_to if known else -1)
        self._watched[builder.type.id] = watched
        if found.risen is not None:
            log.info("drift", extra={"model": builder.type.slug, "version": champion.version, "found": found.risen})
            self._triggers.drifted(builder.type.id, found.risen)

    def answered(self, builder: StepBlockBuilder) -> None:
        """An update of this type begins: drift up to here is no news any more, whatever comes of the update."""
        if (known := self._watched.get(builder.type.id)) is not None:
            known.ignored_to = builder.newest


def _watched(assets: list[str]) -> list[str]:
    """Some of the twins, by a hash of their names, so that a new one rarely takes another's place."""
    return sorted(sorted(assets, key=lambda asset: hashlib.blake2b(asset.encode(), digest_size=8).digest())[:TWINS_MAX])

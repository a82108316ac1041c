"""Looks every few seconds whether steps still come, and tells when they stop coming and when they come again.

In:   the live views; the wall clock.
Out:  `newest` for pages, `/v1/system` and `/metrics`; a `Quiet` record on `monitoring` and a line in the log when it changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Final

from streams.arrivals import Arrival, Quiet
from streams.gateway.following import FollowStatus
from streams.gateway.problem import ApiError
from streams.gateway.producing import RecordProducer
from streams.gateway.views import LiveViews
from streams.topics import Topics
from streams.waiting import pause
from twin.silence import silent_after

log = logging.getLogger(__name__)

_EVERY_S: Final = 5.0
_SOON_S: Final = 0.5  # till the views are read to their end
_NS_PER_MS: Final = 1_000_000


class ArrivalWatch:
    """`newest`: of each type and partition since when nothing has come; None until all views have been read."""

    def __init__(self, topics: Topics, views: LiveViews, status: FollowStatus, producer: RecordProducer) -> None:
        self._topic, self._views, self._status, self._producer = topics.monitoring, views, status, producer
        self.newest: list[Arrival] | None = None

    @property
    def stands_still(self) -> bool:
        """Nothing comes from anybody."""
        return bool(self.newest) and all(one.quiet for one in self.newest or ())

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self._status.caught_up and self._status.reachable:
                await self._look()
            await pause(stop, _SOON_S if self.newest is None else _EVERY_S)

    async def _look(self) -> None:
        twins = Counter((state.type, state.partition) for state in self._views.twins.after())
        self.newest = self._views.arrivals.told(time.time_ns() // _NS_PER_MS, twins, self._unknown_ms)
        changed = [one for one in self.newest if one.quiet != ((one.type, one.partition) in self._views.arrivals.known)]
        if not changed:
            return
        records = [_record(one) for one in changed]
        try:
            await self._producer.send(self._topic, [(one.key, one.to_bytes()) for one in records])
        except ApiError as error:
            log.info("quiet-not-told", extra={"found": error.detail})
            return
        for one, record in zip(changed, records, strict=True):
            self._views.arrivals.take(record)
            told = {"type": one.type, "partition": one.partition, "twins": one.twins, "since_ms": one.last_ms}
            if one.quiet:
                log.warning("nothing-comes", extra={**told, "expected_within_s": one.limit_ms / 1000})
            else:
                log.info("comes-again", extra=told)

    def _unknown_ms(self, dtmi: str) -> int:
        """As a type's twins fall silent in event time, where that goes with the wall clock."""
        kind = self._views.definitions.types.get(dtmi)
        return silent_after(kind) * kind.period_ns // _NS_PER_MS if kind is not None and kind.max_ahead_ns is not None else 0


def _record(one: Arrival) -> Quiet:
    return Quiet(
        type=one.type,
        partition=one.partition,
        quiet=one.quiet,
        twins=one.twins,
        since_ns=one.last_ms * _NS_PER_MS,
        limit_ns=one.limit_ms * _NS_PER_MS,
    )

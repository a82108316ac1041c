"""How far each role is behind, kept in a store that others draw from.

In:   lag of all roles, as `streams.lag` has it; whether it is this process that keeps it (of several historians one does).
Out:  rows in the store. A look that the store can't take is left out: the next one says more than it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from streams.lag import LagWatch, RoleLag
from streams.stores.port import KeepsLag, StoreError
from streams.topics import Topics

log = logging.getLogger(__name__)
EVERY_S = 30.0


class LagKeeping(LagWatch):
    """Runs beside a historian. `mine` tells whether it is the one that keeps."""

    def __init__(self, bootstrap: str, topics: Topics, store: KeepsLag, mine: Callable[[], bool]) -> None:
        super().__init__(bootstrap, topics, every_s=EVERY_S)
        self._store, self._mine = store, mine

    async def looked(self, found: list[RoleLag]) -> None:
        await super().looked(found)
        if not self._mine():
            return
        try:
            await asyncio.to_thread(self._store.write_lag, found, wall_ns=time.time_ns())
        except StoreError as error:
            log.info("lag-not-kept error=%s", error)

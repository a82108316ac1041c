"""One supervised process: started, restarted with growing delay when it ends by itself, stopped when told to.

In:   a `start` that returns a running child, and a stop event.
Out:  its state on the board (`deploy.roles_board`), one log line a change.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from deploy.roles_board import RolesBoard
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_STEADY_S = 60.0  # a process that ran this long starts with the first delay again


class Child(Protocol):
    """A running process: `deploy.guard.Guarded`, `deploy.kafka.EmbeddedKafka`."""

    @property
    def pid(self) -> int | None: ...

    def wait(self) -> int | None:
        """Block until it ended; the exit status, 128 + N after signal N."""
        ...

    def stop(self, grace_s: float) -> object:
        """SIGTERM, after the grace SIGKILL; block until it ended."""
        ...

    def kill(self) -> None: ...


RunBlocking = Callable[[Callable[[], Any]], Awaitable[Any]]  # a blocking call, on a thread


def backoff_s(failures: int, jitter: float) -> float:
    """Delay before the next start: doubles with each failure, between half and one and a half of itself.

    >>> [backoff_s(failures, 0.5) for failures in (1, 2, 3, 20)]
    [0.5, 1.0, 2.0, 30.0]
    >>> backoff_s(1, 0.0), backoff_s(1, 1.0)
    (0.25, 0.75)
    """
    doublings = min(failures - 1, 16)  # enough for the longest; more would overflow one day
    return float(min(_FIRST_DELAY_S * 2**doublings, _LONGEST_DELAY_S)) * (0.5 + jitter)


class Supervised:
    """Keeps one process alive until `stop`."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[Child]],
        board: RolesBoard,
        run_blocking: RunBlocking,
        *,
        why: Callable[[int], int | str] = lambda status: status,
    ) -> None:
        """Nothing is started yet.

        Args:
            start: starts the process; may raise LivetwinError or OSError, which counts as an end of it.
            run_blocking: runs a blocking call on a thread.
            why: what to say of a process that ended by itself with that status.
        """
        self._why = why
        self.name = name
        self._start = start
        self._board = board
        self._run_blocking = run_blocking
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._failures = 0

    async def keep(self) -> None:
        """Start, wait, start again; returns after `stop`."""
        while not self._stopping.is_set():
            began = time.monotonic()
            ended = await self._run_once()
            if self._stopping.is_set():
                log.info("role-stopped", extra={"of": self.name, "status": ended})
                break
            self._failures = 1 if time.monotonic() - began > _STEADY_S else self._failures + 1
            delay_s = backoff_s(self._failures, random.random())
            self._board.backing_off(self.name, ended)
            log.error("role-ended", extra={"of": self.name, "status": ended, "again_in_s": round(delay_s, 1)})
            try:
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            except TimeoutError:
                continue
        self._board.stopped(self.name)

    async def _run_once(self) -> int | str:
        """Exit status, or why it could not be started."""
        try:
            child = self._child = await self._start()
        except (LivetwinError, OSError) as error:
            return str(error)
        self._board.running(self.name, child.pid)
        log.info("role-running", extra={"of": self.name, "pid": child.pid})
        if self._stopping.is_set():  # told to stop while it was starting
            await self._run_blocking(child.kill)
        try:
            status: int | None = await self._run_blocking(child.wait)
            if status is None:
                return "not started"
            return status if self._stopping.is_set() else self._why(status)
        finally:
            self._child = None

    async def stop(self, grace_s: float) -> None:
        """End it for good, within the grace."""
        self._stopping.set()
        child = self._child
        if child:
            await self._run_blocking(lambda: child.stop(grace_s))

    def kill(self) -> None:
        """End it now."""
        self._stopping.set()
        if self._child:
            self._child.kill()

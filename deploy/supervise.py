"""`livetwin up`: Kafka, the topics, then every role as a process of its own, until Ctrl-C or SIGTERM.

Start: Kafka → topics → gateway, processors, feed → (first twins live) → alerting, trainer.
Stop:  feed → processors → alerting → trainer → historian → gateway → Kafka, each within its grace; a second Ctrl-C kills.
A process that ends by itself is started again with growing delay and shown as such (`deploy.roles_board`); kill -9 of this
process takes all down (`deploy.guard`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import deploy
from deploy.guard import Guarded
from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import KafkaUnavailable
from deploy.kafka_jars import cache_folder
from deploy.page_watch import await_page, await_twins
from deploy.role_output import RoleOutput
from deploy.role_plan import RolePlan
from deploy.roles import await_broker
from deploy.roles_board import RolesBoard
from deploy.supervised import Child, Supervised
from deploy.topics import ensure_topics
from streams.topics import Topics

log = logging.getLogger(__name__)

_ROLE_GRACE_S = 10.0
_KAFKA_GRACE_S = 20.0
_SECOND_WAVE_S = 15.0  # at the latest, twins or not

T = TypeVar("T")


class System:
    """All that `livetwin up` runs."""

    def __init__(
        self,
        *,
        home: Path,
        roles: Sequence[RolePlan],
        kafka: EmbeddedKafka | None,
        bootstrap: str,
        topics: Topics,
        partitions: int,
        page: str,
        environment: Mapping[str, str],
        held: int,
        show: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        """Nothing is started yet.

        Args:
            kafka: None: a broker elsewhere, at `bootstrap`.
            page: address of the gateway.
            environment: of every role.
            held: a locked file that is to stay locked until the last process ended.
            show: takes each line that a role prints.
            tell: takes what the person at the console wants to know.
        """
        self._home, self._roles, self._kafka, self._bootstrap = home, roles, kafka, bootstrap
        self._topics, self._partitions, self._page = topics, partitions, page
        self._held, self._show, self._tell = held, show, tell
        source = str(Path(deploy.__file__).parent.parent)
        paths = [source, *filter(None, [environment.get("PYTHONPATH")])]
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        # no bytecode beside the sources, then, but without any a start takes twice as long
        if self._environment.pop("PYTHONDONTWRITEBYTECODE", None):
            self._environment.setdefault("PYTHONPYCACHEPREFIX", str(cache_folder().parent.parent / "bytecode"))
        self._board = RolesBoard(home)
        self._supervised: dict[str, Supervised] = {}
        self._kept: list[asyncio.Task[None]] = []
        self._outputs: list[RoleOutput] = []
        self._threads = ThreadPoolExecutor(2 * len(roles) + 6, thread_name_prefix="child")  # one waits, one stops
        self._forced = False
        self._began = time.monotonic()

    async def run(self) -> int:
        """Until SIGTERM, SIGINT or SIGHUP. The exit status: 0, or 130 when it was forced.

        Raises:
            LivetwinError: the broker or the topics could not be had; nothing is left running.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, stop)
        told_to_stop = asyncio.create_task(stop.wait())
        try:
            if await self._start_broker(stop):
                starting = asyncio.create_task(self._start_roles())
                await asyncio.wait({starting, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                await told_to_stop
                starting.cancel()
                with suppress(asyncio.CancelledError):
                    await starting
        finally:
            told_to_stop.cancel()
            await self._stop_all()
        return 130 if self._forced else 0

    def _on_signal(self, stop: asyncio.Event) -> None:
        if not stop.is_set():
            self._tell("stopping (once more to force)")
            stop.set()
            return
        self._tell("forced to stop")
        self._forced = True
        for supervised in self._supervised.values():
            supervised.kill()
        if self._kafka:
            self._kafka.kill()

    async def _blocking(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # ── start ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _start_broker(self, stop: asyncio.Event) -> bool:
        """True once a broker answers; False when told to stop before."""
        if self._kafka is None:
            self._tell(f"waiting for the broker at {self._bootstrap}")
            return await await_broker(self._bootstrap, stop)
        self._tell("starting Kafka")
        starting = asyncio.ensure_future(self._blocking(self._kafka.start))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            self._kafka.kill()
            with suppress(KafkaUnavailable):
                await starting
                await self._blocking(self._kafka.stop)
            return False
        starting.result()
        self._tell(f"Kafka answers on {self._bootstrap} after {self._elapsed_s():.1f} s")
        self._keep_broker(self._kafka)
        return True

    def _keep_broker(self, kafka: EmbeddedKafka) -> None:
        """`kafka` runs already; from its first end on it is started anew, on the same port with the same data."""
        ended = False

        async def start() -> Child:
            nonlocal ended
            if ended:
                await self._blocking(kafka.stop)  # lets go of what the one that ended held
                await self._blocking(kafka.start)
            ended = True
            return kafka

        self._keep("kafka", start, lambda status: status if status == 0 else str(kafka.why_it_ended()))

    async def _start_roles(self) -> None:
        await ensure_topics(self._bootstrap, self._topics, self._partitions)
        for role in self._roles:
            if role.wave == 1:
                self._start_role(role)
        watching = asyncio.create_task(self._watch_page())
        try:
            await asyncio.wait({watching}, timeout=_SECOND_WAVE_S)
            for role in self._roles:
                if role.wave == 2:
                    self._start_role(role)
            await watching
        finally:
            watching.cancel()

    async def _watch_page(self) -> None:
        """Tell when the page answers, and when the first twins live."""
        await await_page(self._page)
        self._tell(f"the page is on {self._page} (after {self._elapsed_s():.1f} s)")
        count = await await_twins(self._page)
        self._tell(f"{count} {'twin lives' if count == 1 else 'twins live'} (after {self._elapsed_s():.1f} s)")

    def _start_role(self, role: RolePlan) -> None:
        output = RoleOutput(role.name, self._home, self._show)
        self._outputs.append(output)

        async def start() -> Child:
            command = [sys.executable, "-m", "deploy.cli", *role.words]
            write = await output.pipe()
            try:
                return await self._blocking(
                    lambda: Guarded(
                        command, grace_s=_ROLE_GRACE_S, environment=self._environment, output=write, keep_open=[self._held]
                    )
                )
            finally:
                os.close(write)

        self._keep(role.name, start, lambda status: status)

    def _keep(self, name: str, start: Callable[[], Awaitable[Child]], why: Callable[[int], int | str]) -> None:
        supervised = Supervised(name, start, self._board, self._blocking, why=why)
        self._supervised[name] = supervised
        self._kept.append(asyncio.create_task(supervised.keep(), name=name))

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    # ── stop ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stop_all(self) -> None:
        """In order; processes of the same place in it together."""
        known = [role for role in self._roles if role.name in self._supervised]
        for _, together in groupby(sorted(known, key=lambda role: role.stop_order), key=lambda role: role.stop_order):
            await asyncio.gather(*(self._supervised[role.name].stop(_ROLE_GRACE_S) for role in together))
        if "kafka" in self._supervised:
            await self._supervised["kafka"].stop(_KAFKA_GRACE_S)
        if self._kafka:
            self._kafka.kill()  # where it was just being started again
        await asyncio.gather(*self._kept)
        await asyncio.gather(*(output.close() for output in self._outputs))
        self._threads.shutdown()
        log.info("stopped")

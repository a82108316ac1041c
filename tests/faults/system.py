"""A whole system to be disturbed: its own broker, processors, alerting, the gateway with historian and store, perhaps a trainer.

In:   a folder, and the plant of `tests.streams.plant` with versions to serve.
Out:  topics filled by real processes; each role can be reached to be hurt, and is started again when it falls, as
      `livetwin up` would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiokafka import AIOKafkaProducer

from deploy.kafka import EmbeddedKafka
from deploy.ports import why_taken
from models import version as version_file
from models.served import ServedModel
from streams import clients
from streams.model_records import ModelVersion, models_key
from tests.faults import processes
from tests.faults.processes import Role
from tests.faults.tail import until_committed
from tests.streams.plant import TYPE, Plant

PARTITIONS = 3
SETTLED_WITHIN_S = 180.0


@dataclass
class System:
    """All of it. `down` names roles that an injection holds down for now."""

    kafka: EmbeddedKafka
    plant: Plant
    folder: Path
    port: int
    versions: list[ModelVersion]
    roles: dict[str, Role]
    producer: AIOKafkaProducer
    down: set[str] = field(default_factory=set)
    fell: Counter[str] = field(default_factory=Counter)  # role → how often it ended without being told

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def keep_up(self) -> None:
        """Start roles that ended by themselves, until cancelled."""
        while True:
            for role in self.roles.values():
                if role.name not in self.down and not role.running():
                    self.fell[role.name] += 1
                    role.start()
            await asyncio.sleep(0.5)

    async def kill(self, name: str, *, stay_down_s: float = 0.0) -> None:
        """kill -9, and start again."""
        role = self.roles[name]
        self.down.add(name)
        try:
            if role.running():
                await role.end(signal.SIGKILL)
            await asyncio.sleep(stay_down_s)
            role.start()
        finally:
            self.down.discard(name)

    async def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP, later SIGCONT."""
        role = self.roles[name]
        role.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            role.send(signal.SIGCONT)

    @asynccontextmanager
    async def second(self, role: Role, *, how: Callable[[], signal.Signals] = lambda: signal.SIGTERM) -> AsyncIterator[Role]:
        """Another process of a role, which ends by `how` at the end."""
        role.start()
        try:
            yield role
        finally:
            if role.running():
                await role.end(how())

    async def settled(self) -> None:
        """Wait until every role has done, and committed, all that is in the log; from the front to the back."""
        prefix, topics = self.plant.topics.prefix, self.plant.topics
        for group, sources in (
            ("processor", [topics.telemetry]),
            ("alerting", [topics.signals, topics.alert_commands]),
            ("alerting", [topics.alerting_inbox]),
            ("historian", [topics.history, topics.alerts, topics.models]),
        ):
            try:
                await until_committed(self.plant.bootstrap, prefix + group, sources, within_s=SETTLED_WITHIN_S)
            except AssertionError as error:
                logs = "\n".join(f"--- {role.name}\n{role.said()}" for role in self.roles.values())
                raise AssertionError(f"{error}\n{logs}") from error

    async def get(self, path: str, *, within_s: float = 60.0) -> httpx.Response:
        """From the gateway, once it answers with 200."""
        deadline = time.monotonic() + within_s
        async with httpx.AsyncClient(base_url=self.url, timeout=10) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(path)
                    if answer.status_code == 200:
                        return answer
                assert time.monotonic() < deadline, f"{path} did not answer within {within_s:g} s\n{self.roles['gateway'].said()}"
                await asyncio.sleep(0.2)


def lasting_port() -> int:
    """A free port that nobody is given while its server is away: outside of what systems hand out by themselves."""
    tries = random.SystemRandom()
    return next(port for port in iter(lambda: tries.randrange(20_000, 32_000), None) if why_taken(port) is None)


@asynccontextmanager
async def running_system(
    folder: Path, models: list[ServedModel], *, trainer_every_s: float | None = None, gateway: bool = True
) -> AsyncIterator[System]:
    """Everything up, the first of `models` promoted, no telemetry yet. Everything is ended afterwards."""
    kafka = EmbeddedKafka(folder / "broker", port=lasting_port(), start_timeout_s=300)
    await asyncio.to_thread(kafka.start)
    keeping: asyncio.Task[None] | None = None
    roles: dict[str, Role] = {}
    try:
        plant = await Plant.built(kafka.bootstrap, "faults.", PARTITIONS)
        versions = [_saved(model, folder / "versions") for model in models]
        await plant.send(plant.topics.models, [(models_key(one), one.to_bytes()) for one in versions])
        await plant.promote(models[0], folder / "versions")
        where = (kafka.bootstrap, plant.topics.prefix, folder)
        port = lasting_port()
        made = [processes.processor(*where), processes.alerting(*where)]
        if gateway:
            made.append(processes.gateway(*where, port))
        if trainer_every_s is not None:
            made.append(processes.trainer(*where, every_s=trainer_every_s))
        roles = {role.name: role for role in made}
        for role in made:
            role.start()
        producer = clients.producer(kafka.bootstrap, client_id="feeder", request_timeout_ms=120_000)
        await producer.start()
        try:
            system = System(kafka, plant, folder, port, versions, roles, producer)
            keeping = asyncio.create_task(system.keep_up())
            yield system
        finally:
            if keeping is not None:
                keeping.cancel()
            for role in roles.values():
                if role.running():
                    role.send(signal.SIGCONT)
                    await role.end(signal.SIGKILL)
            await producer.stop()
    finally:
        if kafka.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(kafka.pid, signal.SIGCONT)
        await asyncio.to_thread(kafka.stop)


def _saved(model: ServedModel, folder: Path) -> ModelVersion:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model.version}.safetensors"
    sha256 = version_file.save(model, path)
    return ModelVersion(
        name=TYPE.slug,
        type=TYPE.id,
        version=model.version,
        uri=path.as_uri(),
        sha256=sha256,
        contract=TYPE.contract,
        decision="retired",
        why="made for this run",
        time_ns=time.time_ns(),
    )

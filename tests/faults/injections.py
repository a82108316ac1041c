"""What is done to a running system, one function an injection; each leaves it whole again, but for what it broke on purpose.

In:   the system, a seeded `random.Random`.
Out:  one word of what happened where that varies, for the report.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiokafka.errors import KafkaError

from models import version as version_file
from models.weights import path_of
from streams.model_records import ModelAlias, ModelCommand, ModelVersion, models_key
from streams.models_topic import read_models
from tests.faults import processes
from tests.faults.processes import Role
from tests.faults.system import System
from tests.streams.plant import TYPE

Act = Callable[[System, random.Random], Awaitable[str]]
TERM_OR_KILL = (signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Injection:
    """`target`: what it works on; two of one target never happen at once."""

    name: str
    target: str
    act: Act
    weight: int = 2


def _second(system: System, make: Callable[..., Role], name: str) -> Role:
    return make(system.plant.bootstrap, system.plant.topics.prefix, system.folder, name)


# ── processor ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def kill_processor(system: System, pick: random.Random) -> str:
    await asyncio.sleep(pick.uniform(0, 2))
    system.roles["processor"].environment["BATCH"] = str(pick.choice([7, 50, 200, 2000]))
    await system.kill("processor", stay_down_s=pick.choice([0, 0, 1, 4]))
    return ""


async def kill_processor_at_a_commit(system: System, pick: random.Random) -> str:
    """Outputs acknowledged, offsets not committed: where a crash is at its worst."""
    role = system.roles["processor"]
    role.environment["BATCH"] = str(pick.choice([20, 97, 500]))
    system.down.add("processor")
    try:
        if role.running():
            await role.end(signal.SIGTERM)
        process = role.start(DIE_AT_COMMIT="1")
        with suppress(subprocess.TimeoutExpired):  # nothing came that was to be committed
            await asyncio.to_thread(process.wait, 60)
        hit = process.poll() == -signal.SIGKILL
        if process.poll() is None:
            await role.end(signal.SIGKILL)
        role.start()
        return "at the commit" if hit else "elsewhere"
    finally:
        system.down.discard("processor")


async def processor_joins_and_leaves(system: System, pick: random.Random) -> str:
    await asyncio.sleep(pick.uniform(0, 1))
    how = pick.choice(TERM_OR_KILL)
    async with system.second(_second(system, processes.processor, "processor-2"), how=lambda: how):
        await asyncio.sleep(pick.uniform(2, 9))
    return how.name


async def zombie_processor(system: System, pick: random.Random) -> str:
    """Paused for longer than the group waits, while another takes over; then it wakes up and must change nothing."""
    how = pick.choice(TERM_OR_KILL)
    wakes_first = pick.random() < 0.5
    async with system.second(_second(system, processes.processor, "processor-2"), how=lambda: how):
        await asyncio.sleep(pick.uniform(0, 4))
        system.down.add("processor")
        try:
            await system.pause("processor", pick.uniform(4.5, 9))
            if wakes_first:
                await asyncio.sleep(pick.uniform(0, 2))
        finally:
            system.down.discard("processor")
    return f"{how.name}, {'both for a while' if wakes_first else 'one after the other'}"


# ── alerting ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def kill_alerting(system: System, pick: random.Random) -> str:
    await asyncio.sleep(pick.uniform(0, 4))
    await system.kill("alerting", stay_down_s=pick.choice([0, 0, 2]))
    return ""


async def zombie_alerting(system: System, pick: random.Random) -> str:
    how = pick.choice(TERM_OR_KILL)
    async with system.second(_second(system, processes.alerting, "alerting-2"), how=lambda: how):
        await asyncio.sleep(pick.uniform(1, 5))
        await system.pause("alerting", pick.uniform(11, 14))
        await asyncio.sleep(pick.uniform(0, 2))
    return how.name


# ── gateway: historian and store ────────────────────────────────────────────────────────────────────────────────────


async def kill_gateway(system: System, pick: random.Random) -> str:
    await asyncio.sleep(pick.uniform(0, 3))
    await system.kill("gateway", stay_down_s=pick.choice([0, 0, 3]))
    return ""


async def store_away(system: System, pick: random.Random) -> str:
    """The process that owns the store is away for the rest of the round."""
    await asyncio.sleep(pick.uniform(0, 1))
    seconds = pick.uniform(8, 20)
    system.down.add("gateway")
    try:
        how = pick.choice([signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL])
        if how == signal.SIGSTOP:
            await system.pause("gateway", seconds)
        else:
            await system.roles["gateway"].end(how)
            await asyncio.sleep(seconds)
            system.roles["gateway"].start()
        return f"{how.name}, {seconds:.0f} s"
    finally:
        system.down.discard("gateway")


async def store_slow(system: System, pick: random.Random) -> str:
    """It runs for a fifth of the time."""
    role = system.roles["gateway"]
    for _ in range(pick.randint(4, 10)):
        if role.running():
            role.send(signal.SIGSTOP)
            await asyncio.sleep(0.8)
            role.send(signal.SIGCONT)
        await asyncio.sleep(0.2)
    return ""


async def disk_full(system: System, pick: random.Random) -> str:
    """No file of the store's process grows past what its write-ahead log has now: writes fail as on a full disk."""
    process = system.roles["gateway"].process
    if sys.platform != "linux" or process is None or process.poll() is not None:
        return "not tried"
    log = next(system.folder.joinpath("gateway").rglob("*.wal"), None)
    _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    limit = log.stat().st_size if log is not None else 0
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, most))
    failed = False
    try:
        for _ in range(pick.randint(10, 30)):
            await asyncio.sleep(0.3)
            historian = (await system.get("/v1/system")).json()["historian"] or {}
            failed = failed or str(historian.get("waiting_for")).startswith("store")
    finally:
        if process.poll() is None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
    return "writes failed" if failed else "nothing was written meanwhile"


# ── broker ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def broker_stands_still(system: System, pick: random.Random) -> str:
    pid = system.kafka.pid
    assert pid is not None
    seconds = pick.choice([pick.uniform(0.5, 2), pick.uniform(4, 12)])
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    return f"{seconds:.0f} s"


async def broker_restarts(system: System, pick: random.Random) -> str:
    """Stopped in order or killed; back a moment later, on the same port with the same data."""
    await asyncio.sleep(pick.uniform(0, 2))
    killed = pick.random() < 0.5
    if killed:
        system.kafka.kill()
        await asyncio.to_thread(system.kafka.wait, 30)
    await asyncio.to_thread(system.kafka.stop)
    await asyncio.sleep(pick.choice([0, 2, 6]))
    await asyncio.to_thread(system.kafka.start)
    return "killed" if killed else "stopped"


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def swap(system: System, pick: random.Random) -> str:
    """Other versions are promoted, some in quick succession."""
    names = []
    for _ in range(pick.choice([1, 1, 3])):
        await asyncio.sleep(pick.uniform(0, 2))
        version = pick.choice(system.versions)
        names.append(version.version)
        await _promote(system, version, pick)
    return ", ".join(names)


async def bad_version(system: System, pick: random.Random) -> str:
    """A version that can't serve is named champion; it must be refused, and the old one goes on."""
    good = pick.choice(system.versions)
    kind = pick.choice(["truncated", "hash", "missing", "non-finite"])
    source = path_of(good.uri)
    bad = source.with_name(f"{kind}-{pick.randrange(10**6)}.safetensors")
    sha256 = good.sha256
    match kind:
        case "truncated":
            bad.write_bytes(source.read_bytes()[: pick.randint(0, source.stat().st_size - 1)])
        case "hash":
            bad.write_bytes(source.read_bytes())
            sha256 = "0" * 64
        case "non-finite":
            sha256 = _with_nan(source, bad)
    name = f"9{pick.randrange(10**3):03d}-{kind}"
    await _send_alias(system, good.model_copy(update={"version": name, "uri": bad.as_uri(), "sha256": sha256}))
    deadline = time.monotonic() + 120
    while True:
        with suppress(TimeoutError, KafkaError, OSError):  # the broker may be down just then
            async with asyncio.timeout(15):
                view = await read_models(system.plant.bootstrap, system.plant.topics)
            if name in view.models[TYPE.slug].refusals:
                break
        assert time.monotonic() < deadline, f"{name} was not refused within 120 s"
        await asyncio.sleep(0.5)
    await _send_alias(system, good)
    return kind


def _with_nan(source: Path, into: Path) -> str:
    model = version_file.load(source)
    next(model.detectors.network.parameters())[0, 0, 0] = float("nan")
    return version_file.save(model, into)


async def _promote(system: System, version: ModelVersion, pick: random.Random) -> None:
    """By hand where a trainer carries it out, else by the alias itself."""
    if "trainer" not in system.roles:
        await _send_alias(system, version)
        return
    command = ModelCommand(
        command_id=f"c{pick.randrange(10**9)}", name=TYPE.slug, action="promote", version=version.version, time_ns=time.time_ns()
    )
    await system.producer.send_and_wait(system.plant.topics.models, command.to_bytes(), key=models_key(command))


async def _send_alias(system: System, version: ModelVersion) -> None:
    alias = ModelAlias(
        name=TYPE.slug,
        type=TYPE.id,
        champion=version.version,
        champion_sha256=version.sha256,
        champion_uri=version.uri,
        since_ns=time.time_ns(),
    )
    await system.producer.send_and_wait(system.plant.topics.models, alias.to_bytes(), key=models_key(alias))


async def kill_trainer(system: System, pick: random.Random) -> str:
    await asyncio.sleep(pick.uniform(0, 8))
    await system.kill("trainer", stay_down_s=pick.choice([0, 2]))
    return ""


ALL = (
    Injection("kill-processor", "processor", kill_processor, 3),
    Injection("kill-processor-at-commit", "processor", kill_processor_at_a_commit, 3),
    Injection("processor-joins-and-leaves", "processor", processor_joins_and_leaves),
    Injection("zombie-processor", "processor", zombie_processor, 3),
    Injection("kill-alerting", "alerting", kill_alerting),
    Injection("zombie-alerting", "alerting", zombie_alerting, 1),
    Injection("kill-gateway", "gateway", kill_gateway),
    Injection("store-away", "gateway", store_away, 1),
    Injection("store-slow", "gateway", store_slow),
    Injection("disk-full", "gateway", disk_full),
    Injection("broker-stands-still", "broker", broker_stands_still),
    Injection("broker-restarts", "broker", broker_restarts),
    Injection("swap", "models", swap, 3),
    Injection("bad-version", "models", bad_version, 1),
    Injection("kill-trainer", "trainer", kill_trainer),
)

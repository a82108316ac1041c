"""A processor that goes on where another machine's stood, with an empty data folder and other settings, to the bit."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.served import ServedModel
from models.structure import Structure
from tests.faults.tail import behind
from tests.streams.plant import TYPE, Outputs, Plant, readings, trained, variant
from tests.streams.processor_role import Machine, checkpoints, done, run, state_of
from tests.streams.test_period_replay import serves_everywhere, until
from tests.streams.test_processor_exactness import same

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STEPS, FIRST, OPEN = 600, 200, 330  # the second version, of another structure, serves from FIRST on; at OPEN p4's alarm is on


@pytest.fixture(scope="module")
def versions() -> list[ServedModel]:
    first = trained()
    return [first, variant(first, 2, Structure(8, 1))]


async def promote(plant: Plant, model: ServedModel, home: Path) -> None:
    """As a trainer with this data folder does."""
    folder = home / "models" / TYPE.slug
    folder.mkdir(parents=True, exist_ok=True)
    await plant.promote(model, folder)


@asynccontextmanager
async def halfway(plant: Plant, machine: Machine, versions: list[ServedModel]) -> AsyncIterator[None]:
    """A machine that has served two versions and has an alarm on."""
    await promote(plant, versions[0], machine.home)
    machine.role.start()
    try:
        await plant.feed(readings(STEPS)[:, :FIRST])
        await done(plant)
        await promote(plant, versions[1], machine.home)
        await until(lambda: serves_everywhere(plant, versions[1].version), "the second version serves")
        await plant.feed(readings(STEPS)[:, FIRST:OPEN], first=FIRST)
        await done(plant)
        yield
    finally:
        if machine.role.running():
            assert await machine.role.end() == 0, machine.role.said()


_CALM: dict[str, tuple[Outputs, dict[bytes, bytes]]] = {}


async def undisturbed(kafka: str, prefix: str, versions: list[ServedModel], folder: Path) -> tuple[Outputs, dict[bytes, bytes]]:
    """Outputs and checkpoints of a run that nobody disturbed; one for both ways to go."""
    if versions[0].version not in _CALM:
        plant = await Plant.built(kafka, f"{prefix}calm.")
        async with halfway(plant, Machine(plant, folder, "calm"), versions):
            await plant.feed(readings(STEPS)[:, OPEN:], first=OPEN)
            await done(plant)
        _CALM[versions[0].version] = await plant.outputs(), await checkpoints(plant)
    return _CALM[versions[0].version]


@pytest.fixture
def http() -> Iterator[Callable[[Path], str]]:
    """Serves a folder; its address."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
        servers.append((server, threading.Thread(target=server.serve_forever)))
        servers[-1][1].start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_another_machine_goes_on_to_the_bit(
    kafka: str, topic_prefix: str, versions: list[ServedModel], tmp_path: Path, http: Callable[[Path], str], how: signal.Signals
) -> None:
    expected, state = await undisturbed(kafka, topic_prefix, versions, tmp_path)
    assert {key[0] for key in expected.signals} >= {"p2", "p4"}  # type: ignore[index]

    plant = await Plant.built(kafka, f"{topic_prefix}moving.")
    # killed, it has saved nothing: all is folded again, by both versions, and the outputs are told by what is committed
    first = Machine(plant, tmp_path, "a", BATCH_MAX_RECORDS="23", CHECKPOINT_EVERY_S="0.5" if how == signal.SIGTERM else "900")
    async with halfway(plant, first, versions):
        feeding = asyncio.create_task(plant.feed(readings(STEPS)[:, OPEN:], first=OPEN))
        while await behind(kafka, f"{plant.topics.prefix}processor", [plant.topics.telemetry]) < 200:
            assert first.role.running(), first.role.said()
            assert not feeding.done(), "all was worked off as it came: the test proves nothing"
        await first.role.end(how)
        await feeding
    left = await behind(kafka, f"{plant.topics.prefix}processor", [plant.topics.telemetry])
    assert left > 0, "the first machine had done all: the test proves nothing"
    gone = first.home.rename(tmp_path / "not mounted on the other machine")

    address = http(gone / "models") if how == signal.SIGKILL else str(gone / "models")
    second = Machine(plant, tmp_path, "b", BATCH_MAX_RECORDS="311", BATCH_WAIT_MS="9", WEIGHTS=address)
    await run(second, plant)
    found = await plant.outputs()
    same(found, expected)
    # windows, open steps, what cleaning carries over, risk and alarm counters, conditions and their onsets
    last = await checkpoints(plant)
    assert last.keys() == state.keys()
    for key, value in state.items():
        if key.startswith(b"twin/"):
            assert state_of(last[key]) == state_of(value)
            assert last[key] == value


async def test_a_machine_without_the_weights_takes_nothing_over_and_says_the_way_out(
    kafka: str, topic_prefix: str, versions: list[ServedModel], tmp_path: Path
) -> None:
    plant = await Plant.built(kafka, topic_prefix)
    first = Machine(plant, tmp_path, "a")
    async with halfway(plant, first, versions):
        pass
    first.home.rename(tmp_path / "gone")
    await plant.feed(readings(STEPS)[:, OPEN:], first=OPEN)
    left = await behind(kafka, f"{plant.topics.prefix}processor", [plant.topics.telemetry])

    second = Machine(plant, tmp_path, "b")
    second.role.start()
    assert await asyncio.to_thread(second.role.process.wait, 120) == 1  # type: ignore[union-attr]
    said = second.role.said().splitlines()[-1]
    for part in (versions[1].version, "LIVETWIN_WEIGHTS", "LIVETWIN_MISSING_VERSIONS=skip", str(second.home / "models")):
        assert part in said, said
    assert await behind(kafka, f"{plant.topics.prefix}processor", [plant.topics.telemetry]) == left
    doctor = second.command("doctor")
    doctor.start()
    assert await asyncio.to_thread(doctor.process.wait, 120) == 1  # type: ignore[union-attr]
    told = [line for line in doctor.said().splitlines() if line.startswith("fault  weights")]
    assert len(told) == 1, doctor.said()
    assert versions[1].version in told[0]
    assert "LIVETWIN_WEIGHTS" in told[0]

    second = Machine(plant, tmp_path, "b", MISSING_VERSIONS="skip")
    await run(second, plant)
    found = await plant.outputs()
    assert len(found.history) == 6 * (STEPS - 3)
    assert {row[-1] for row in found.history.values()} == {versions[0].version, versions[1].version, ""}  # type: ignore[index]

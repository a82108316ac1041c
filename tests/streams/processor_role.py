"""`livetwin processor` as a user runs it on one of several machines: a data folder, settings and a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from streams import clients
from streams.checkpoint import OWNER_PREFIX
from streams.checkpoint_bytes import unpack
from tests.faults.processes import Role
from tests.faults.tail import until_committed
from tests.streams.plant import Plant


class Machine:
    """A processor with a LIVETWIN_HOME of its own."""

    def __init__(self, plant: Plant, folder: Path, name: str, **settings: str) -> None:
        self.home = folder / name
        environment = {
            "LIVETWIN_KAFKA": plant.bootstrap,
            "LIVETWIN_TOPIC_PREFIX": plant.topics.prefix,
            "LIVETWIN_HOME": str(self.home),
            **{f"LIVETWIN_{setting}": value for setting, value in settings.items()},
        }
        self.role = Role(name, [sys.executable, "-m", "deploy.cli", "processor"], folder / "logs", environment)

    def told(self, *words: str) -> int:
        """In how many lines of its log all these words stand."""
        if not self.role.log.exists():
            return 0
        return sum(all(word in line for word in words) for line in self.role.log.read_text(errors="replace").splitlines())

    async def owns(self) -> None:
        """Wait until it says which partitions it owns; before, a signal may end it unheard."""
        async with asyncio.timeout(300):
            while not self.told("partitions", "assigned", "epoch"):
                assert self.role.running(), self.role.said()
                await asyncio.sleep(0.1)

    def command(self, *arguments: str) -> Role:
        """Another command of `livetwin` on this machine."""
        return Role(
            f"{self.role.name}-{arguments[0]}",
            [sys.executable, "-m", "deploy.cli", *arguments],
            self.role.folder,
            self.role.environment,
        )


async def done(plant: Plant) -> None:
    await until_committed(plant.bootstrap, f"{plant.topics.prefix}processor", [plant.topics.telemetry], within_s=300)


async def run(machine: Machine, plant: Plant) -> None:
    """Let a machine work off what there is, and end it in order."""
    machine.role.start()
    try:
        await machine.owns()
        await done(plant)
    finally:
        assert await machine.role.end() == 0, machine.role.said()


async def checkpoints(plant: Plant) -> dict[bytes, bytes]:
    """The newest checkpoint of each twin, and the marks. Not who took over: each run has other names."""
    found: dict[bytes, bytes] = {}
    for record in await clients.read_to_end(plant.bootstrap, plant.topics.checkpoint):
        if record.value is None or record.key.startswith(OWNER_PREFIX):
            found.pop(record.key, None)
        else:
            found[record.key] = record.value
    return found


def state_of(value: bytes) -> dict[str, bytes]:
    """Everything that a checkpoint says of a twin, by name."""
    header, arrays, _ = unpack(value)
    return {"header": repr(sorted(header.items())).encode()} | {name: array.tobytes() for name, array in arrays.items()}

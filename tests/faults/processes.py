"""The roles of a system under fault, each a process of its own: started, killed, paused, started again.

In:   a broker, a prefix of topics, a folder.
Out:  `Role.process`; what it printed is in `<folder>/<name>.log`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.streams.alerting_run import ROLE as ALERTING

ROOT = Path(__file__).parents[2]

TRAINER = """
import asyncio, logging, pathlib, signal, sys
from streams.topics import Topics
from streams.trainer import run_trainer
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
async def main():
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_trainer(
        bootstrap=sys.argv[1], topics=Topics(sys.argv[2]), home=pathlib.Path(sys.argv[3]), train_every_s=float(sys.argv[4]),
        train_min_steps=256, train_max_steps=1500, seed=7, threads=1, alarms_per_twin_day=50, stop=stop,
    )
if __name__ == "__main__":
    asyncio.run(main())
"""


@dataclass
class Role:
    """One role. `environment` is added to ours at the next start."""

    name: str
    command: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, **once: str) -> subprocess.Popen[bytes]:
        """Start it; `once` is added to the environment of this start alone."""
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        # without pytest's own variables, by which NiceGUI would think that it is under test
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "LIVETWIN_"))}
        environment = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **self.environment, **once}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.starts += 1
        return self.process

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, how: signal.Signals = signal.SIGTERM, *, within_s: float = 60.0) -> int:
        """Signal it and wait; its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return await asyncio.to_thread(self.process.wait, within_s)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


def processor(bootstrap: str, prefix: str, folder: Path, name: str = "processor") -> Role:
    command = [sys.executable, "-m", "tests.streams.processor_process", bootstrap, prefix, f"{prefix}processor"]
    return Role(name, command, folder, {"SESSION_MS": "3000"})


def alerting(bootstrap: str, prefix: str, folder: Path, name: str = "alerting") -> Role:
    return Role(name, [sys.executable, "-c", ALERTING, bootstrap, prefix, str(folder / name)], folder)


def gateway(bootstrap: str, prefix: str, folder: Path, port: int) -> Role:
    """The gateway with the historian and the DuckDB store in it."""
    command = [sys.executable, "-m", "tests.streams.gateway.plant", bootstrap, prefix, str(port), str(folder / "gateway")]
    return Role("gateway", command, folder)


def trainer(bootstrap: str, prefix: str, folder: Path, *, every_s: float) -> Role:
    script = folder / "trainer.py"  # a file: its training process is spawned, which imports the main module again
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(TRAINER)
    return Role("trainer", [sys.executable, str(script), bootstrap, prefix, str(folder / "trainer"), str(every_s)], folder)

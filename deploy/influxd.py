"""A real `influxd` as a child process, for tests and benchmarks: a free port of 127.0.0.1, its data in a folder.

In:   the binary that `deploy/influxd_build.sh` has built.
Out:  a server that can be killed and started again on the same port with the same data.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from deploy.guard import Guarded
from deploy.ports import HOST, free_port, why_taken
from streams.stores.influxdb_server import InfluxDb
from streams.stores.influxdb_setup import onboard
from twin.errors import LivetwinError

TOKEN = "livetwin-test-token"  # of servers that are thrown away
ORG = "livetwin"
INFLUXDB_IMAGE = "influxdb:2.7.12"


_START_S = 120.0
_BUILD = Path(__file__).with_name("influxd_build.sh")


class InfluxDbNotBuilt(LivetwinError):
    """No `influxd` in the user's cache."""


class InfluxDbEnded(LivetwinError):
    """A server that does not come up."""


@dataclass(frozen=True, slots=True)
class InfluxDbAddress:
    """Where a server is, and what one may use it with."""

    url: str
    token: str
    org: str


def built() -> Path:
    """The binary.

    Raises:
        InfluxDbNotBuilt: there is none yet.
    """
    looked = subprocess.run([str(_BUILD), "--cached"], capture_output=True, text=True)
    if looked.returncode != 0:
        raise InfluxDbNotBuilt(f"no influxd: {looked.stderr.strip()}; deploy/{_BUILD.name} builds one, in some four minutes")
    return Path(looked.stdout.strip())


def onboarded(url: str) -> InfluxDbAddress:
    """A new server with a first user, organisation and token, once it answers."""
    until = time.monotonic() + _START_S
    while not answers(url):
        if time.monotonic() > until:
            raise TimeoutError(f"{url}: no InfluxDB answered within {_START_S:.0f} s")
        time.sleep(0.05)
    server = InfluxDb(url, token=TOKEN, org=ORG)
    onboard(server, token=TOKEN, bucket="tests")
    server.close()
    return InfluxDbAddress(url, TOKEN, ORG)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class InfluxDbServer:
    """Starts when it is made, ends with this process at the latest. `url` stays the same over stop and start."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._process: Guarded | None = None
        for _ in range(3):
            self.port = free_port()  # free now; another process may be quicker
            self.url = f"http://{HOST}:{self.port}"
            try:
                self.start()
                return
            except InfluxDbEnded:
                if why_taken(self.port) is None:
                    raise
        raise InfluxDbEnded(f"influxd found three free ports taken, the last {self.port}; it does not run")

    def onboarded(self) -> InfluxDbAddress:
        return onboarded(self.url)

    def start(self) -> None:
        """Raises InfluxDbEnded when it does not answer in time, or ended."""
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [
            str(self._binary),
            f"--bolt-path={self._folder / 'influxd.bolt'}",
            f"--sqlite-path={self._folder / 'influxd.sqlite'}",
            f"--engine-path={self._folder / 'engine'}",
            f"--http-bind-address={HOST}:{self.port}",
            "--reporting-disabled",
            "--log-level=warn",
        ]
        with (self._folder / "influxd.log").open("ab") as log:
            self._process = Guarded(command, output=log.fileno())
        until = time.monotonic() + _START_S
        while not answers(self.url):
            if self._process.exit_code is not None or time.monotonic() > until:
                self.stop()
                said = (self._folder / "influxd.log").read_text()[-2000:]
                raise InfluxDbEnded(f"influxd did not answer on {self.url} within {_START_S:.0f} s; it said: {said}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(20)
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Such as SIGSTOP, after which it takes connections and answers none."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

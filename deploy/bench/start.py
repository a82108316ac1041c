"""Start: from `livetwin up` to the first live twin, on an empty home and again on the one it leaves.

A twin lives when /v1/twins shows it. Dependencies are installed and Kafka's jars cached before, as on every start but the first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from deploy.bench.figures import Figure
from deploy.ports import HOST, free_port

GIVEN_S = 180.0
STOPPING_S = 60.0


class NoTwin(RuntimeError):
    """No twin lived in the time given."""


def measure_start(home: Path) -> list[Figure]:
    first = Figure("livetwin up to first live twin, empty home", round(_once(home), 1), "s")
    return [first, Figure.beside("livetwin up to first live twin, again", round(_once(home), 1), "s", first.value)]


def _once(home: Path) -> float:
    port = free_port()
    settings = {"LIVETWIN_HOME": str(home), "LIVETWIN_GATEWAY_PORT": str(port), "LIVETWIN_KAFKA_PORT": str(free_port())}
    began = time.perf_counter()
    with (home.parent / "up.log").open("ab") as log:
        up = subprocess.Popen([sys.executable, "-m", "deploy.cli", "up"], env={**os.environ, **settings}, stdout=log, stderr=log)
        try:
            while not _twins(port):
                if up.poll() is not None or time.perf_counter() - began > GIVEN_S:
                    raise NoTwin(
                        f"no twin lived, expected one within {GIVEN_S:.0f} s; the end of the log:\n{_tail(Path(log.name))}"
                    )
                time.sleep(0.1)
            return time.perf_counter() - began
        finally:
            up.send_signal(signal.SIGTERM)
            try:
                up.wait(STOPPING_S)
            except subprocess.TimeoutExpired:
                up.kill()
                up.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _twins(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/v1/twins?limit=1", timeout=2) as answer:
            return len(json.load(answer)["twins"])
    except (urllib.error.URLError, OSError):
        return 0

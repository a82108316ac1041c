"""Start: from `livetwin up` to the first live twin, on an empty home and again on the one it leaves.

A twin lives when /v1/twins shows it with a step newer than all that was shown before this start. Dependencies are installed and
Kafka's jars cached before, as on every start but the first.
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
from datetime import datetime
from pathlib import Path

from deploy.bench.figures import Figure
from deploy.ports import HOST, free_port

GIVEN_S = 180.0
STOPPING_S = 60.0
LIVE_S = 900  # event time that the demo plant makes in two seconds, with room


class NoTwin(RuntimeError):
    """No twin lived in the time given."""


def measure_start(home: Path) -> list[Figure]:
    took, newest = _once(home, newer_than="")
    first = Figure("livetwin up to first live twin, empty home", round(took, 1), "s")
    took, _ = _once(home, newer_than=newest)
    return [first, Figure.beside("livetwin up to first live twin, again", round(took, 1), "s", first.value)]


def _once(home: Path, *, newer_than: str) -> tuple[float, str]:
    """Seconds until a twin showed a step newer than that; the newest step shown."""
    port = free_port()
    settings = {"LIVETWIN_HOME": str(home), "LIVETWIN_GATEWAY_PORT": str(port), "LIVETWIN_KAFKA_PORT": str(free_port())}
    began = time.perf_counter()
    with (home.parent / "up.log").open("ab") as log:
        up = subprocess.Popen([sys.executable, "-m", "deploy.cli", "up"], env={**os.environ, **settings}, stdout=log, stderr=log)
        try:
            while (newest := _newest(port)) <= newer_than:
                if up.poll() is not None or time.perf_counter() - began > GIVEN_S:
                    raise NoTwin(f"no twin lived within {GIVEN_S:.0f} s; the end of the log:\n{_tail(Path(log.name))}")
                time.sleep(0.1)
            return time.perf_counter() - began, _settled(port, newest)
        finally:
            up.send_signal(signal.SIGTERM)
            try:
                up.wait(STOPPING_S)
            except subprocess.TimeoutExpired:
                up.kill()
                up.wait()


def _settled(port: int, newest: str) -> str:
    """The newest step once the backfill is through: several looks a second apart saw at most a step or two of live time."""
    for _ in range(int(GIVEN_S)):
        time.sleep(2)
        found = _newest(port)
        if _seconds(found) - _seconds(newest) <= 2 * LIVE_S:
            return found
        newest = found
    return newest


def _seconds(rfc3339: str) -> float:
    return datetime.fromisoformat(rfc3339).timestamp()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _newest(port: int) -> str:
    """The newest step of any twin; "" when none is shown."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/v1/twins?limit=1000", timeout=5) as answer:
            return max((str(twin["time"]) for twin in json.load(answer)["twins"] if twin["time"]), default="")
    except (urllib.error.URLError, OSError):
        return ""

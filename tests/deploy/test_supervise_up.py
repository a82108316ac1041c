"""`livetwin up` as a whole: every role on a real broker, one killed, a second start refused, all stopped in order."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.ports import free_port

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif("LIVETWIN_TEST_KAFKA" in os.environ, reason="another broker was asked for"),
]
_ROLES = {"kafka", "gateway", "processor", "feed", "alerting", "trainer"}


class _Up:
    """One run of `livetwin up --demo host`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.gateway_port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVETWIN_")}
        self.environment = {
            **kept,
            "LIVETWIN_HOME": str(home),
            "LIVETWIN_KAFKA_PORT": str(free_port()),
            "LIVETWIN_GATEWAY_PORT": str(self.gateway_port),
        }
        self.output = home.parent / f"{home.name}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=output, stderr=subprocess.STDOUT)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "deploy.cli", "up", "--demo", "host"]

    def roles(self) -> dict[str, dict[str, Any]]:
        try:
            shown: dict[str, dict[str, Any]] = json.loads((self.home / "run" / "roles.json").read_text())
        except OSError:
            return {}
        return shown

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def await_(self, condition: Callable[[], bool], within_s: float = 150.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert self.process.poll() is None, f"it ended by itself:\n{self.said()[-3000:]}"
            assert time.monotonic() < deadline, f"not within {within_s} s:\n{self.said()[-3000:]}"
            time.sleep(0.2)

    def all_running(self) -> bool:
        roles = self.roles()
        return roles.keys() == _ROLES and all(role["state"] == "running" for role in roles.values())

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def _end(started: list[_Up]) -> None:
    for up in started:
        if up.process.poll() is None:
            processes = up.descendants()
            up.process.kill()  # its guards take the rest down
            up.process.wait()
            psutil.wait_procs(processes, 30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], _Up]]:
    started: list[_Up] = []

    def start_one() -> _Up:
        started.append(_Up(tmp_path / "home"))
        return started[-1]

    yield start_one
    _end(started)


def test_a_killed_role_comes_back_a_second_start_is_refused_and_ctrl_c_stops_all_in_order(start: Callable[[], _Up]) -> None:
    up = start()
    up.await_(up.all_running)
    up.await_(lambda: "the page is on http://127.0.0.1:" in up.said())
    up.await_(lambda: re.search(r"twins? lives? \(after|twin lives \(after", up.said()) is not None)

    second = subprocess.run(up.command, env=up.environment, capture_output=True, text=True, timeout=120)
    assert second.returncode == 1
    assert f"{up.home}: livetwin runs there already (process {up.process.pid}); nothing was started" in second.stderr

    victim = up.roles()["processor"]["pid"]
    os.kill(victim, signal.SIGKILL)
    up.await_(lambda: up.roles()["processor"]["restarts"] == 1 and up.roles()["processor"]["state"] == "running", 60)
    assert up.roles()["processor"]["last_exit"] == 128 + signal.SIGKILL
    assert up.roles()["processor"]["pid"] != victim
    assert "role-ended of=processor status=137" in up.said()

    processes = up.descendants()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(90) == 0
    assert [process for process in processes if process.is_running()] == []
    stopped = re.findall(r"role-stopped of=(\w+)", up.said())
    assert stopped == ["feed", "processor", "alerting", "trainer", "gateway", "kafka"]
    assert {role["state"] for role in up.roles().values()} == {"stopped"}
    assert (up.home / "kafka" / "data" / ".kafka_cleanshutdown").exists()
    for role in _ROLES - {"kafka"}:
        assert (up.home / "logs" / f"{role}.log").stat().st_size > 0


def test_a_second_ctrl_c_ends_all_at_once_and_leaves_no_process(start: Callable[[], _Up]) -> None:
    up = start()
    up.await_(up.all_running)
    processes = up.descendants()
    assert any("kafka.Kafka" in process.cmdline() for process in processes)
    os.kill(up.roles()["feed"]["pid"], signal.SIGSTOP)  # the first to be stopped: it holds up all that come after it
    up.process.send_signal(signal.SIGINT)
    up.await_(lambda: "stopping (once more to force)" in up.said())
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 130
    assert "forced to stop" in up.said()
    _, alive = psutil.wait_procs(processes, 30)
    assert alive == []
    # what the stopped feed held up was killed, not stopped in order one after the other
    assert not (up.home / "kafka" / "data" / ".kafka_cleanshutdown").exists()


def test_kill_9_of_the_supervisor_leaves_no_process_and_the_next_start_finds_all_free(start: Callable[[], _Up]) -> None:
    up = start()
    up.await_(up.all_running)
    processes = up.descendants()
    assert any("kafka.Kafka" in process.cmdline() for process in processes)
    up.process.kill()
    up.process.wait()
    again = start()  # at once: it waits for the last of them to let go
    _, alive = psutil.wait_procs(processes, 40)
    assert alive == []
    again.await_(lambda: again.roles().get("gateway", {}).get("state") == "running" and "Kafka answers" in again.said())
    children = again.descendants()
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(90) == 0
    with suppress(psutil.NoSuchProcess):
        assert [process for process in children if process.is_running()] == []

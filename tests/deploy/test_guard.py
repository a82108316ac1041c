"""A guarded process ends when whoever started it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.guard import Guarded

_SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
_STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)",
]


def _soon(condition: Callable[[], bool], within_s: float = 120.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_exit_status_is_the_commands_own() -> None:
    assert Guarded([sys.executable, "-c", "raise SystemExit(3)"]).wait() == 3


def test_a_command_that_a_signal_ended_reads_as_128_and_the_signal() -> None:
    guarded = Guarded(_SLEEP)
    os.kill(guarded.pid, signal.SIGKILL)
    assert guarded.wait(10) == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        assert Guarded(["/no/such/command"], output=said).wait(10) == 127
    assert "/no/such/command can't be run: No such file or directory" in (tmp_path / "said").read_text()


def test_stop_kills_what_ignores_sigterm_after_the_grace(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("wb") as output:
        guarded = Guarded(_STUBBORN, output=output)
    assert _soon(lambda: said.read_text() == "ready\n")
    began = time.monotonic()
    assert guarded.stop(0.3) == 128 + signal.SIGKILL
    assert 0.3 <= time.monotonic() - began < 3


def _parent(folder: Path, command: list[str], grace_s: float) -> tuple[subprocess.Popen[bytes], int]:
    """A process of its own that guards `command`; that process and the command's pid."""
    script = f"""
        import time
        from deploy.guard import Guarded
        with open({str(folder / "output")!r}, "wb") as output:
            guarded = Guarded({command!r}, grace_s={grace_s}, output=output)
        print(guarded.pid, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert parent.stdout
    with parent.stdout:
        return parent, int(parent.stdout.readline())


def test_kill_9_of_the_parent_ends_the_command(tmp_path: Path) -> None:
    parent, pid = _parent(tmp_path, _SLEEP, 60)
    parent.kill()
    parent.wait()
    assert _soon(lambda: _gone(pid))


def test_kill_9_of_the_parent_kills_what_ignores_sigterm_after_the_grace(tmp_path: Path) -> None:
    parent, pid = _parent(tmp_path, _STUBBORN, 0.5)
    assert _soon(lambda: (tmp_path / "output").read_text() == "ready\n")
    parent.kill()
    parent.wait()
    assert _soon(lambda: _gone(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_kill_9_of_the_guard_itself_ends_the_command() -> None:
    guarded = Guarded(_SLEEP)
    guard = psutil.Process(guarded.pid).parent()
    assert guard is not None
    guard.kill()
    assert _soon(lambda: _gone(guarded.pid))
    assert guarded.wait(120) == -signal.SIGKILL


def test_the_command_outlives_the_thread_that_started_it() -> None:
    started: list[Guarded] = []
    thread = threading.Thread(target=lambda: started.append(Guarded(_SLEEP)))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert started[0].exit_code is None
    assert started[0].stop(120) == 128 + signal.SIGTERM


def test_a_descriptor_kept_open_is_held_until_the_command_ended(tmp_path: Path) -> None:
    from deploy.lock import LockFile, LockHeld

    lock = LockFile(tmp_path / "lock")
    guarded = Guarded(_SLEEP, keep_open=[lock.fd])
    lock.release()
    with pytest.raises(LockHeld):
        LockFile(tmp_path / "lock")
    guarded.stop(5)
    LockFile(tmp_path / "lock").release()


@pytest.mark.parametrize("killed", [False, True])
def test_what_the_command_started_and_left_ends_too(tmp_path: Path, killed: bool) -> None:
    script = f"import subprocess, time; print(subprocess.Popen({_SLEEP!r}).pid, flush=True); time.sleep({600 if killed else 0})"
    parent, _ = _parent(tmp_path, [sys.executable, "-c", script], 5)
    assert _soon(lambda: (tmp_path / "output").read_text().endswith("\n"))
    grandchild = int((tmp_path / "output").read_text())
    if killed:
        parent.kill()
    assert _soon(lambda: _gone(grandchild))
    parent.kill()
    parent.wait()

"""A process that ends its child when its parent is gone, however that went, kill -9 included.

In:   `python guard.py --lifeline FD [--pid FD] [--grace S] -- COMMAND…`; FD of `--lifeline` is the read end of a pipe whose only
      write end is with the parent. `command` below builds that line, `Guarded` starts it.
Out:  the child's exit status (128 + N after signal N). The child's pid is written to the FD of `--pid`.

Promises:
- the pipe closes when the parent dies: the child gets SIGTERM, after the grace SIGKILL; works on Linux and macOS;
- on Linux the child also gets SIGKILL should the guard itself be killed (PR_SET_PDEATHSIG fires when the creating *thread*
  ends; the guard has one thread only, and that thread outlives the child);
- what the command itself started and left behind gets SIGTERM when the command ended, SIGKILL when the parent is gone;
- it leads a session of its own, so Ctrl-C in the terminal reaches the parent alone, which then stops things in order.

Standard library only, and run as a file: it starts in 30 ms and weighs 10 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


class Guarded:
    """A command that runs under a guard. `pid` is the command's own; signals go to the command, not to the guard."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        grace_s: float = 10.0,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | int = subprocess.DEVNULL,
        keep_open: Sequence[int] = (),
        folder: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            grace_s: time between SIGTERM and SIGKILL once this process is gone.
            output: where stdout and stderr of the command go.
            keep_open: descriptors the guard holds until the command ended, such as a locked file.
        """
        self._closing = threading.Lock()
        lifeline_read, self._lifeline = os.pipe()
        pid_read, pid_write = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", __file__),
                    *("--lifeline", str(lifeline_read), "--pid", str(pid_write), "--grace", str(grace_s)),
                    *("--", *command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output != subprocess.DEVNULL else subprocess.DEVNULL,
                env=None if environment is None else dict(environment),
                pass_fds=(lifeline_read, pid_write, *keep_open),
                start_new_session=True,
                cwd=folder,
            )
        except BaseException:
            os.close(self._lifeline)
            os.close(pid_read)
            raise
        finally:
            os.close(lifeline_read)
            os.close(pid_write)
        with open(pid_read, "rb") as reader:
            written = reader.read()
        self.pid = int(written) if written else self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        code = self._guard.poll()
        if code is not None:
            self._cut_lifeline()
        return code

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Exit status, or None when it still runs after `timeout_s`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout_s)
        return self.exit_code

    def stop(self, grace_s: float) -> int:
        """SIGTERM, after the grace SIGKILL; the exit status."""
        self.terminate()
        code = self.wait(grace_s)
        if code is None:
            self.kill()
            code = self.wait()
        assert code is not None
        return code

    def _signal(self, number: signal.Signals) -> None:
        # while the guard has not been waited for, it has not waited for the child either: the pid can't be another's
        if self._guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _cut_lifeline(self) -> None:
        with self._closing:  # one thread may wait while another stops it
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1


def _die_with_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command: Sequence[str], *, lifeline: int, pid_fd: int | None, grace_s: float) -> int:
    """Run `command` until it ends or the lifeline closes; its exit status."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda found, _frame: received.append(found))
    try:
        child = subprocess.Popen(command, preexec_fn=_die_with_guard, restore_signals=True)
    except OSError as error:
        sys.stderr.write(f"guard: {command[0]} can't be run: {error.strerror}; nothing was started\n")
        return 127
    if pid_fd is not None:
        os.write(pid_fd, str(child.pid).encode())
        os.close(pid_fd)
    watched = [lifeline, wake_read]
    deadline: float | None = None
    while child.poll() is None:
        if deadline is not None and time.monotonic() >= deadline:
            child.kill()
            deadline = None
        wait_s = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
        readable, _, _ = select.select(watched, [], [], wait_s)
        if wake_read in readable:
            os.read(wake_read, 64)
        if lifeline in readable and not os.read(lifeline, 64):  # closed: the parent is gone
            watched.remove(lifeline)
            child.terminate()
            deadline = time.monotonic() + grace_s
        while received:
            child.send_signal(received.pop())
    orphaned = lifeline not in watched
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgid(0), signal.SIGKILL if orphaned else signal.SIGTERM)  # whoever is left of this session
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command that ends when the process that started it ends.")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--grace", type=float, default=10.0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    return run(arguments.command, lifeline=arguments.lifeline, pid_fd=arguments.pid, grace_s=arguments.grace)


if __name__ == "__main__":
    sys.exit(main())

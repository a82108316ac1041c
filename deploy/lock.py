"""A file that one process at a time holds locked, with the holder's pid in it.

The lock goes with the open file: it ends when the last process that inherited the descriptor ends, kill -9 included.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from twin.errors import LivetwinError


class LockHeld(LivetwinError):
    """Another process holds the file. `pid` is what it wrote of itself, None when it wrote nothing."""

    retriable = True

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is held by {'another process' if pid is None else f'process {pid}'}")
        self.path = path
        self.pid = pid


class LockFile:
    """Held from the moment it is made until `release`, or until every process that has the descriptor ended."""

    def __init__(self, path: Path, *, wait_s: float = 0.0) -> None:
        """Take it.

        Raises:
            LockHeld: somebody else still has it after `wait_s`.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(self.fd, 32, 0).strip()
                    os.close(self.fd)
                    raise LockHeld(path, int(holder) if holder.isdigit() else None) from None
                time.sleep(0.1)
        self.write_pid(os.getpid())

    def write_pid(self, pid: int) -> None:
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{pid}\n".encode(), 0)

    def release(self) -> None:
        """Let go here; a process that inherited the descriptor keeps the lock."""
        with contextlib.suppress(OSError):
            os.close(self.fd)

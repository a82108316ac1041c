"""What a supervised process prints: each line to its own rotating file and to the console.

A role prints finished lines (`deploy.logs`), so they are passed on as they are; 5 MiB a file and two old ones are kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from deploy.logs import FILE_BYTES, OLD_FILES

_LINE_BYTES = 2**20


class RoleOutput:
    """Lines of one role, over all its restarts."""

    def __init__(self, role: str, home: Path, show: Callable[[str], None]) -> None:
        path = home / "logs" / f"{role}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True)
        self._show = show
        self._reading: set[asyncio.Task[None]] = set()

    async def pipe(self) -> int:
        """A descriptor for a process to print into; close it here once the process has it."""
        read, write = os.pipe()
        reader = asyncio.StreamReader(limit=_LINE_BYTES)
        source = os.fdopen(read, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        task = asyncio.create_task(self._pass_on(reader, transport))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        return write

    async def close(self) -> None:
        """Wait, shortly, for the last lines."""
        if self._reading:
            await asyncio.wait(set(self._reading), timeout=2.0)
        for task in set(self._reading):  # a grandchild may still hold the pipe
            task.cancel()
        self._file.close()

    async def _pass_on(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:  # longer than a line may be: what was read so far is dropped by the reader
                    continue
                if not line:
                    return
                text = line.decode(errors="replace").rstrip("\n")
                self._file.emit(logging.makeLogRecord({"msg": text, "levelname": "INFO"}))
                self._show(text)
        finally:
            transport.close()

"""Logs: one line an event, `TIME LEVEL ROLE event name=value …`, to stderr.

Code writes `log.info("swap", extra={"asset": …, "version": …})`; what stands in `extra` is printed behind the event. A
traceback follows on lines of its own. `livetwin up` keeps each role's lines in `<home>/logs/<role>.log`.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# what these say at INFO is of their own workings
_QUIET = (
    "aiokafka",
    "asyncio",
    "faust",
    "mode",
    "alembic",
    "mlflow",
    "uvicorn",
    "httpx",
    "httpcore",
    "nicegui",
    "matplotlib",
)
_REPEAT_S = 30.0
_REPEATS_KNOWN = 1000


class EventFormatter(logging.Formatter):
    """Prints the extras as name=value; a value with spaces, quotes or line ends is printed as a JSON string."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One event.

        >>> record = logging.makeLogRecord({"msg": "swap", "levelname": "INFO", "created": 0, "asset": "p1", "why": "a b"})
        >>> EventFormatter("processor").format(record)
        '1970-01-01T00:00:00.000Z INFO processor swap asset=p1 why="a b"'
        """
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        extras = "".join(f" {name}={_printed(value)}" for name, value in vars(record).items() if name not in _STANDARD)
        line = f"{time} {record.levelname} {self._role} {record.getMessage()}{extras}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _printed(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() or c == '"' for c in text) else text


class RepeatFilter(logging.Filter):
    """Lets a library's message through once in a while: a client without its broker says the same many times a second.

    The next one let through carries `repeats`, how many were not. The project's own events all pass.
    """

    def __init__(self, every_s: float = _REPEAT_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}  # when the last one passed, how many since

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_QUIET):
            return True
        key = (record.name, str(record.msg))
        passed, repeats = self._passed.get(key, (-math.inf, 0))
        if record.created - passed < self._every_s:
            self._passed[key] = (passed, repeats + 1)
            return False
        if len(self._passed) >= _REPEATS_KNOWN:  # a library that formats its messages itself never repeats one
            self._passed.clear()
        self._passed[key] = (record.created, 0)
        if repeats:
            record.repeats = repeats
        return True


FILE_BYTES, OLD_FILES = 5 * 2**20, 2


def set_up_logs(role: str, *, level: str = "INFO", file: Path | None = None) -> None:
    """Send every log line of this process to stderr, and to a rotating file. Call once, before anything is opened."""
    outputs: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        outputs.append(RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8"))
    for output in outputs:
        output.setFormatter(EventFormatter(role))
        output.addFilter(RepeatFilter())
    logging.basicConfig(level=level, handlers=outputs, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    if not sys.warnoptions:
        warnings.simplefilter("default", ResourceWarning)  # something was left open

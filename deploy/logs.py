"""Logs: one line an event, `TIME LEVEL ROLE event name=value …`, to stderr.

Code writes `log.info("swap", extra={"asset": …, "version": …})`; what stands in `extra` is printed behind the event. A
traceback follows on lines of its own. `livetwin up` keeps each role's lines in `<home>/logs/<role>.log`.
"""

from __future__ import annotations

import json
import logging
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


FILE_BYTES, OLD_FILES = 5 * 2**20, 2


def set_up_logs(role: str, *, level: str = "INFO", file: Path | None = None) -> None:
    """Send every log line of this process to stderr, and to a rotating file. Call once, before anything is opened."""
    outputs: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        outputs.append(RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8"))
    for output in outputs:
        output.setFormatter(EventFormatter(role))
    logging.basicConfig(level=level, handlers=outputs, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    if not sys.warnoptions:
        warnings.simplefilter("default", ResourceWarning)  # something was left open

"""What each supervised process is doing, in one JSON file that the gateway shows.

Out:  `<home>/run/roles.json`: {role: {pid, state: running | backoff | stopped, restarts, last_exit, since}}, replaced whole at
      each change. `since` is wall clock, RFC 3339; `last_exit` an exit status (128 + N after signal N) or why it did not start.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class RolesBoard:
    """The file, and what stands in it."""

    def __init__(self, home: Path) -> None:
        self.path = home / "run" / "roles.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._roles: dict[str, dict[str, Any]] = {}

    def running(self, role: str, pid: int | None) -> None:
        known = self._roles.get(role)
        self._put(role, state="running", pid=pid, restarts=0 if known is None else known["restarts"] + 1)

    def backing_off(self, role: str, last_exit: int | str) -> None:
        self._put(role, state="backoff", pid=None, last_exit=last_exit)

    def stopped(self, role: str) -> None:
        self._put(role, state="stopped", pid=None)

    def state(self, role: str) -> str | None:
        return self._roles[role]["state"] if role in self._roles else None

    def _put(self, role: str, **changed: Any) -> None:
        before = self._roles.get(role, {"pid": None, "state": "stopped", "restarts": -1, "last_exit": None})
        since = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._roles[role] = {**before, **changed, "since": since}
        aside = self.path.with_suffix(".tmp")
        try:
            aside.write_text(json.dumps(self._roles, indent=1))
            os.replace(aside, self.path)
        except OSError as error:  # a full disk: what is shown grows old, the processes are kept all the same
            log.error("roles-not-shown", extra={"file": self.path, "why": error.strerror})

"""Where the demo plant stands, kept in a file so that a restart goes on with the same event time, tanks and faults.

In:   `WaterPlant.state()`.
Out:  one JSON file, replaced atomically.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from deploy.feeds.water_plant import STATE_VERSION
from twin.errors import LivetwinError

_NEEDED = {"version", "step", "step_s", "levels_m", "river_on", "demand", "random", "faults", "backfill_until_step"}


class FeedStateRefused(LivetwinError):
    """A state file that can't be used."""


def load(path: Path) -> dict[str, Any] | None:
    """The saved state, None where there is none.

    Raises:
        FeedStateRefused: unreadable or of another version; the feed does not start, so that event time does not jump back.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise FeedStateRefused(f"{path}: not JSON ({error}); not started; remove the file to start the plant anew") from error
    if not isinstance(found, dict) or found.get("version") != STATE_VERSION or not found.keys() >= _NEEDED:
        version = found.get("version") if isinstance(found, dict) else None
        raise FeedStateRefused(
            f"{path}: version {version!r}, expected {STATE_VERSION}, with {', '.join(sorted(_NEEDED))}; "
            "not started; remove the file to start the plant anew"
        )
    return found


def save(path: Path, state: dict[str, Any]) -> None:
    """Replace the file; after a crash there is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        file.write(json.dumps(state).encode())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def on_grid(state: dict[str, Any], step_s: int) -> dict[str, Any]:
    """The same state for another step length: event time goes on at the next step of the new grid.

    >>> on_grid({"step": 11, "step_s": 300, "backfill_until_step": 4, "faults": []}, 600)["step"]
    6
    """
    if state["step_s"] == step_s:
        return state
    ratio = state["step_s"] / step_s
    return {
        **state,
        "step_s": step_s,
        "step": math.ceil(state["step"] * ratio),
        "backfill_until_step": math.ceil(state["backfill_until_step"] * ratio),
        "faults": [{**fault, "since_step": round(fault["since_step"] * ratio)} for fault in state["faults"]],
    }

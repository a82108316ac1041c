"""The twin types that demo feeds publish: DTDL interfaces kept beside this file as JSON."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson


def interface(name: str) -> dict[str, Any]:
    """One interface by the name of its file.

    >>> interface("water.tank")["@id"]
    'dtmi:livetwin:water:Tank;1'
    """
    found: dict[str, Any] = orjson.loads(files("deploy.feeds").joinpath("definitions", f"{name}.json").read_bytes())
    return found


def sampled(interface: dict[str, Any], period_s: float) -> dict[str, Any]:
    """The interface for another sampling period, with a lateness of two periods."""
    return {**interface, "samplingPeriod": duration(period_s), "lateness": duration(2 * period_s)}


def duration(seconds: float) -> str:
    """ISO 8601.

    >>> duration(300), duration(5), duration(0.25), duration(3600)
    ('PT5M', 'PT5S', 'PT0.25S', 'PT1H')
    """
    for size, letter in ((3600, "H"), (60, "M")):
        if seconds >= size and seconds % size == 0:
            return f"PT{seconds / size:.0f}{letter}"
    return f"PT{seconds:.9f}".rstrip("0").rstrip(".") + "S"

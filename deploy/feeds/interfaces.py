"""The twin types that demo feeds publish: DTDL interfaces kept beside this file as JSON."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

from twin.infer import duration
from twin.types import NS_PER_S


def interface(name: str) -> dict[str, Any]:
    """One interface by the name of its file.

    >>> interface("water.tank")["@id"]
    'dtmi:livetwin:water:Tank;1'
    """
    found: dict[str, Any] = orjson.loads(files("deploy.feeds").joinpath("definitions", f"{name}.json").read_bytes())
    return found


def sampled(interface: dict[str, Any], period_s: float) -> dict[str, Any]:
    """The interface for another sampling period, with a lateness of two periods."""
    period_ns = round(period_s * NS_PER_S)
    return {**interface, "samplingPeriod": duration(period_ns), "lateness": duration(2 * period_ns)}

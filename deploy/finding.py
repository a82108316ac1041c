"""What `livetwin doctor` found of one thing, and the way out where it is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `note`: not as it will be once livetwin runs, and no fault."""

    state: Literal["ok", "note", "fault"]
    subject: str
    found: str
    way_out: str = ""

    def __post_init__(self) -> None:
        if bool(self.way_out) == (self.state == "ok"):
            raise ValueError(f"{self.subject} is {self.state} with way out {self.way_out!r}, expected one unless it is ok")


def ok(subject: str, found: str) -> Finding:
    return Finding("ok", subject, found)


def note(subject: str, found: str, way_out: str) -> Finding:
    return Finding("note", subject, found, way_out)


def fault(subject: str, found: str, way_out: str) -> Finding:
    return Finding("fault", subject, found, way_out)

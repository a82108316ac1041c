"""What was found wrong, or worth knowing, in a twin definition: all of it at once, each with its place.

In:   whatever a reader of definitions notices.
Out:  `Finding`s that name file, type, JSON pointer, found and expected.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

MOST_SHOWN = 20  # in one error message; the command line shows all

Level = Literal["error", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing at one place. An error keeps a type from being used, a note does not.

    >>> print(Finding("error", "dtmi:plant:Pump;1", "/contents/0/schema", "'blob'", "'double'"))
    dtmi:plant:Pump;1 at /contents/0/schema: found 'blob', expected 'double'
    """

    level: Level
    type: str
    pointer: str  # RFC 6901, within the interface
    found: str
    expected: str
    file: str | None = None

    def __str__(self) -> str:
        file = f"{self.file}: " if self.file else ""
        return f"{file}{self.type} at {self.pointer or '/'}: found {self.found}, expected {self.expected}"


@dataclass(slots=True)
class Findings:
    """Collects findings of one interface."""

    type: str
    file: str | None = None
    all: list[Finding] = field(default_factory=list)

    def error(self, pointer: str, found: object, expected: str) -> None:
        """`found` is shown as JSON would name it, when it is no text already made for reading."""
        self.all.append(Finding("error", self.type, pointer, shown(found), expected, self.file))

    def note(self, pointer: str, found: object, expected: str) -> None:
        self.all.append(Finding("note", self.type, pointer, shown(found), expected, self.file))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.all)

    @property
    def errors(self) -> list[Finding]:
        return [one for one in self.all if one.level == "error"]


class Words(str):
    """Text to be shown as it is, not as a quoted value."""


def shown(found: object) -> str:
    """A short form of what was found.

    >>> shown("psy"), shown(Words("nothing")), shown(["x" * 200])[-8:]
    ("'psy'", 'nothing', '(a list)')
    """
    if isinstance(found, Words):
        return str(found)
    text = repr(found)
    return text if len(text) <= 120 else f"{text[:110]}… ({_article(found)})"


def _article(found: object) -> str:
    return "an object" if isinstance(found, dict) else "a list" if isinstance(found, list) else "a value"


def listed(findings: list[Finding], consequence: str) -> str:
    """All findings as one message, a line each, the consequence last."""
    lines = [str(one) for one in findings[:MOST_SHOWN]]
    if len(findings) > MOST_SHOWN:
        lines.append(f"and {len(findings) - MOST_SHOWN} more")
    return "; ".join(lines) + f"; {consequence}"


def pointer(*parts: str | int) -> str:
    """A JSON pointer.

    >>> pointer("contents", 3, "a/b")
    '/contents/3/a~1b'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)

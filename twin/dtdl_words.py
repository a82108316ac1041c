"""The small words of DTDL: identifiers, co-types, names for people, durations, numbers.

In:   parts of an interface as JSON holds them.
Out:  their values; what can't be used goes to `Findings`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import TypeAdapter

from twin.findings import Findings, pointer

LONGEST_ID = 128
LARGEST = 3.4028234663852886e38  # of a float32, which holds what twins hold
_ALIKE = 0.85  # a word this close to one that is known is a slip of the pen
_DTMI = re.compile(r"^dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z_](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*;[1-9][0-9]{0,8}$")
_DURATION = TypeAdapter(timedelta)
_LONGEST_DURATION = timedelta(days=3660)


def dtmi_fault(identifier: str) -> bool:
    """Whether a text is no versioned DTMI.

    >>> dtmi_fault("dtmi:plant:Pump;1"), dtmi_fault("dtmi:plant:Pump"), dtmi_fault("dtmi:2nd;1")
    (False, True, True)
    """
    return len(identifier) > LONGEST_ID or not _DTMI.match(identifier)


def element_kinds(element: Mapping[str, Any]) -> tuple[str, ...]:
    """`@type`, one or several."""
    kinds = element.get("@type", ())
    return (
        (kinds,)
        if isinstance(kinds, str)
        else tuple(one for one in kinds if isinstance(one, str))
        if isinstance(kinds, list)
        else ()
    )


def texts(localised: object) -> str | None:
    """A text, or its English or first form where it is given in several languages.

    >>> texts({"de": "Behälter", "en": "Tank"}), texts("Tank"), texts(3)
    ('Tank', 'Tank', None)
    """
    if isinstance(localised, str):
        return localised
    if isinstance(localised, Mapping):
        forms = [form for form in localised.values() if isinstance(form, str)]
        english = localised.get("en")
        return english if isinstance(english, str) else forms[0] if forms else None
    return None


def display_name(element: Mapping[str, Any], findings: Findings, at: str) -> str | None:
    found = element.get("displayName")
    name = texts(found)
    if found is not None and name is None:
        findings.error(f"{at}/displayName", found, "a text, or texts by language")
    return name[:512] if name else None


def unknown_words(element: Mapping[str, Any], known: Iterable[str], at: str, findings: Findings) -> None:
    """A key that nobody reads says nothing; one that is nearly a known word was meant to say something, so it is an error."""
    words = sorted(known)
    for key in element:
        if key not in words and not key.startswith("@"):
            meant = get_close_matches(key, words, 1, _ALIKE)
            tell = findings.error if meant else findings.note
            tell(at + pointer(key), key, repr(meant[0]) if meant else "a word of DTDL or of the stream extension; ignored")


def number(element: Mapping[str, Any], key: str, at: str, findings: Findings, *, least: float = -math.inf) -> float | None:
    found = element.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        findings.error(f"{at}/{key}", found, "a number")
        return None
    if abs(found) > LARGEST:
        findings.error(f"{at}/{key}", found, f"what a 32-bit float can hold, {LARGEST:.2g} at most")
        return None
    if found < least:
        findings.error(f"{at}/{key}", found, f"{least:g} or more")
        return None
    return found


def whole(element: Mapping[str, Any], key: str, at: str, findings: Findings, *, least: int = 0) -> int | None:
    found = number(element, key, at, findings, least=least)
    if found is not None and found != int(found):
        findings.error(f"{at}/{key}", found, "a whole number of steps")
        return None
    return None if found is None else int(found)


def word(element: Mapping[str, Any], key: str, words: Any, default: str, at: str, findings: Findings) -> Any:
    """One of the words of a Literal."""
    found = element.get(key, default)
    if found not in get_args(words):
        findings.error(f"{at}/{key}", found, "one of " + ", ".join(repr(one) for one in get_args(words)))
        return default
    return found


def read_durations(document: Mapping[str, Any], findings: Findings, keys: Iterable[str]) -> dict[str, int | None]:
    """Nanoseconds of those that are there; `maxAhead` and `silentAfter` may be null."""
    out: dict[str, int | None] = {}
    for key in keys:
        if key not in document or (document[key] is None and key not in ("maxAhead", "silentAfter")):
            continue
        found = document[key]
        if found is None:
            out[key] = None
            continue
        try:
            if not isinstance(found, str) or "P" not in found:  # pydantic reads numbers, too
                raise ValueError
            length = _DURATION.validate_python(found)
        except ValueError:
            findings.error(f"/{key}", found, "an ISO 8601 duration such as 'PT5S'")
            continue
        if length < timedelta() or length > _LONGEST_DURATION or (key == "samplingPeriod" and not length):
            findings.error(
                f"/{key}", found, "more than zero, at most ten years" if key == "samplingPeriod" else "zero to ten years"
            )
            continue
        out[key] = round(length / timedelta(microseconds=1)) * 1000
    return out

"""Twin types: what is known of a kind of asset before its first reading.

In:   DTDL interfaces (JSON, v3; v4 is read the same way).
Out:  `TwinType`, the compiled form: channel order, units, grid, lateness, delays, and the hash of the
      tensor contract that weights must carry.

DTDL has no words for a sampling period, lateness or limits, so they ride on a partner extension,
`dtmi:livetwin:extension:stream;1`: `samplingPeriod`, `lateness`, `maxAhead`, `onDelay`, `offDelay` (ISO 8601
durations) on the interface, `minimum`, `maximum`, `lowLimit`, `highLimit`, `stuckAfter` (steps), `gapRule`,
`gapLimit` (steps), `spikeLimit` (units per step), `role` on a telemetry.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from twin.errors import TypeInvalid

NS_PER_S = 1_000_000_000
STREAM_CONTEXT = "dtmi:livetwin:extension:stream;1"
CONTEXT = ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1", STREAM_CONTEXT]
_DTMI = re.compile(r"^dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z_](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*;[1-9][0-9]{0,8}$")
_NAME = re.compile(r"^[A-Za-z](?:[A-Za-z0-9_.:-]{0,127})$")
_DURATION = TypeAdapter(timedelta)
GapRule = Literal["hold", "linear", "none"]
Role = Literal["sensor", "actuator", "counter", "state"]
DEFAULT_GAP_LIMIT = 6  # steps
_NUMERIC_SCHEMAS = frozenset({"double", "float", "integer", "long", "boolean", "short", "byte"})


@dataclass(frozen=True, slots=True)
class Channel:
    """One telemetry of a type. Limits are in the channel's own unit; None means unlimited.

    `minimum`/`maximum` bound what the sensor can say (outside: quality OUT_OF_RANGE); `low_limit`/`high_limit`
    are alarm limits of the process; `stuck_after` is how many equal steps in a row mean a stuck sensor.
    `gap_rule` says how a gap of up to `gap_limit` steps is filled: the last good value, a line between the good values
    on both sides, or not at all. `spike_limit` is the largest change from one step to the next that the process can
    make, in units per step. `role` is what the channel is to the asset.
    """

    name: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    low_limit: float | None = None
    high_limit: float | None = None
    stuck_after: int | None = None
    gap_rule: GapRule = "hold"
    gap_limit: int = DEFAULT_GAP_LIMIT
    spike_limit: float | None = None
    role: Role = "sensor"


@dataclass(frozen=True, slots=True)
class TwinType:
    """A compiled twin type. Times are nanoseconds of event time.

    `max_ahead_ns` None: readings may be any distance ahead of their record's timestamp (simulated clocks).
    """

    id: str
    display_name: str
    channels: tuple[Channel, ...]
    period_ns: int
    lateness_ns: int
    max_ahead_ns: int | None
    on_delay_ns: int
    off_delay_ns: int
    relationships: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """Short name for model names, topics' keys and URLs: `dtmi:livetwin:water:Tank;1` → `water.tank`.

        >>> compile_type({"@id": "dtmi:livetwin:water:Tank;1", "@type": "Interface", "contents": [
        ...     {"@type": "Telemetry", "name": "level", "schema": "double"}]}).slug
        'water.tank'
        """
        path, version = self.id.removeprefix("dtmi:").split(";")
        parts = path.removeprefix("livetwin:").lower().split(":")
        return ".".join(parts) + ("" if version == "1" else f".v{version}")

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)

    @property
    def contract(self) -> str:
        """Hash of all that a weight tensor depends on: channel order, units, grid. 16 hex digits."""
        wording = json.dumps([[c.name, c.unit] for c in self.channels] + [self.period_ns], separators=(",", ":"))
        return hashlib.sha256(wording.encode()).hexdigest()[:16]


def compile_type(interface: Mapping[str, Any]) -> TwinType:
    """Compile one DTDL interface.

    Raises:
        TypeInvalid: not an interface, a bad identifier or name, no numeric telemetry, a bad duration or limit.
    """
    identifier = interface.get("@id")
    if not isinstance(identifier, str) or not _DTMI.match(identifier) or len(identifier) > 256:
        raise TypeInvalid(
            f"twin type not used: @id is {identifier!r}, expected a DTMI "
            "such as 'dtmi:plant:Pump;1'; its assets get no twin from it"
        )
    if interface.get("@type") != "Interface":
        raise TypeInvalid(f"{identifier}: @type is {interface.get('@type')!r}, expected 'Interface'; the type is not used")
    contents = interface.get("contents", [])
    if not isinstance(contents, list):
        raise TypeInvalid(f"{identifier}: contents is {type(contents).__name__}, expected a list; the type is not used")
    channels: list[Channel] = []
    relationships: list[str] = []
    properties: list[str] = []
    for position, element in enumerate(contents):
        where = f"{identifier}: contents[{position}]"
        if not isinstance(element, Mapping):
            raise TypeInvalid(f"{where} is {type(element).__name__}, expected an object; the type is not used")
        kinds = element.get("@type", ())
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        name = element.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            raise TypeInvalid(f"{where}: name is {name!r}, expected letters, digits, '_', '.', ':' or '-'; the type is not used")
        if "Telemetry" in kinds:
            schema = element.get("schema")
            if schema in _NUMERIC_SCHEMAS:
                channels.append(_channel(where, name, element))
            elif schema is None:
                raise TypeInvalid(f"{where} ({name}): schema is missing, expected 'double'; the type is not used")
        elif "Relationship" in kinds:
            relationships.append(name)
        elif "Property" in kinds:
            properties.append(name)
    if not channels:
        raise TypeInvalid(f"{identifier}: no numeric telemetry found, expected at least one; the type is not used")
    names = [channel.name for channel in channels]
    if len(set(names)) != len(names):
        raise TypeInvalid(f"{identifier}: telemetry names {sorted(names)} repeat, expected each once; the type is not used")
    period_ns = _duration_ns(identifier, interface, "samplingPeriod", timedelta(seconds=1))
    if period_ns is None or period_ns <= 0:
        raise TypeInvalid(
            f"{identifier}: samplingPeriod is {interface.get('samplingPeriod')!r}, expected more than zero; the type is not used"
        )
    lateness_ns = _duration_ns(identifier, interface, "lateness", timedelta(microseconds=2 * period_ns / 1000))
    max_ahead = interface.get("maxAhead", "PT1H")
    display = interface.get("displayName", identifier)
    return TwinType(
        id=identifier,
        display_name=display if isinstance(display, str) else str(next(iter(display.values()), identifier)),
        channels=tuple(sorted(channels, key=lambda channel: channel.name)),
        period_ns=period_ns,
        lateness_ns=lateness_ns or 0,
        max_ahead_ns=None if max_ahead is None else _duration_ns(identifier, {"maxAhead": max_ahead}, "maxAhead", timedelta()),
        on_delay_ns=_duration_ns(identifier, interface, "onDelay", timedelta()) or 0,
        off_delay_ns=_duration_ns(identifier, interface, "offDelay", timedelta(microseconds=3 * period_ns / 1000)) or 0,
        relationships=tuple(relationships),
        properties=tuple(properties),
    )


def _channel(where: str, name: str, element: Mapping[str, Any]) -> Channel:
    numbers: dict[str, float | None] = {}
    for key in ("minimum", "maximum", "lowLimit", "highLimit", "stuckAfter", "gapLimit", "spikeLimit"):
        found = element.get(key)
        if found is not None and (isinstance(found, bool) or not isinstance(found, int | float)):
            raise TypeInvalid(f"{where} ({name}): {key} is {found!r}, expected a number; the type is not used")
        numbers[key] = found
    low, high = numbers["minimum"], numbers["maximum"]
    if low is not None and high is not None and low >= high:
        raise TypeInvalid(f"{where} ({name}): minimum {low} is not below maximum {high}; the type is not used")
    for key in ("stuckAfter", "gapLimit", "spikeLimit"):
        if (limit := numbers[key]) is not None and limit < 0:
            raise TypeInvalid(f"{where} ({name}): {key} is {limit}, expected zero or more; the type is not used")
    stuck, gap_limit = numbers["stuckAfter"], numbers["gapLimit"]
    return Channel(
        name=name,
        unit=element.get("unit"),
        minimum=low,
        maximum=high,
        low_limit=numbers["lowLimit"],
        high_limit=numbers["highLimit"],
        stuck_after=None if stuck is None else int(stuck),
        gap_rule=_word(where, name, element, "gapRule", GapRule, "hold"),
        gap_limit=DEFAULT_GAP_LIMIT if gap_limit is None else int(gap_limit),
        spike_limit=numbers["spikeLimit"],
        role=_word(where, name, element, "role", Role, "sensor"),
    )


def _word(where: str, name: str, element: Mapping[str, Any], key: str, words: Any, default: str) -> Any:
    found = element.get(key, default)
    if found not in get_args(words):
        expected = ", ".join(repr(word) for word in get_args(words))
        raise TypeInvalid(f"{where} ({name}): {key} is {found!r}, expected one of {expected}; the type is not used")
    return found


def _duration_ns(identifier: str, interface: Mapping[str, Any], key: str, default: timedelta) -> int | None:
    found = interface.get(key)
    if found is None:
        return round(default / timedelta(microseconds=1)) * 1000
    try:
        return round(_DURATION.validate_python(found) / timedelta(microseconds=1)) * 1000
    except ValidationError as error:
        raise TypeInvalid(
            f"{identifier}: {key} is {found!r}, expected an ISO 8601 duration such as 'PT5S'; the type is not used"
        ) from error

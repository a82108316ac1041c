"""Twin types, compiled: what is known of a kind of asset before its first reading.

In:   `twin.dtdl` reads interfaces, `twin.type_sets` resolves what they inherit and contain.
Out:  `TwinType`: channel order, units, grid, lateness, delays, and the hash of the tensor contract that weights must carry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

NS_PER_S = 1_000_000_000
STREAM_CONTEXT = "dtmi:livetwin:extension:stream;1"
CONTEXT = ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1", STREAM_CONTEXT]
GapRule = Literal["hold", "linear", "none"]
Role = Literal["sensor", "actuator", "counter", "state"]
DEFAULT_GAP_LIMIT = 6  # steps
DEFAULT_MARKED_AFTER = 3  # of the last five steps


@dataclass(frozen=True, slots=True)
class Channel:
    """One telemetry of a type. Limits are in the channel's own unit; None means unlimited.

    `minimum`/`maximum` bound what the sensor can say (outside: quality OUT_OF_RANGE); `low_limit`/`high_limit`
    are alarm limits of the process; `stuck_after` is how many equal steps in a row mean a stuck sensor; None: as
    versions have learnt, or never where not `learns_stuck`. `out_of_range_after` and `wrong_unit_after` are how many of
    the last 2k - 1 steps, k, must be marked so for an alert; None: none is raised.
    `gap_rule` says how a gap of up to `gap_limit` steps is filled: the last good value, a line between the good values
    on both sides, or not at all. `spike_limit` is the largest change from one step to the next that the process can
    make, in units per step. `role` is what the channel is to the asset. `codes` are the words of an enumeration and
    the numbers that stand for them.
    """

    name: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    low_limit: float | None = None
    high_limit: float | None = None
    stuck_after: int | None = None
    learns_stuck: bool = True
    out_of_range_after: int | None = DEFAULT_MARKED_AFTER
    wrong_unit_after: int | None = DEFAULT_MARKED_AFTER
    gap_rule: GapRule = "hold"
    gap_limit: int = DEFAULT_GAP_LIMIT
    spike_limit: float | None = None
    role: Role = "sensor"
    schema: str = "double"
    semantic: str | None = None
    display_name: str | None = None
    codes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PropertyTerm:
    """Static data that twins of a type have. `annotates`: which telemetry or property it speaks of."""

    name: str
    schema: str = "double"
    unit: str | None = None
    display_name: str | None = None
    writable: bool = False
    annotates: str | None = None


@dataclass(frozen=True, slots=True)
class RelationshipTerm:
    """An edge that twins of a type may have. `target` None: to twins of any type; `most` None: to any number."""

    name: str
    target: str | None = None
    display_name: str | None = None
    least: int = 0
    most: int | None = None
    properties: tuple[PropertyTerm, ...] = ()


@dataclass(frozen=True, slots=True)
class TwinType:
    """A compiled twin type. Times are nanoseconds of event time.

    `max_ahead_ns` None: readings may be any distance ahead of their record's timestamp (simulated clocks).
    `silent_after_ns`: how far others are ahead of a silent twin; None: twice as long as gaps are filled, `silence_alerts` or not.
    `bases` are all the interfaces that it extends, nearest first.
    """

    id: str
    display_name: str
    channels: tuple[Channel, ...]
    period_ns: int
    lateness_ns: int
    max_ahead_ns: int | None
    on_delay_ns: int
    off_delay_ns: int
    silent_after_ns: int | None = None
    silence_alerts: bool = True
    relationships: tuple[RelationshipTerm, ...] = ()
    properties: tuple[PropertyTerm, ...] = ()
    bases: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """Short name for model names, topics' keys and URLs: `dtmi:livetwin:water:Tank;1` → `water.tank`.

        >>> TwinType("dtmi:livetwin:water:Tank;2", "Tank", (), 1, 0, None, 0, 0).slug
        'water.tank.v2'
        """
        return short_name(self.id)

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)

    @property
    def contract(self) -> str:
        """Hash of all that a weight tensor depends on: channel order, units, codes, grid. 16 hex digits."""
        channels = [[c.name, c.unit, *([c.codes] if c.codes else [])] for c in self.channels]
        wording = json.dumps([*channels, self.period_ns], separators=(",", ":"))
        return hashlib.sha256(wording.encode()).hexdigest()[:16]


def short_name(dtmi: str) -> str:
    """
    >>> short_name("dtmi:plant:Pump;1"), short_name("dtmi:livetwin:water:Tank;2")
    ('plant.pump', 'water.tank.v2')
    """
    path, _, version = dtmi.removeprefix("dtmi:").partition(";")
    parts = path.removeprefix("livetwin:").lower().split(":")
    return ".".join(parts) + ("" if version == "1" else f".v{version}")


def compile_type(interface: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]] | None = None) -> TwinType:
    """Compile one DTDL interface.

    Args:
        interface: as JSON holds it.
        others: interfaces that it may extend or contain, by their identifiers.

    Raises:
        TypeInvalid: the message lists all that is wrong, each with its place.

    >>> compile_type({"@id": "dtmi:plant:Tank;1", "@type": "Interface", "contents": [
    ...     {"@type": "Telemetry", "name": "level", "schema": "double"}]}).channel_names
    ('level',)
    """
    from twin.type_sets import compile_one  # which imports the classes above

    return compile_one(interface, others or {})

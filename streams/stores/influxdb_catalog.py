"""Which twin types an InfluxDB store knows: their measurements, and the keys of their channels' fields.

In:   the rows of measurements `types` and `channels` in the bucket for records.
Out:  names; lines for what is new.
Pure: no clock, no I/O.

A measurement is the type's slug, a field key the channel's name, so that a person can write queries; only a name that is taken,
or that InfluxDB keeps for itself, is altered. Entries are never changed: they lie at time 0 and can be written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.history import HistoryBlock
from streams.stores.influxdb_lines import KINDS, QUALITY, RESERVED, line, original, plain
from streams.stores.influxdb_server import Rows

_SUFFIXES = (*KINDS, QUALITY)


@dataclass(slots=True)
class TypeFields:
    """One twin type: its measurement and, channel by channel in the order of first sight, the key of its fields."""

    type: str
    measurement: str
    keys: dict[str, str] = field(default_factory=dict)

    def add(self, channel: str) -> str:
        """The key of this channel; a new channel gets one."""
        if channel not in self.keys:
            taken = {known + suffix for known in self.keys.values() for suffix in _SUFFIXES} | RESERVED
            found = plain(channel)
            if found.startswith("_"):
                found = f"c{found}"  # InfluxDB keeps names that begin so
            while any(found + suffix in taken for suffix in _SUFFIXES):
                found += "_"
            self.keys[channel] = found
        return self.keys[channel]


class Catalog:
    """Types by id. Not locked: the store guards it."""

    def __init__(self, types: Sequence[Rows] = (), channels: Sequence[Rows] = ()) -> None:
        self.types: dict[str, TypeFields] = {}
        by_measurement: dict[str, TypeFields] = {}
        for rows in types:
            name = original(rows.tags["measurement"])
            found = TypeFields(rows.column("type")[-1], name)
            self.types[found.type] = by_measurement[name] = found
        placed = sorted(
            (
                original(rows.tags["measurement"]),
                rows.column("position")[-1],
                original(rows.tags["channel"]),
                rows.column("key")[-1],
            )
            for rows in channels
        )
        for name, _, channel, key in placed:
            if name in by_measurement:
                by_measurement[name].keys[channel] = key

    def learn(self, blocks: Sequence[HistoryBlock]) -> list[bytes]:
        """Take in types and channels of blocks; lines for those that are new."""
        lines = []
        for block in blocks:
            known = self.types.get(block.type)
            if known is None:
                known = self.types[block.type] = TypeFields(block.type, self._free_measurement(block.type))
                lines.append(line("types", {"measurement": known.measurement}, {"type": block.type}, 0))
            for channel in block.channels:
                if channel not in known.keys:
                    place: dict[str, str | int] = {"key": known.add(channel), "position": len(known.keys)}
                    lines.append(line("channels", {"measurement": known.measurement, "channel": channel}, {**place}, 0))
        return lines

    def _free_measurement(self, type_: str) -> str:
        taken = {known.measurement for known in self.types.values()}
        found = plain(measurement_of(type_))
        while found in taken or found.startswith("_"):
            found = f"{found}_" if found in taken else f"m{found}"
        return found


def measurement_of(type_: str) -> str:
    """Short name of a type, `twin.types.TwinType.slug`; any other text as it is.

    >>> measurement_of("dtmi:livetwin:water:Tank;1"), measurement_of("dtmi:acme:Press;3"), measurement_of("pump")
    ('water.tank', 'acme.press.v3', 'pump')
    """
    path, _, version = type_.removeprefix("dtmi:").partition(";")
    name = ".".join(path.removeprefix("livetwin:").lower().split(":"))
    return name + ("" if version in ("", "1") else f".v{version}")

"""From decoded records to the columns that each type's arena folds.

In:   decoded readings of one asset whose twin is known (`streams.routing` has those of many).
Out:  values in a `ReadingBatchBuilder` a type; refusals of what has no place there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.formats.json_readings import column_values, number
from streams.formats.readings import Telemetry
from streams.homes import Homes
from streams.log_record import LogRecord
from streams.refusals import Refused, listed
from streams.stated_units import converted
from streams.terms import NEVER
from twin.arena import Arena
from twin.common_units import canonical
from twin.intake import Intake
from twin.reading import ReadingBatchBuilder
from twin.types import TwinType
from twin.units import known

_NO_WORDS: dict[str, float] = {}


@dataclass(slots=True)
class Place:
    """Where an asset's values go."""

    arena: Arena
    row: int
    partition: int
    channels: dict[str, int]
    codes: Mapping[str, Mapping[str, float]]  # words of enumerations, by channel
    faults: Mapping[str, str]  # channels that take no readings, and why
    units: Mapping[str, str] = field(default_factory=dict)  # of the source, where they are not the type's
    until: int = NEVER  # offset from which on other terms hold

    @staticmethod
    def of(arena: Arena, row: int, partition: int, intake: Intake, units: Mapping[str, str], until: int) -> Place:
        names = {name: index for index, name in enumerate(arena.type.channel_names) if name not in intake.faults}
        codes = {channel.name: dict(channel.codes) for channel in arena.type.channels if channel.codes}
        return Place(arena, row, partition, names, codes, intake.faults, units, until)


class Tally(Protocol):
    refused: list[Refused]
    counts: Counter[str]
    strange: Counter[tuple[str, str]]  # (asset, channel that its type does not have) → numbers that came
    strange_units: dict[tuple[str, str], str]  # the unit that such a channel stated last


def builder_of(builders: dict[str, ReadingBatchBuilder], arena: Arena) -> ReadingBatchBuilder:
    """Where readings of twins of this arena are collected."""
    found = builders.get(arena.type.id)
    if found is None:
        found = builders[arena.type.id] = ReadingBatchBuilder(len(arena.type.channels))
    return found


def add_readings(
    builders: dict[str, ReadingBatchBuilder], place: Place, record: LogRecord, telemetry: Telemetry, out: Tally
) -> None:
    builder = builder_of(builders, place.arena)
    unknown: list[str] = []
    not_numbers: list[str] = []
    if telemetry.units:
        telemetry = _in_source_units(place, record, telemetry, out)
    if isinstance(telemetry.time_ns, int):
        channels: list[int] = []
        values: list[float] = []
        for name, cell in telemetry.channels.items():
            index = place.channels.get(name)
            if index is None:
                unknown.append(name)
            elif cell is not None:
                value = number(cell) if not isinstance(cell, str) else place.codes.get(name, _NO_WORDS).get(cell)
                if value is None:
                    not_numbers.append(name)
                else:
                    channels.append(index)
                    values.append(value)
        builder.add(place.row, channels, telemetry.time_ns, values, record.offset, record.timestamp * 1_000_000)
    else:
        columns: dict[int, NDArray[np.float64]] = {}
        for name, column in telemetry.channels.items():
            index = place.channels.get(name)
            if index is None:
                unknown.append(name)
                continue
            numbers, bad = column_values(_coded(column, place.codes[name]) if name in place.codes else column)
            if bad:
                not_numbers.append(name)
                out.counts["not-a-number"] += bad
            columns[index] = numbers
        builder.add_table(place.row, telemetry.time_ns, columns, record.offset, record.timestamp * 1_000_000)
    if unknown and place.faults:
        unknown = refuse_faulty(record, repr(telemetry.asset), place.faults, unknown, out)
    for name in unknown:
        cells = telemetry.channels[name]
        numbers_came = sum(number(cell) is not None for cell in ([cells] if isinstance(telemetry.time_ns, int) else cells))
        if numbers_came:
            note_strange(out, telemetry.asset, name, numbers_came, telemetry.units)
    if unknown:
        known = ", ".join(place.channels)
        out.refused.append(
            Refused(
                record,
                "unknown-channel",
                f"{telemetry.asset!r} has no channel {unknown}, expected among: {known}; the rest of the record was used",
            )
        )
    if not_numbers:
        found = {name: shortened(telemetry.channels[name]) for name in not_numbers}
        out.refused.append(
            Refused(
                record,
                "not-a-number",
                f"{telemetry.asset!r}: {found}, expected finite numbers; the rest of the record was used",
            )
        )


def _in_source_units(place: Place, record: LogRecord, telemetry: Telemetry, out: Tally) -> Telemetry:
    """What states a unit, in the unit that the twin's source is declared to send, else in the type's."""
    wanted = wanted_units(place.arena.type, place.channels, place.units)
    channels, faults = converted(telemetry.channels, telemetry.units, wanted)
    refuse_stated(record, repr(telemetry.asset), faults, out)
    return replace(telemetry, channels=channels)


def wanted_units(kind: TwinType, channels: Mapping[str, int], of_source: Mapping[str, str]) -> dict[str, str | None]:
    """The unit in which each channel's readings are taken."""
    return {name: of_source.get(name, kind.channels[index].unit) for name, index in channels.items()}


def refuse_stated(record: LogRecord, named: str, faults: Mapping[str, str], out: Tally) -> None:
    """Channels that state a unit which is none, or measures something else."""
    if faults:
        out.refused.append(Refused(record, "unit", f"{named}: {'; '.join(faults.values())}; the rest of the record was used"))


def note_strange(out: Tally, asset: str, name: str, numbers: int, units: Mapping[str, str]) -> None:
    """Numbers came for a channel that the type does not have; in a unit that is none they say nothing."""
    unit = units.get(name)
    if unit is not None and not known(unit):
        return
    out.strange[asset, name] += numbers
    if unit is not None:
        out.strange_units[asset, name] = canonical(unit)


def home_of(homes: Homes, asset: str, place: Place, partition: int) -> int:
    """The partition that an asset's readings are taken from: its claimed home, and where its twin is."""
    home = homes.of(asset)
    return place.partition if home is None or home == partition else home


def refuse_strays(record: LogRecord, assets: list[str], home: int, out: Tally) -> None:
    """Readings of assets that live on another partition."""
    one = len(assets) == 1
    what, lives = (
        f"{len(assets)} {'asset' if one else 'assets'} ({listed(assets)})",
        "its twin lives" if one else "their twins live",
    )
    out.counts["other-partition"] += len(assets)
    out.refused.append(
        Refused(
            record,
            "partition",
            f"{what} came on partition {record.partition}, {lives} on {home}; "
            "key records by asset id, and records of many assets so that an asset always comes on one partition; "
            "kept in dead-letter",
        )
    )


def _coded(column: Any, words: Mapping[str, float]) -> Any:
    """Words of an enumeration as their numbers; other words stay, and are refused."""
    if isinstance(column, np.ndarray):
        return column
    return [words.get(cell, cell) if isinstance(cell, str) else cell for cell in column]


def refuse_faulty(record: LogRecord, named: str, faults: Mapping[str, str], unknown: list[str], out: Tally) -> list[str]:
    """Refuse what comes for channels whose unit can't be converted; which of `unknown` are really not known."""
    found = [faults[name] for name in sorted(unknown) if name in faults]
    if found:
        out.refused.append(Refused(record, "unit", f"{named}: {'; '.join(found)}; the rest of the record was used"))
    return [name for name in unknown if name not in faults]


def shortened(cell: object) -> str:
    return orjson.dumps(cell, default=str)[:60].decode("utf-8", "replace") if cell is not None else "null"

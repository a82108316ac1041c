"""From decoded records to the columns that each type's arena folds.

In:   decoded readings whose twins are known.
Out:  values in a `ReadingBatchBuilder` a type; refusals of what has no place there. Tables are never looped over by reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.formats.json_readings import column_values, number
from streams.formats.readings import Telemetry, TelemetryTable
from streams.homes import Homes
from streams.log_record import LogRecord
from streams.refusals import Refused, listed
from streams.terms import NEVER
from twin.arena import Arena
from twin.intake import Intake
from twin.reading import ReadingBatchBuilder

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


def add_table(
    places_of: Mapping[str, Place],
    homes: Homes,
    builders: dict[str, ReadingBatchBuilder],
    record: LogRecord,
    table: TelemetryTable,
    out: Tally,
) -> None:
    """Loops over assets, types and channels; never over readings."""
    places = [places_of[asset] for asset in table.assets]
    row = np.array([place.row for place in places], np.int64)
    of_type: dict[tuple[str, tuple[str, ...]], list[int]] = {}  # by type, and channels that take no readings
    strays: dict[int, list[str]] = {}
    for position, place in enumerate(places):
        home = home_of(homes, table.assets[position], place, record.partition)
        if home == record.partition:
            of_type.setdefault((place.arena.type.id, tuple(place.faults)), []).append(position)
        else:
            strays.setdefault(home, []).append(table.assets[position])
    for partition, assets in strays.items():
        out.refused.append(elsewhere(record, assets, partition))
        out.counts["other-partition"] += len(assets)
    record_time_ns = record.timestamp * 1_000_000
    for positions in of_type.values():
        known = places[positions[0]].channels
        builder = builder_of(builders, places[positions[0]].arena)
        if len(positions) == len(places):
            rows, time_ns, channels = row[table.code], table.time_ns, table.channels
        else:
            mine = np.zeros(len(places), np.bool_)
            mine[positions] = True
            at = np.flatnonzero(mine[table.code])
            rows, time_ns = row[table.code[at]], table.time_ns[at]
            channels = {name: values[at] for name, values in table.channels.items()}
        unknown = [name for name in channels.keys() - known.keys() if not np.isnan(channels[name]).all()]
        columns = {index: channels[name] for name, index in known.items() if name in channels}
        builder.add_table(rows, time_ns, columns, record.offset, record_time_ns)
        if unknown and places[positions[0]].faults:
            named = listed([table.assets[one] for one in positions])
            unknown = _faulty(record, named, places[positions[0]].faults, unknown, out)
        for name in unknown:
            came = np.bincount(table.code[~np.isnan(table.channels[name])], minlength=len(places))
            out.strange.update({(table.assets[one], name): int(came[one]) for one in positions if came[one]})
        if unknown:
            found = f"{listed([table.assets[one] for one in positions])} have no channel {listed(sorted(unknown))}"
            out.refused.append(
                Refused(
                    record,
                    "unknown-channel",
                    f"{found}, expected among: {', '.join(known)}; the rest of the record was used",
                )
            )


def builder_of(builders: dict[str, ReadingBatchBuilder], arena: Arena) -> ReadingBatchBuilder:
    """Where readings of twins of this arena are collected."""
    found = builders.get(arena.type.id)
    if found is None:
        found = builders[arena.type.id] = ReadingBatchBuilder(len(arena.type.channels))
    return found


def add_readings(builder: ReadingBatchBuilder, place: Place, record: LogRecord, telemetry: Telemetry, out: Tally) -> None:
    unknown: list[str] = []
    not_numbers: list[str] = []
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
        unknown = _faulty(record, repr(telemetry.asset), place.faults, unknown, out)
    for name in unknown:
        cells = telemetry.channels[name]
        numbers_came = sum(number(cell) is not None for cell in ([cells] if isinstance(telemetry.time_ns, int) else cells))
        if numbers_came:
            out.strange[telemetry.asset, name] += numbers_came
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


def home_of(homes: Homes, asset: str, place: Place, partition: int) -> int:
    """The partition that an asset's readings are taken from: its claimed home, and where its twin is."""
    home = homes.of(asset)
    return place.partition if home is None or home == partition else home


def elsewhere(record: LogRecord, assets: list[str], home: int) -> Refused:
    what = f"{len(assets)} {'asset' if len(assets) == 1 else 'assets'} ({listed(assets)})"
    return Refused(
        record,
        "partition",
        f"{what} came on partition {record.partition}, {'its twin lives' if len(assets) == 1 else 'their twins live'} on {home}; "
        "key records by asset id, and records of many assets so that an asset always comes on one partition; kept in dead-letter",
    )


def _coded(column: Any, words: Mapping[str, float]) -> Any:
    """Words of an enumeration as their numbers; other words stay, and are refused."""
    if isinstance(column, np.ndarray):
        return column
    return [words.get(cell, cell) if isinstance(cell, str) else cell for cell in column]


def _faulty(record: LogRecord, named: str, faults: Mapping[str, str], unknown: list[str], out: Tally) -> list[str]:
    """Refuse what comes for channels whose unit can't be converted; which of `unknown` are really not known."""
    found = [faults[name] for name in sorted(unknown) if name in faults]
    if found:
        out.refused.append(Refused(record, "unit", f"{named}: {'; '.join(found)}; the rest of the record was used"))
    return [name for name in unknown if name not in faults]


def shortened(cell: object) -> str:
    return orjson.dumps(cell, default=str)[:60].decode("utf-8", "replace") if cell is not None else "null"

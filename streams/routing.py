"""From tables of many assets to the columns that each type's arena folds.

In:   tables whose assets all have twins here.
Out:  values in a `ReadingBatchBuilder` a type; refusals of what has no place there. Readings are never looped over; assets only
      when a table of just these comes for the first time, as sources send the same ones with every record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.batching import (
    Place,
    Tally,
    builder_of,
    home_of,
    note_strange,
    refuse_faulty,
    refuse_stated,
    refuse_strays,
    wanted_units,
)
from streams.formats.readings import TelemetryTable
from streams.homes import Homes
from streams.log_record import LogRecord
from streams.refusals import Refused, listed
from streams.stated_units import converted
from twin.arena import Arena
from twin.reading import ReadingBatchBuilder

_MOST_KEPT = 100_000  # assets, over all routes


@dataclass(frozen=True, slots=True)
class Share:
    """Assets of a table whose readings go into one arena, and the channels that they take."""

    arena: Arena
    assets: tuple[str, ...]
    mine: NDArray[np.bool_] | None  # (K,) which of the table's assets; None: all of them
    channels: Mapping[str, int]
    faults: Mapping[str, str]
    units: Mapping[str, str]  # that their sources are declared to send, where these are not the type's


@dataclass(frozen=True, slots=True)
class Route:
    """Where the readings of a table's K assets go. Holds for all tables of these assets, until a twin comes, goes or moves."""

    row: NDArray[np.int64]  # (K,) in the arena of each
    shares: tuple[Share, ...]
    strays: Mapping[int, list[str]]  # home → assets that are not taken from this partition

    @staticmethod
    def of(assets: tuple[str, ...], places_of: Mapping[str, Place], homes: Homes, partition: int) -> Route:
        places = [places_of[asset] for asset in assets]
        alike: dict[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]], list[int]] = {}  # by type, faults, units
        strays: dict[int, list[str]] = {}
        for position, place in enumerate(places):
            home = home_of(homes, assets[position], place, partition)
            if home == partition:
                units = tuple(sorted(place.units.items()))
                alike.setdefault((place.arena.type.id, tuple(place.faults), units), []).append(position)
            else:
                strays.setdefault(home, []).append(assets[position])
        shares = []
        for positions in alike.values():
            mine = np.zeros(len(places), np.bool_)
            mine[positions] = True
            first = places[positions[0]]
            named = tuple(assets[one] for one in positions)
            of_all = None if mine.all() else mine
            shares.append(Share(first.arena, named, of_all, first.channels, first.faults, first.units))
        return Route(np.array([place.row for place in places], np.int64), tuple(shares), strays)


class Routes:
    """The routes of the tables that came lately. Whoever changes `places_of`, or a home of an asset there, calls `clear`."""

    def __init__(self, places_of: Mapping[str, Place]) -> None:
        self._places_of = places_of
        self._routes: dict[tuple[int, tuple[str, ...]], Route] = {}
        self._kept = 0

    def clear(self) -> None:
        self._routes.clear()
        self._kept = 0

    def strangers(self, partition: int, assets: tuple[str, ...]) -> set[str]:
        """Those that have no twin here."""
        return set() if (partition, assets) in self._routes else {asset for asset in assets if asset not in self._places_of}

    def of(self, partition: int, assets: tuple[str, ...], homes: Homes) -> Route:
        """Where the readings of these assets go, all of which have a twin here."""
        found = self._routes.get((partition, assets))
        if found is None:
            if self._kept + len(assets) > _MOST_KEPT:
                self.clear()
            self._kept += len(assets)
            found = self._routes[partition, assets] = Route.of(assets, self._places_of, homes, partition)
        return found


def add_table(
    route: Route, builders: dict[str, ReadingBatchBuilder], record: LogRecord, table: TelemetryTable, out: Tally
) -> None:
    """Loops over types and channels; never over readings."""
    for partition, assets in route.strays.items():
        refuse_strays(record, assets, partition, out)
    for share in route.shares:
        rows, time_ns, channels = route.row[table.code], table.time_ns, table.channels
        if share.mine is not None:
            at = np.flatnonzero(share.mine[table.code])
            rows, time_ns, channels = rows[at], time_ns[at], {name: values[at] for name, values in channels.items()}
        if table.units:
            wanted = wanted_units(share.arena.type, share.channels, share.units)
            channels, faults = converted(channels, table.units, wanted)
            refuse_stated(record, listed(share.assets), faults, out)
        columns = {index: channels[name] for name, index in share.channels.items() if name in channels}
        builder_of(builders, share.arena).add_table(rows, time_ns, columns, record.offset, record.timestamp * 1_000_000)
        unknown = [name for name in channels.keys() - share.channels.keys() if not np.isnan(channels[name]).all()]
        if unknown:
            _refuse_channels(share, record, table, unknown, out)


def _refuse_channels(share: Share, record: LogRecord, table: TelemetryTable, unknown: list[str], out: Tally) -> None:
    named = listed(share.assets)
    if share.faults:
        unknown = refuse_faulty(record, named, share.faults, unknown, out)
    for name in unknown:
        count = np.bincount(table.code[~np.isnan(table.channels[name])], minlength=len(table.assets))
        came = dict(zip(table.assets, count.tolist(), strict=True))
        for asset in share.assets:
            if came[asset]:
                note_strange(out, asset, name, came[asset], table.units)
    if unknown:
        found = f"{named} have no channel {listed(sorted(unknown))}"
        out.refused.append(
            Refused(
                record,
                "unknown-channel",
                f"{found}, expected among: {', '.join(share.channels)}; the rest of the record was used",
            )
        )

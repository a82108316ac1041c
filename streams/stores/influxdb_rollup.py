"""Downsampling: hours of event time that are over, summed up into the hourly bucket by the server itself.

In:   which steps were written.
Out:  a point an hour and twin in a measurement of the same name: `<channel>`, `<channel>__expected`, `<channel>__spread` are
      means, `<channel>__low` and `__high` extremes, `risk` and `score` the highest. The point's time is the begin of the hour.

InfluxDB's own tasks run by the wall clock and look at its last hours; a plant that is simulated, replayed or catches up is not
there. So the historian runs the script, by event time. An hour into which steps come late is summed up again: the same point.

Which hours are due is kept in the records, so that it outlives whoever wrote the steps: measurement `hours`, tag `measurement`,
at the begin of the hour; fields `due`, when steps were last known to be missing in its sum, and `done`, when its newest sum was
begun (wall clock, ms). An hour is marked after its steps are in and before their offsets are committed, so a crash between the
two repeats both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from streams.history import HistoryBlock
from streams.stores.influxdb_catalog import TypeFields
from streams.stores.influxdb_limits import ends
from streams.stores.influxdb_lines import KINDS, line, original
from streams.stores.influxdb_server import InfluxDb, PointsRefused, identifier, rfc3339
from streams.stores.influxdb_setup import Buckets

log = logging.getLogger(__name__)
HOUR_NS = 3_600_000_000_000
_AT_ONCE_H = 7 * 24  # a shard
_FIELDS_AT_ONCE = 150
_LOOK_EVERY_S = 3600.0  # for hours that another historian left behind
_CLOCKS_APART_MS = 300_000  # of two historians: an hour that was summed up about when it was marked is summed up again


class Rollup:
    """Which hours have to be summed up. Any thread may call."""

    def __init__(self) -> None:
        self._due: dict[str, set[int]] = {}  # measurement → hours since 1970
        self._guard = threading.Lock()
        self._look_at = 0.0

    def marks(self, written: Sequence[tuple[HistoryBlock, str]]) -> tuple[dict[str, set[int]], list[bytes]]:
        """Hours, by measurement, of blocks that are in the store and are not known to be due; lines that say that they are."""
        new: dict[str, set[int]] = {}
        for block, measurement in written:
            new.setdefault(measurement, set()).update(np.unique(block.time_ns // HOUR_NS).tolist())
        with self._guard:
            new = {measurement: hours - self._due.get(measurement, set()) for measurement, hours in new.items()}
        return new, [marked for measurement, hours in new.items() for marked in _lines(measurement, "due", hours, _now_ms())]

    def touch(self, hours: dict[str, set[int]]) -> None:
        """The lines of these are in."""
        with self._guard:
            for measurement, found in hours.items():
                self._due.setdefault(measurement, set()).update(found)

    def run(self, server: InfluxDb, buckets: Buckets, types: Sequence[TypeFields]) -> int:
        """Sum up hours that the newest step of their type has passed; how many hours of types that were.

        Raises:
            StoreUnavailable, StoreRefused: what is left is taken up at the next call.
        """
        if time.monotonic() >= self._look_at:
            self._look(server, buckets)
            self._look_at = time.monotonic() + _LOOK_EVERY_S
        return sum(self._sum_up_due(server, buckets, known) for known in types)

    def _look(self, server: InfluxDb, buckets: Buckets) -> None:
        source = ".".join(map(identifier, (buckets.database, "records", "hours")))
        found = server.query(buckets.database, f'SELECT "due", "done" FROM {source} GROUP BY "measurement"')[0]
        for rows in found:
            table = zip(rows.column("time"), rows.column("due"), rows.column("done"), strict=True)
            left = {at // HOUR_NS for at, due, done in table if due and due >= (done or 0) - _CLOCKS_APART_MS}
            self.touch({original(rows.tags["measurement"]): left})

    def _sum_up_due(self, server: InfluxDb, buckets: Buckets, known: TypeFields) -> int:
        with self._guard:
            due = set(self._due.get(known.measurement, ()))
        kept = ends(server, buckets, known) if due else None
        if kept is None:
            return 0
        over = sorted(hour for hour in due if hour < kept[1] // HOUR_NS)
        for first, last in _runs(over):
            hours = set(range(first, last + 1))
            began_ms = _now_ms()
            with self._guard:
                self._due[known.measurement] -= hours  # what is written from here on makes its hour due again
            try:
                self._sum_up(server, buckets, known, first * HOUR_NS, (last + 1) * HOUR_NS)
                server.write(buckets.records, [b"\n".join(_lines(known.measurement, "done", hours, began_ms))])
            except PointsRefused as error:
                log.warning("hours-not-summed-up type=%s error=%s", known.type, error)
            except BaseException:
                self.touch({known.measurement: hours})
                raise
        return len(over)

    def _sum_up(self, server: InfluxDb, buckets: Buckets, known: TypeFields, from_ns: int, to_ns: int) -> None:
        keys = list(known.keys.values())
        for nth in range(0, max(1, len(keys)), _FIELDS_AT_ONCE):
            server.flux(flux(buckets, known.measurement, keys[nth : nth + _FIELDS_AT_ONCE], from_ns, to_ns))


def _runs(hours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of hours that follow each other, a week at most.

    >>> list(_runs([1, 2, 3, 7]))
    [(1, 3), (7, 7)]
    """
    first = last = None
    for hour in hours:
        if first is None or last is None:
            first = last = hour
        elif hour == last + 1 and hour - first < _AT_ONCE_H:
            last = hour
        else:
            yield first, last
            first = last = hour
    if first is not None and last is not None:
        yield first, last


def _lines(measurement: str, field: str, hours: set[int], wall_ms: int) -> list[bytes]:
    return [line("hours", {"measurement": measurement}, {field: wall_ms}, hour * HOUR_NS) for hour in sorted(hours)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def flux(buckets: Buckets, measurement: str, keys: Sequence[str], from_ns: int, to_ns: int) -> str:
    """The script that sums up hours of some channels of one measurement."""
    period = f"range(start: {rfc3339(from_ns)}, stop: {rfc3339(to_ns)})"
    source = f"from(bucket: {_text(buckets.steps)}) |> {period} |> filter(fn: (r) => r._measurement == {_text(measurement)})"
    means = [key + suffix for suffix in KINDS for key in keys]
    parts = [("mean", means, ""), ("min", list(keys), "__low"), ("max", list(keys), "__high"), ("max", ["risk", "score"], "")]
    scripts = []
    for nth, (summary, fields, suffix) in enumerate(parts):
        if not fields:
            continue
        wanted = " or ".join(f"r._field == {_text(field)}" for field in fields)
        named = f" |> map(fn: (r) => ({{r with _field: r._field + {_text(suffix)}}}))" if suffix else ""
        scripts.append(
            f"{source} |> filter(fn: (r) => {wanted})"
            f' |> aggregateWindow(every: 1h, fn: {summary}, createEmpty: false, timeSrc: "_start"){named}'
            f' |> to(bucket: {_text(buckets.hourly)}) |> limit(n: 1) |> keep(columns: ["_measurement"]) |> yield(name: "{nth}")'
        )
    return "\n".join(scripts)


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'

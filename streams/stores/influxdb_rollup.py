"""Downsampling: hours of event time that are over, summed up into the hourly bucket by the server itself.

In:   which steps were written since the last time.
Out:  a point an hour and twin in a measurement of the same name: `<channel>`, `<channel>__expected`, `<channel>__spread` are
      means, `<channel>__low` and `__high` extremes, `risk` and `score` the highest. The point's time is the begin of the hour.

InfluxDB's own tasks run by the wall clock and look at its last hours; a plant that is simulated, replayed or catches up is not
there. So the historian runs the script, by event time. An hour into which steps come late is summed up again: the same point.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from streams.history import HistoryBlock
from streams.stores.influxdb_catalog import TypeFields
from streams.stores.influxdb_limits import ends
from streams.stores.influxdb_lines import KINDS
from streams.stores.influxdb_server import InfluxDb, PointsRefused, rfc3339
from streams.stores.influxdb_setup import Buckets

log = logging.getLogger(__name__)
HOUR_NS = 3_600_000_000_000
_AT_ONCE_NS = 7 * 24 * HOUR_NS  # a shard
_AGAIN_NS = 24 * HOUR_NS  # summed up again after a start: what the historian before this one may not have come to
_FIELDS_AT_ONCE = 150


class Rollup:
    """Which hours have to be summed up, in memory."""

    def __init__(self) -> None:
        self._from_ns: dict[str, int] = {}  # type → earliest step that no hour has taken in
        self._seen: set[str] = set()
        self._guard = threading.Lock()

    def touch(self, blocks: Sequence[HistoryBlock]) -> None:
        """These were written."""
        with self._guard:
            for block in blocks:
                earliest = int(block.time_ns.min())
                if block.type not in self._seen:
                    self._seen.add(block.type)
                    earliest -= _AGAIN_NS
                self._from_ns[block.type] = min(earliest, self._from_ns.get(block.type, earliest))

    def run(self, server: InfluxDb, buckets: Buckets, types: Sequence[TypeFields]) -> int:
        """Sum up hours that the newest step of their type has passed; how many hours of types that were.

        Raises:
            StoreUnavailable, StoreRefused: what is left is taken up at the next call.
        """
        hours = 0
        for known in types:
            with self._guard:
                from_ns = self._from_ns.get(known.type)
            kept = ends(server, buckets, known) if from_ns is not None else None
            if from_ns is None or kept is None:
                continue
            until_ns = kept[1] // HOUR_NS * HOUR_NS
            start_ns = max(from_ns, kept[0]) // HOUR_NS * HOUR_NS
            if start_ns >= until_ns:
                continue
            with self._guard:
                self._from_ns[known.type] = until_ns  # what is written from here on moves it back again
            try:
                self._sum_up(server, buckets, known, start_ns, until_ns)
            except PointsRefused as error:
                log.warning("hours-not-summed-up type=%s error=%s", known.type, error)
            except BaseException:
                with self._guard:
                    self._from_ns[known.type] = min(from_ns, self._from_ns[known.type])
                raise
            hours += (until_ns - start_ns) // HOUR_NS
        return hours

    def _sum_up(self, server: InfluxDb, buckets: Buckets, known: TypeFields, start_ns: int, until_ns: int) -> None:
        keys = list(known.keys.values())
        for at_ns in range(start_ns, until_ns, _AT_ONCE_NS):
            to_ns = min(at_ns + _AT_ONCE_NS, until_ns)
            for nth in range(0, max(1, len(keys)), _FIELDS_AT_ONCE):
                server.flux(flux(buckets, known.measurement, keys[nth : nth + _FIELDS_AT_ONCE], at_ns, to_ns))


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

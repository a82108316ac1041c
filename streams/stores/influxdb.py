"""`InfluxDbStore`: history, alerts and swaps in InfluxDB 2, for many historians, many readers and Grafana.

The schema is in docs/influxdb.md. Nothing is asked of the server before the first call, so a server that is away at the start is
waited for like one that goes away later. Any thread may call; writes take turns.

A write that has returned is in the server's write-ahead log. One that failed may be in part: the same steps written again are the
same points. A read sees a step wholly or not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence

from streams.alarm_rates import AlarmRate
from streams.history import HistoryBlock
from streams.lag import RoleLag
from streams.model_records import Serving
from streams.records import Alert
from streams.stores import influxdb_limits, influxdb_records, influxdb_setup, influxdb_steps
from streams.stores.fencing import EpochFence, Fence
from streams.stores.influxdb_catalog import Catalog, TypeFields
from streams.stores.influxdb_lines import LINES_A_REQUEST, line, plain, step_bodies, together
from streams.stores.influxdb_rollup import Rollup
from streams.stores.influxdb_server import InfluxDb, Rows, identifier, literal, one_of
from streams.stores.influxdb_setup import Buckets
from streams.stores.newest import one_an_asset
from streams.stores.port import StoreRefused, StoreUnavailable, TwinHistory, TwinSnapshot
from streams.stores.successive import allot, joined, stretches

log = logging.getLogger(__name__)
SCHEMA = 1
FIRST_NS, LAST_NS = -(2**63) + 2, 2**63 - 2  # times that InfluxDB knows
_CATALOG_FOR_S = 2.0  # a type or channel that another process writes shows after that
_DAY_NS = 86_400_000_000_000
_MOST_NAMED = 200  # assets in one condition; of more, all are read
_ALERTS_A_PAGE = 2000


class InfluxDbStore:
    """A `TwinStore` in the buckets `database`, `database_hourly` and `database_records` of one organisation."""

    def __init__(self, url: str, *, token: str, org: str = "livetwin", bucket: str = "livetwin") -> None:
        self.buckets = Buckets(bucket)
        self._server = InfluxDb(url, token=token, org=org)
        self._writing = threading.Lock()  # one writer at a time
        self._guard = threading.RLock()  # the catalog, and whether the server is known to be ours
        self._catalog = Catalog()
        self._catalog_until = 0.0
        self._fence = EpochFence()
        self._rollup = Rollup()
        self._found = False
        self._closed = False

    # ── writes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def write_history(self, blocks: Sequence[HistoryBlock]) -> None:
        """Raises PointsRefused, beside what the port says, for steps that the server can't take as they are."""
        with self._writing:
            self._ready()
            self._fence.learn(self._kept_fences({block.log for block in blocks}))
            try:
                admitted = [block for block in blocks if self._fence.admit(block) and len(block)]
                changed = self._fence.changed()
                new = self._learn(admitted)
                if changed or new:
                    self._server.write(self.buckets.records, [b"\n".join([*map(influxdb_records.fence_line, changed), *new])])
                joined = [(block, self._catalog.types[block.type]) for block in together(admitted)]
                for block, known in joined:
                    self._server.write(self.buckets.steps, step_bodies(block, known.measurement, known.keys))
                hours, marks = self._rollup.marks([(block, known.measurement) for block, known in joined])
                if marks:
                    self._server.write(self.buckets.records, [b"\n".join(marks)])
            except BaseException:
                self._fence.undo()
                self._catalog_until = 0.0  # what is new may not be in
                raise
            self._fence.kept(changed)
            self._rollup.touch(hours)

    def _learn(self, blocks: Sequence[HistoryBlock]) -> list[bytes]:
        with self._guard:
            known = all(
                block.type in self._catalog.types and set(block.channels) <= self._catalog.types[block.type].keys.keys()
                for block in blocks
            )
            if known:
                return []
            self._load_catalog()  # another historian may have named them
            return self._catalog.learn(blocks)

    def _kept_fences(self, logs: set[str]) -> list[Fence]:
        if not logs:
            return []
        asked = influxdb_records.fences_asked(self._from("records", "epochs"), logs)
        return influxdb_records.fences(self._ask(asked)[0])

    def write_alerts(self, alerts: Sequence[Alert]) -> None:
        self._write_lines([influxdb_records.alert_line(alert) for alert in alerts])

    def write_swaps(self, swaps: Sequence[Serving]) -> None:
        self._write_lines([line for swap in swaps for line in influxdb_records.swap_lines(swap)])

    def write_alarm_rates(self, rates: Sequence[AlarmRate]) -> None:
        self._write_lines([influxdb_records.alarm_rate_line(rate) for rate in rates])

    def write_lag(self, lags: Sequence[RoleLag], *, wall_ns: int) -> None:
        self._write_lines(influxdb_records.lag_lines(lags, wall_ns))

    def _write_lines(self, lines: Sequence[bytes]) -> None:
        with self._writing:
            self._ready()
            bodies = [lines[start : start + LINES_A_REQUEST] for start in range(0, len(lines), LINES_A_REQUEST)]
            self._server.write(self.buckets.records, [b"\n".join(body) for body in bodies])

    # ── reads ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def latest(self, assets: Sequence[str] | None = None) -> list[TwinSnapshot]:
        return self.at(LAST_NS, assets)

    def at(self, time_ns: int, assets: Sequence[str] | None = None) -> list[TwinSnapshot]:
        time_ns = min(time_ns, LAST_NS)
        found: list[TwinSnapshot] = []
        for known in self._types():
            found += self._steps_at(known, time_ns, assets)
        return one_an_asset(found)

    def _steps_at(self, known: TypeFields, time_ns: int, assets: Sequence[str] | None) -> list[TwinSnapshot]:
        """The last whole step of each twin of one type; looks back further than a day only for those not found there."""
        source = self._from("steps", known.measurement)
        newest, names = self._ask(
            f'SELECT last("fields") FROM {source} WHERE time >= {FIRST_NS} AND time <= {time_ns}',
            f'SHOW TAG VALUES FROM {identifier(known.measurement)} WITH KEY = "asset"',
        )
        if not newest:
            return []
        missing = {name for rows in names for name in rows.column("value")}
        if assets is not None:
            missing &= set(map(plain, assets))
        found = []
        day_before = max(FIRST_NS, newest[0].column("time")[0] - _DAY_NS)
        channels = list(known.keys)
        for from_ns in (day_before, FIRST_NS):
            if not missing:
                break
            named = f" AND {one_of('asset', sorted(missing))}" if len(missing) <= _MOST_NAMED else ""
            # two: the last one may be just being written
            asked = (
                f"SELECT {influxdb_steps.columns(list(known.keys.values()))} FROM {source} WHERE time >= {from_ns} "
                f'AND time <= {time_ns}{named} GROUP BY "asset" ORDER BY time DESC LIMIT 2'
            )
            for rows in self._ask(asked)[0]:
                steps = influxdb_steps.steps(rows, known, channels)
                if len(steps.time_ns) and rows.tags["asset"] in missing:
                    missing.discard(rows.tags["asset"])
                    found.append(influxdb_steps.snapshot(steps, 0, rows.tags["asset"], known.type))
        return found

    def history(self, asset: str, *, channels: Sequence[str] | None, from_ns: int, to_ns: int, points: int) -> TwinHistory:
        if points < 1:
            raise ValueError(f"history of {asset} not read: points is {points}, expected at least 1")
        types = {known.measurement: known for known in self._types()}
        spans = [(types[name], first, last) for name, (first, last) in self._spans(asset).items() if name in types]
        found: list[tuple[str, influxdb_steps.Steps, int, int]] = []
        for known, begin, end in stretches(spans, from_ns, to_ns):
            names = [channel for channel in known.keys if channels is None or channel in channels]
            asked = influxdb_steps.select(self._from("steps", known.measurement), known, names, asset, begin, end)
            found += [(known.type, influxdb_steps.steps(rows, known, names), begin, end) for rows in self._ask(asked)[0]]
        shares = allot([end - begin for *_, begin, end in found], [len(steps.time_ns) for _, steps, *_ in found], points)
        parts = [
            (of, influxdb_steps.downsampled(asset, steps, from_ns=begin, to_ns=end, points=share))
            for (of, steps, begin, end), share in zip(found, shares, strict=True)
            if share
        ]
        return joined(asset, parts)

    def span(self, asset: str) -> tuple[int, int] | None:
        spans = list(self._spans(asset).values())
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def _spans(self, asset: str) -> dict[str, tuple[int, int]]:
        """First and last event time of one asset in each measurement that has it."""
        where = f'WHERE "asset" = {literal(plain(asset))} AND time >= {FIRST_NS} AND time <= {LAST_NS}'
        source = f"{identifier(self.buckets.database)}.{identifier('steps')}./.+/"
        ends = self._ask(*(f'SELECT {which}("fields") FROM {source} {where}' for which in ("first", "last")))
        first, last = ({rows.name: rows.column("time")[0] for rows in end} for end in ends)
        return {name: (first[name], last[name]) for name in first.keys() & last.keys()}

    def alerts(
        self, *, asset: str | None = None, from_ns: int | None = None, to_ns: int | None = None, limit: int = 1000
    ) -> list[Alert]:
        wanted = "" if asset is None else f' AND "asset" = {literal(plain(asset))}'
        until = LAST_NS if to_ns is None else min(LAST_NS, influxdb_records.alert_time_ns(to_ns) + influxdb_records.NS_PER_MS)
        found: dict[str, Alert] = {}
        offset = 0
        while True:
            rows = self._ask(
                f'SELECT "record" FROM {self._from("records", "alerts")} WHERE time >= {FIRST_NS} AND time <= {until}{wanted} '
                f"ORDER BY time DESC LIMIT {_ALERTS_A_PAGE} OFFSET {offset}"
            )[0]
            records = rows[0].column("record") if rows else []
            influxdb_records.newest_alerts(records, found)
            matching = [
                alert
                for alert in found.values()
                if (to_ns is None or alert.onset_ns < to_ns)
                and (from_ns is None or alert.cleared_ns is None or alert.cleared_ns >= from_ns)
            ]
            if len(records) < _ALERTS_A_PAGE or len(matching) > limit:  # one more: of that one all revisions may not be read
                return sorted(matching, key=lambda alert: (-alert.onset_ns, alert.id))[:limit]
            offset += _ALERTS_A_PAGE

    def swaps(self, *, name: str | None = None) -> list[Serving]:
        wanted = "" if name is None else f' AND "model" = {literal(plain(name))}'
        rows = self._ask(
            f'SELECT "record" FROM {self._from("records", "swaps")} WHERE time >= {FIRST_NS} AND time <= {LAST_NS}{wanted}'
        )[0]
        return influxdb_records.newest_swaps(rows[0].column("record") if rows else [])

    # ── limits and life ─────────────────────────────────────────────────────────────────────────────────────────────

    def enforce_limits(self, *, max_age_ns: int, max_bytes: int) -> Mapping[str, int]:
        """By age only: InfluxDB frees disk when it compacts, so a size can't be held from here; `max_bytes` is not heeded.

        Hours that are over are summed up into the hourly bucket first.
        """
        self._ready()
        types = self._types()
        self._rollup.run(self._server, self.buckets, types)
        return influxdb_limits.enforce(self._server, self.buckets, types, max_age_ns=max_age_ns)

    def size_bytes(self) -> int:
        """Raises StoreUnavailable also where the server does not tell its sizes (INFLUXD_METRICS_DISABLED)."""
        self._ready()
        found = influxdb_setup.bucket_bytes(self._server, self.buckets)
        if found is None:
            raise StoreUnavailable(f"{self._server.url}/metrics tells no sizes; the size of the store is not known")
        return found

    def close(self) -> None:
        """Wait for the writer, let go of connections. Later calls raise StoreUnavailable."""
        with self._writing, self._guard:
            if not self._closed:
                self._closed = True
                self._server.close()

    # ── the server ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _ready(self) -> None:
        """The first time: an InfluxDB 2 with our buckets, created where they are missing and may be, and our schema."""
        with self._guard:
            if self._closed:
                raise StoreUnavailable(f"store {self._server.url} is closed; nothing was read or written")
            if self._found:
                return
            influxdb_setup.check_version(self._server)
            created = influxdb_setup.set_up(self._server, self.buckets)
            if created:
                log.info("influxdb-set-up created=%s", ", ".join(created))
            self._check_schema()
            self._found = True

    def _check_schema(self) -> None:
        rows = self._server.query(self.buckets.database, f'SELECT "schema" FROM {self._from("records", "livetwin")}')[0]
        found = rows[0].column("schema")[-1] if rows else None
        if found is None:
            self._server.write(self.buckets.records, [line("livetwin", {}, {"schema": SCHEMA}, 0)])
        elif found != SCHEMA:
            raise StoreRefused(
                f"{self._server.url}, bucket {self.buckets.records!r}: found schema {found}, expected livetwin's schema "
                f"{SCHEMA}; nothing was read or written. Use the livetwin that wrote it, or another LIVETWIN_INFLUXDB_BUCKET"
            )

    def _ask(self, *statements: str) -> list[list[Rows]]:
        self._ready()
        return self._server.query(self.buckets.database, *statements)

    def _from(self, policy: str, name: str) -> str:
        return ".".join(map(identifier, (self.buckets.database, policy, name)))

    def _types(self) -> list[TypeFields]:
        """The catalog, at most _CATALOG_FOR_S old."""
        with self._guard:
            self._ready()
            if time.monotonic() >= self._catalog_until:
                self._load_catalog()
            return [TypeFields(known.type, known.measurement, dict(known.keys)) for known in self._catalog.types.values()]

    def _load_catalog(self) -> None:
        types, channels = self._ask(
            f'SELECT "type" FROM {self._from("records", "types")} GROUP BY "measurement"',
            f'SELECT "key", "position" FROM {self._from("records", "channels")} GROUP BY "measurement", "channel"',
        )
        self._catalog = Catalog(types, channels)
        self._catalog_until = time.monotonic() + _CATALOG_FOR_S

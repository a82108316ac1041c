"""Alerts, swaps, alarm rates, fences in an InfluxDB store: points that never change, so that the newest can be told in any order.

    measurement  tags                    time                                         fields
    alerts       asset, type, condition  onset, whole ms, plus the revision in ns     id, revision, severity, state, …, record
    swaps        model, partition        wall clock of the newest switch              epoch, version, canary, share, record
    switches     model, partition        event time of the newest switch              version, canary, share, offset
    epochs       log, partition          timestamp of the newest record               epoch, written_ms
    alarm_rates  model, partition        event time up to which is counted            version, week_alarms, week_expected, …
    lag          role, topic             wall clock                                   records, members

Each revision of an alert is a point of its own: an older one that comes late changes nothing, and the last point of a series is
the newest revision of its newest alert.
In:   records.
Out:  lines; records from rows.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.alarm_rates import AlarmRate
from streams.lag import RoleLag
from streams.model_records import Serving
from streams.records import Alert, alert_id
from streams.stores.fencing import Fence
from streams.stores.influxdb_catalog import measurement_of
from streams.stores.influxdb_lines import line, original, plain
from streams.stores.influxdb_server import Rows, one_of

NS_PER_MS = 1_000_000


def alert_tags(alert: Alert) -> dict[str, str]:
    tags = {"asset": alert.asset, "type": measurement_of(alert.type), "condition": alert.condition}
    if alert.id != alert_id(alert.asset, alert.condition, alert.onset_ns):
        tags["id"] = alert.id  # not livetwin's own: another alert may have the same onset
    return tags


def alert_line(alert: Alert) -> bytes:
    tags = alert_tags(alert)
    first = alert.evidence.channels[0] if alert.evidence.channels else None
    told: dict[str, str | float | int | bool | None] = {
        "id": None if "id" in tags else alert.id,
        "revision": alert.revision,
        "severity": alert.severity,
        "state": alert.state,
        "active": alert.state == "active",
        "acknowledged": alert.acknowledged,
        "false_alarm": alert.false_alarm,
        "onset_ms": alert.onset_ns // NS_PER_MS,
        "cleared_ms": None if alert.cleared_ns is None else alert.cleared_ns // NS_PER_MS,
        "risk": float(alert.risk),
        "channel": first.name if first else None,
        "seen": first.seen if first else None,
        "expected": first.expected if first else None,
        "version": alert.evidence.model_version or "",
        "record": alert.to_bytes().decode(),
    }
    return line("alerts", tags, told, alert_time_ns(alert.onset_ns) + min(alert.revision, NS_PER_MS - 1))


def alert_time_ns(onset_ns: int) -> int:
    """Where the revisions of an alert begin: its onset, cut to whole milliseconds."""
    return onset_ns // NS_PER_MS * NS_PER_MS


def newest_alerts(rows: Iterable[str], into: dict[str, Alert]) -> None:
    """Take in records; of each alert the highest revision stays."""
    for record in rows:
        alert = Alert.model_validate_json(record)
        if alert.id not in into or alert.revision > into[alert.id].revision:
            into[alert.id] = alert


def swap_lines(swap: Serving) -> list[bytes]:
    """The record at the wall clock of its newest switch; beside it that switch where its partition was in event time."""
    tags = {"model": swap.name, "partition": str(swap.partition)}
    newest = swap.switches[-1] if swap.switches else None
    canary = newest.canary if newest else None
    fields: dict[str, str | float | int | bool | None]
    fields = {
        "version": newest.version if newest else "",
        "canary": canary.version if canary else "",
        "share": canary.share if canary else 0.0,
    }
    lines = [line("swaps", tags, fields | {"epoch": swap.epoch, "record": swap.to_bytes().decode()}, swap.time_ns)]
    if newest is not None and newest.event_ns is not None:
        lines.append(line("switches", tags, fields | {"offset": newest.offset}, newest.event_ns))
    return lines


def alarm_rate_line(rate: AlarmRate) -> bytes:
    """The target is told in alarms, so that partitions can be summed before one is divided by the other."""
    fields: dict[str, str | float | int | bool | None] = {
        "version": rate.version,
        "epoch": rate.epoch,
        "target": float(rate.target),
        "week_alarms": rate.week.alarms,
        "week_expected": float(rate.week.expected),
        "version_alarms": rate.since_version.alarms,
        "version_expected": float(rate.since_version.expected),
    }
    return line("alarm_rates", {"model": rate.model, "partition": str(rate.partition)}, fields, rate.time_ns)


def lag_lines(lags: Sequence[RoleLag], wall_ns: int) -> list[bytes]:
    return [
        line("lag", {"role": lag.role, "topic": topic}, {"records": records, "members": lag.members}, wall_ns)
        for lag in lags
        for topic, records in lag.records.items()
    ]


def newest_swaps(records: Iterable[str]) -> list[Serving]:
    """Of each model, partition and epoch the newest, by time."""
    newest: dict[tuple[str, int, int], Serving] = {}
    for record in records:
        swap = Serving.model_validate_json(record)
        known = newest.get((swap.name, swap.partition, swap.epoch))
        if known is None or swap.time_ns >= known.time_ns:
            newest[swap.name, swap.partition, swap.epoch] = swap
    return sorted(newest.values(), key=lambda swap: (swap.time_ns, swap.name, swap.partition, swap.epoch))


def fence_line(fence: Fence) -> bytes:
    tags = {"log": fence.log, "partition": str(fence.partition)}
    return line("epochs", tags, {"epoch": fence.epoch, "written_ms": fence.written_ms}, fence.written_ms * NS_PER_MS)


def fences_asked(source: str, logs: Iterable[str]) -> str:
    """The newest of each partition of these logs."""
    wanted = one_of("log", sorted(map(plain, logs)))
    return f'SELECT "epoch", "written_ms" FROM {source} WHERE {wanted} GROUP BY "log", "partition" ORDER BY time DESC LIMIT 1'


def fences(found: Sequence[Rows]) -> list[Fence]:
    """From rows grouped by log and partition, the last of each by time."""
    return [
        Fence(original(rows.tags["log"]), int(rows.tags["partition"]), rows.column("epoch")[-1], rows.column("written_ms")[-1])
        for rows in found
    ]

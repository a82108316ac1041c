"""How much an InfluxDB store keeps: steps past an age go, and alarm rates and alerts cleared before them.

InfluxDB drops whole shards by the wall clock, or marks rows as deleted and frees them when it compacts; livetwin asks for the
second, as the age of a step counts from the newest step of its type. Hours in the hourly bucket stay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from streams.records import Alert
from streams.stores import influxdb_records
from streams.stores.influxdb_catalog import TypeFields
from streams.stores.influxdb_lines import plain
from streams.stores.influxdb_server import InfluxDb, identifier
from streams.stores.influxdb_setup import Buckets

log = logging.getLogger(__name__)
_DAY_NS = 86_400_000_000_000
_LAG_KEPT_NS = 7 * _DAY_NS
_WORTH_DELETING = 0.01  # of the age: a delete a minute would leave InfluxDB with as many marks


def ends(server: InfluxDb, buckets: Buckets, known: TypeFields) -> tuple[int, int] | None:
    """First and last event time kept of a type."""
    source = f"{identifier(buckets.database)}.{identifier('steps')}.{identifier(known.measurement)}"
    answers = server.query(buckets.database, *(f'SELECT {which}("fields") FROM {source}' for which in ("first", "last")))
    if not all(answers):
        return None
    return answers[0][0].column("time")[0], answers[1][0].column("time")[0]


def enforce(server: InfluxDb, buckets: Buckets, types: Sequence[TypeFields], *, max_age_ns: int) -> dict[str, int]:
    """Delete steps older than `max_age_ns` against the newest of their type, once that is worth it; what went."""
    _drop_old_lag(server, buckets)
    dropped = {"steps": 0, "alerts": 0}
    cuts = []
    for known in types:
        kept = ends(server, buckets, known)
        if kept is None:
            continue
        first, last = kept
        cuts.append(last - max_age_ns)
        if last - max_age_ns - first < _WORTH_DELETING * max_age_ns:
            continue
        source = f"{identifier(buckets.database)}.{identifier('steps')}.{identifier(known.measurement)}"
        counted = server.query(
            buckets.database, f'SELECT count("fields") FROM {source} WHERE time >= {first} AND time < {cuts[-1]}'
        )[0]
        server.delete(buckets.steps, _is("_measurement", known.measurement), from_ns=first, to_ns=cuts[-1])
        dropped["steps"] += counted[0].column("count")[0] if counted else 0
    if dropped["steps"]:
        dropped["alerts"] = _drop_alerts(server, buckets, before_ns=min(cuts))
        server.delete(buckets.records, _is("_measurement", "alarm_rates"), from_ns=0, to_ns=min(cuts))
        log.info("store-limits-enforced steps_dropped=%d alerts_dropped=%d", dropped["steps"], dropped["alerts"])
    return dropped


def _drop_old_lag(server: InfluxDb, buckets: Buckets) -> None:
    """Lag goes by the wall clock, and nobody looks at it for longer than a week; a day at once."""
    source = f"{identifier(buckets.database)}.{identifier('records')}.{identifier('lag')}"
    oldest = server.query(buckets.database, f'SELECT first("records") FROM {source}')[0]
    before_ns = time.time_ns() - _LAG_KEPT_NS
    if oldest and oldest[0].column("time")[0] < before_ns - _DAY_NS:
        server.delete(buckets.records, _is("_measurement", "lag"), from_ns=0, to_ns=before_ns)


def _drop_alerts(server: InfluxDb, buckets: Buckets, *, before_ns: int) -> int:
    """Alerts that were cleared before a time."""
    source = f"{identifier(buckets.database)}.{identifier('records')}.{identifier('alerts')}"
    rows = server.query(buckets.database, f'SELECT "record" FROM {source} WHERE time < {before_ns}')[0]
    alerts: dict[str, Alert] = {}
    influxdb_records.newest_alerts(rows[0].column("record") if rows else [], alerts)
    gone = [alert for alert in alerts.values() if alert.cleared_ns is not None and alert.cleared_ns < before_ns]
    for alert in gone:
        tags = influxdb_records.alert_tags(alert)
        predicate = " AND ".join([_is("_measurement", "alerts"), *(_is(tag, plain(value)) for tag, value in tags.items())])
        from_ns = influxdb_records.alert_time_ns(alert.onset_ns)
        server.delete(buckets.records, predicate, from_ns=from_ns, to_ns=from_ns + influxdb_records.NS_PER_MS)
    return len(gone)


def _is(tag: str, value: str) -> str:
    return f'{tag}="' + value.replace('"', '\\"') + '"'

"""Every query of every dashboard, on a real InfluxDB with the demo plant's data in it: none is wrong, none comes back empty.

Grafana does not run here: what its backend replaces in a query is replaced as `pkg/tsdb/influxdb/models/query.go` does.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.grafana.export import rendered
from deploy.grafana.frame import fleet_of
from deploy.grafana.panels import SEVERITY_COLOURS
from deploy.grafana.read_token import FILE, ensure_read_token
from deploy.influxd import InfluxDbAddress
from deploy.type_files import files_of, read_types
from streams.alarm_rates import AlarmCount, AlarmRate
from streams.history import HistoryBlock
from streams.lag import RoleLag
from streams.model_records import Canary, Serving, Switch
from streams.records import Alert, alert_id
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb, Rows
from streams.stores.influxdb_setup import Buckets
from streams.stores.port import StoreRefused
from tests.streams.gateway import plant as demo
from twin.types import Channel, TwinType

pytestmark = pytest.mark.influxdb
DEFINITIONS = Path(__file__).parents[2] / "deploy" / "feeds" / "definitions"
TYPES = list(read_types(files_of([DEFINITIONS])).types.values())
ODD = TwinType(
    "dtmi:acme:hall_7:Press_Line;3",
    'Press "A" / B',
    (Channel("p.oil", unit="furlong", low_limit=-1.0), Channel("risk"), Channel("on-off")),
    300 * 10**9,
    0,
    0,
    0,
    0,
)
DASHBOARDS: dict[str, dict[str, Any]] = {uid: json.loads(text) for uid, text in rendered(fleet_of([*TYPES, ODD])).items()}
MS = 1_000_000
TRIAL_STEPS = 7
ALERT_EVERY = 12 * 300 * 10**9


@dataclass(frozen=True)
class Stored:
    server: InfluxDb
    database: str
    from_ms: int
    to_ms: int

    def ask(self, query: str) -> list[Rows]:
        return self.server.query(self.database, query)[0]


def made_steps(kind: TwinType, asset: str, time_ns: NDArray[np.int64]) -> HistoryBlock:
    """Steps of one twin of a type that the demo plant has not, each value another, as expected less one."""
    shape = (len(time_ns), len(kind.channels))
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    return HistoryBlock(
        type=kind.id,
        channels=kind.channel_names,
        partition=0,
        epoch=1,
        asset=(asset,) * len(time_ns),
        time_ns=time_ns,
        values=values,
        quality=np.zeros(shape, np.uint8),
        expected=values + 1,
        spread=np.ones(shape, np.float32),
        score=np.ones(len(time_ns), np.float32),
        risk=np.full(len(time_ns), 0.5, np.float32),
        version=("1",) * len(time_ns),
    )


def alerts_of(plant: demo.Plant) -> list[Alert]:
    """Of the first twin of each type one alert of each severity, all on; the newest is then acknowledged and marked as false."""
    made = []
    for kind in {block.type for block in plant.blocks}:
        block = next(block for block in plant.blocks if block.type == kind)
        asset = min(block.asset[0] for block in plant.blocks if block.type == kind)
        for nth, severity in enumerate(SEVERITY_COLOURS):
            onset = int(block.time_ns[0]) + nth * ALERT_EVERY
            fields = plant.alerts[0].model_dump() | {
                "id": alert_id(asset, f"limit:{severity}", onset),
                "asset": asset,
                "type": kind,
                "condition": f"limit:{severity}",
                "severity": severity,
                "onset_ns": onset,
            }
            made.append(Alert.model_validate(fields))
            if nth == len(SEVERITY_COLOURS) - 1:
                made.append(Alert.model_validate(fields | {"revision": 2, "acknowledged": True, "false_alarm": True}))
    return made


def alarm_rates(time_ns: int) -> list[AlarmRate]:
    """Of each type on two partitions: 3 alarms for 4 asked for in the week, and 1 for 2 under the version."""
    week, since = AlarmCount(twin_days=200.0, alarms=3, expected=4.0), AlarmCount(twin_days=100.0, alarms=1, expected=2.0)
    none = AlarmCount(twin_days=0.0, alarms=0, expected=0.0)
    common = {"epoch": 1, "time_ns": time_ns, "version": "1", "target": 0.02, "twins": 9}
    return [
        AlarmRate(model=kind.slug, type=kind.id, partition=p, **common, week=w, since_version=s)  # type: ignore[arg-type]
        for kind in [*TYPES, ODD]
        for p, w, s in ((0, week, none), (1, none, since))
    ]


@pytest.fixture(scope="module")
def stored(influxdb: InfluxDbAddress) -> Iterator[Stored]:
    """A day of the demo plant, written by the real store."""
    database = f"g{uuid.uuid4().hex[:8]}"
    plant = demo.make(1.0)
    there, time_ns = {block.type for block in plant.blocks}, plant.blocks[0].time_ns
    plant.blocks += [made_steps(kind, f"one of {kind.slug}", time_ns) for kind in TYPES if kind.id not in there]
    plant.blocks.append(made_steps(ODD, "press (1) of 'hall'", time_ns))  # names need quotes, or are taken by others
    store = InfluxDbStore(influxdb.url, token=influxdb.token, org=influxdb.org, bucket=database)
    try:
        store.write_history(plant.blocks)
        store.write_alerts(alerts_of(plant))
        records = demo._models([kind.id for kind in TYPES], plant.swapped_ns)
        lags = [RoleLag("processor", 2, {"livetwin.telemetry": 5}), RoleLag("trainer", 1, {"livetwin.telemetry": 7})]
        store.write_alarm_rates(alarm_rates(plant.swapped_ns))
        store.write_lag(lags, wall_ns=time.time_ns())
        store.write_swaps([Serving.model_validate_json(value) for key, value in records if b"/serving/" in key])
        ended = Switch(offset=5, version="1", sha256="ab", uri="file:///m", event_ns=plant.swapped_ns)
        canary = Canary(version="2", sha256="cd", uri="file:///n", share=0.2, since_ns=1)
        tried = ended.model_copy(update={"offset": 4, "canary": canary, "event_ns": plant.swapped_ns - TRIAL_STEPS * 300 * 10**9})
        for switches in ([tried], [tried, ended]):
            store.write_swaps([Serving(name=ODD.slug, partition=0, epoch=1, switches=switches, time_ns=time.time_ns())])
    finally:
        store.close()
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    times = [time for block in plant.blocks for time in (int(block.time_ns[0]), int(block.time_ns[-1]))]
    yield Stored(server, database, min(times) // MS, max(times) // MS)
    server.close()


def in_period(query: str, stored: Stored, variables: dict[str, str], *, by_wall_clock: bool) -> str:
    """The query as Grafana sends it: with the period, an interval, and each variable's value as a regular expression."""
    period = "time > 0" if by_wall_clock else f"time >= {stored.from_ms}ms and time <= {stored.to_ms}ms"
    query = query.replace("$timeFilter", period).replace("$__interval", "5m")
    for name, value in variables.items():
        query = query.replace(f"${{{name}:regex}}", value)
    left = re.search(r"\$[\w{]+", query)
    assert left is None, f"{left} in {query}"
    return query


def panels_of(uid: str) -> list[dict[str, Any]]:
    return list(DASHBOARDS[uid]["panels"])


def values(found: list[Rows]) -> list[Any]:
    return [value for rows in found for row in rows.values for value in row[1:] if value is not None]


def names_of(variable: dict[str, Any], stored: Stored) -> list[str]:
    return [
        str(row[1]) for rows in stored.ask(in_period(variable["query"], stored, {}, by_wall_clock=False)) for row in rows.values
    ]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_query_of_a_dashboard_finds_something(uid: str, stored: Stored) -> None:
    dashboard = DASHBOARDS[uid]
    variables = {}
    for variable in dashboard.get("templating", {}).get("list", []):
        names = names_of(variable, stored)
        assert names, variable["query"]
        variables[variable["name"]] = variable.get("allValue") or re.escape(min(names))
    asked = [(panel["title"], target["query"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [(mark["name"], mark["target"]["query"]) for mark in dashboard.get("annotations", {}).get("list", [])]
    assert len(asked) >= 4
    empty = []
    for title, query in asked:
        full = in_period(query, stored, variables, by_wall_clock='"lag"' in query)
        if not values(stored.ask(full)):
            empty.append((title, full))
    assert empty == []


@pytest.mark.parametrize("kind", [*TYPES, ODD], ids=lambda kind: kind.slug)
def test_a_channels_curve_is_what_was_written_within_its_band(kind: TwinType, stored: Stored) -> None:
    (dashboard,) = (one for one in DASHBOARDS.values() if one["title"] == f"Twin: {kind.display_name}")
    asset = min(names_of(dashboard["templating"]["list"][0], stored))
    for channel in kind.channels:
        (panel,) = (panel for panel in dashboard["panels"] if panel["title"] == (channel.display_name or channel.name))
        query = in_period(panel["targets"][0]["query"], stored, {"asset": re.escape(asset)}, by_wall_clock=False)
        (rows,) = stored.ask(query)
        assert rows.columns == ["time", "Seen", "Expected", "Upper", "Lower"]
        full = [row for row in rows.values if None not in row]
        assert full
        assert all(lower <= expected <= upper for _, _, expected, upper, lower in full)


def test_marks_have_their_text_and_tags_as_columns_of_one_series(stored: Stored) -> None:
    for dashboard in DASHBOARDS.values():
        for mark in dashboard.get("annotations", {}).get("list", []):
            variables = {"asset": ".*"}
            query = in_period(mark["target"]["query"], stored, variables, by_wall_clock=False)
            (rows,) = stored.ask(query)
            assert {mark["target"]["textColumn"], *mark["target"]["tagsColumn"].split(",")} <= set(rows.columns)


def test_partitions_are_summed_before_alarms_are_divided_by_those_asked_for(stored: Stored) -> None:
    panels = [one for one in DASHBOARDS["livetwin-models"]["panels"] if one["title"].startswith("Alarms raised")]
    assert len(panels) == len(TYPES) + 1
    for panel in panels:
        asked = [in_period(one["query"], stored, {}, by_wall_clock=False) for one in panel["targets"]]
        assert [set(values(stored.ask(query))) for query in asked] == [{0.75}, {0.5}]


def test_a_trial_on_canary_twins_is_shown_from_its_beginning_to_its_end(stored: Stored) -> None:
    (panel,) = (
        one
        for one in panels_of("livetwin-models")
        if one["title"] == "Twins on which a version is tried" and f"'{ODD.slug}'" in one["targets"][0]["query"]
    )
    (rows,) = stored.ask(in_period(panel["targets"][0]["query"], stored, {}, by_wall_clock=False))
    assert rows.tags["partition"] == "0"
    shares = [share for _, share in rows.values if share is not None]
    assert shares == [0.2] * TRIAL_STEPS + [0.0] * (len(shares) - TRIAL_STEPS)
    assert 0.0 in shares


def test_counts_of_alerts_are_right(stored: Stored) -> None:
    alerts = {panel["title"]: panel for panel in DASHBOARDS["livetwin-alerts"]["panels"]}
    found = {}
    for title in ("Active", "Not acknowledged", "Began", "False alarms"):
        query = alerts[title]["targets"][0]["query"]
        (value,) = values(stored.ask(in_period(query, stored, {"asset": ".*", "type": ".*"}, by_wall_clock=False)))
        found[title] = value
    types, severities = len(TYPES) + 1, len(SEVERITY_COLOURS)
    assert found == {
        "Active": types * severities,
        "Not acknowledged": types * (severities - 1),
        "Began": types * severities,
        "False alarms": types,
    }


def test_grafanas_token_reads_all_and_changes_nothing(stored: Stored, tmp_path: Path) -> None:
    buckets = Buckets(stored.database)
    assert ensure_read_token(stored.server, buckets, tmp_path)
    token = (tmp_path / FILE).read_text()
    assert not ensure_read_token(stored.server, buckets, tmp_path), "a token that is good was drawn anew"
    reader = InfluxDb(stored.server.url, token=token, org=stored.server.org)
    try:
        for query in ('SELECT last("risk") FROM "water.tank"', 'SELECT last("revision") FROM "records"."alerts"'):
            assert values(reader.query(stored.database, query)[0])
        with pytest.raises(StoreRefused, match="403"):
            reader.write(stored.database, [b"water.tank,asset=tank-1 risk=1 1"])
    finally:
        reader.close()
    (tmp_path / FILE).write_text("withdrawn")
    assert ensure_read_token(stored.server, buckets, tmp_path)
    assert (tmp_path / FILE).read_text() not in ("withdrawn", token)
    old = InfluxDb(stored.server.url, token=token, org=stored.server.org)
    with pytest.raises(StoreRefused, match="401"):
        old.query(stored.database, 'SELECT last("risk") FROM "water.tank"')
    old.close()

"""Dashboards as files: what Grafana's own types say of them, and that they are made of the twin types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models import units as grafana_units
from jsonschema import Draft7Validator

from deploy.grafana.export import export, rendered
from deploy.grafana.frame import ALERTS_UID, FLEET, MODELS, SYSTEM, fleet_of, type_uid
from deploy.grafana.influxql import DATA_SOURCE_UID
from deploy.grafana.period import hours_ahead
from deploy.grafana.read_token import FILE
from deploy.grafana.units import GRAFANA_UNITS, grafana_unit
from deploy.type_files import files_of, read_types
from twin.quantities import DTDL_UNITS
from twin.types import Channel, TwinType

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
GRAFANA = ROOT / "deploy" / "grafana"
TYPES = list(read_types(files_of([ROOT / "deploy" / "feeds" / "definitions"])).types.values())
DASHBOARDS: dict[str, dict[str, Any]] = {uid: json.loads(text) for uid, text in rendered(fleet_of(TYPES)).items()}
ODD = TwinType(
    "dtmi:acme:hall_7:Press_Line;3",
    'Press "A" / B',
    (Channel("p.oil", unit="furlong", low_limit=-1.0), Channel("on", codes=(("off", 0.0), ("on", 1.0)))),
    250_000_000,
    0,
    0,
    0,
    0,
)


def schema() -> dict[str, Any]:
    (path,) = SCHEMAS.glob("grafana-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


SCHEMA = schema()


def faults(name: str, found: object) -> list[str]:
    return [f"{error.json_path}: {error.message[:300]}" for error in Draft7Validator(SCHEMA[name]).iter_errors(found)]


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


# ── against Grafana's types ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_dashboard_is_what_grafanas_types_say(uid: str) -> None:
    assert faults("dashboard", DASHBOARDS[uid]) == []


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_options_and_field_settings_of_a_panel_are_those_of_its_kind(uid: str) -> None:
    wrong = []
    for panel in panels(DASHBOARDS[uid]):
        kind = panel["type"].replace("-", "")
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        wrong += faults(f"{kind}.options", panel.get("options", {}))
        wrong += faults(f"{kind}.custom", custom) if f"{kind}.custom" in SCHEMA else [f"{kind} has {custom}"] * bool(custom)
        for override in panel["fieldConfig"]["overrides"]:
            settings = {one["id"]: one["value"] for one in override["properties"]}
            changed = {id_.removeprefix("custom."): value for id_, value in settings.items() if id_.startswith("custom.")}
            wrong += faults(f"{kind}.custom", {**custom, **changed}) if changed else []
    assert wrong == []


def test_a_wrong_dashboard_is_told_from_a_right_one() -> None:
    broken = json.loads(json.dumps(DASHBOARDS[FLEET]))
    broken["panels"][0]["gridPos"]["w"] = "wide"
    broken["panels"][1]["tragets"] = []
    assert len(faults("dashboard", broken)) >= 1
    assert faults("timeseries.custom", {"drawStyle": "lines"})


def test_a_type_with_odd_names_has_a_dashboard_too() -> None:
    made = {uid: json.loads(text) for uid, text in rendered(fleet_of([*TYPES, ODD])).items()}
    assert set(made) == {*DASHBOARDS, type_uid(ODD)}
    assert [fault for dashboard in made.values() for fault in faults("dashboard", dashboard)] == []
    assert {panel["title"] for panel in panels(made[type_uid(ODD)])} >= {"p.oil", "on"}


# ── what is in them ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_a_dashboard_of_each_type_and_four_of_all() -> None:
    assert set(DASHBOARDS) == {FLEET, ALERTS_UID, MODELS, SYSTEM, *map(type_uid, TYPES)}


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.slug)
def test_each_channel_has_a_panel_with_its_unit_band_and_limits(kind: TwinType) -> None:
    shown = {panel["title"]: panel for panel in panels(DASHBOARDS[type_uid(kind)])}
    for channel in kind.channels:
        panel = shown[channel.display_name or channel.name]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] == grafana_unit(channel.unit)
        assert f'"{channel.name}__expected"' in panel["targets"][0]["query"]
        (upper,) = (one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == "Upper")
        assert {"id": "custom.fillBelowTo", "value": "Lower"} in upper["properties"]
        limits = [step["value"] for step in defaults.get("thresholds", {}).get("steps", [])]
        assert [limit for limit in (channel.low_limit, channel.high_limit) if limit is not None] == limits[1:]


def test_limits_are_drawn_in_red_beyond_them() -> None:
    kind = replace(ODD, channels=(Channel("level", low_limit=1.0, high_limit=9.0),))
    dashboard = json.loads(rendered(fleet_of([kind]))[type_uid(kind)])
    (panel,) = (panel for panel in panels(dashboard) if panel["title"] == "level")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "dashed+area"}
    assert [(step["value"], step["color"]) for step in defaults["thresholds"]["steps"]] == [
        (None, "red"),
        (1.0, "transparent"),
        (9.0, "red"),
    ]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_panels_explain_themselves_lie_on_the_grid_and_do_not_overlap(uid: str) -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARDS[uid]["panels"]}) == len(DASHBOARDS[uid]["panels"])
    for panel in panels(DASHBOARDS[uid]):
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == DATA_SOURCE_UID
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_variables_are_declared_and_links_lead_to_dashboards_that_are_there(uid: str) -> None:
    text = json.dumps(DASHBOARDS[uid])
    declared = {variable["name"] for variable in DASHBOARDS[uid].get("templating", {}).get("list", [])}
    used = {name for name in re.findall(r"\$\{(\w+)", text) if not name.startswith("__")}
    assert used <= declared
    assert set(re.findall(r'"/d/([^?"]+)', text)) <= set(DASHBOARDS)
    assert re.search(r"http://127\.0\.0\.1:8080/", text), "no link to livetwin's page"


def marks(dashboard: dict[str, Any]) -> dict[str, str]:
    return {mark["name"]: mark["target"]["query"] for mark in dashboard["annotations"]["list"]}


def test_swaps_are_marked_where_they_were_in_event_time() -> None:
    assert '"switches" WHERE $timeFilter' in marks(DASHBOARDS[MODELS])["Swaps"]
    for kind in TYPES:
        assert f"""WHERE "model" = '{kind.slug}' AND $timeFilter""" in marks(DASHBOARDS[type_uid(kind)])["Swaps"]


def test_what_goes_by_the_wall_clock_has_a_period_of_its_own_whatever_the_dashboard_shows() -> None:
    ahead = dict.fromkeys([kind.id for kind in TYPES], 2400)
    dashboard = json.loads(rendered(fleet_of(TYPES, ahead_h=ahead))[SYSTEM])
    for panel in panels(dashboard):
        for target in panel["targets"]:
            if '"lag"' in target["query"] and "$timeFilter" in target["query"]:
                assert panel["timeFrom"] == "6h"
    # Grafana heeds it only where the dashboard's own period is relative
    assert all(re.fullmatch(r"now[+-]\d+h", word) for word in dashboard["time"].values())


# ── the period shown at first ───────────────────────────────────────────────────────────────────────────────────────

NOW = 1_800_000_000 * 10**9
HOUR = 3600 * 10**9
PLANT = replace(ODD, id="dtmi:a:Plant;1", max_ahead_ns=None)
LIVE = replace(ODD, id="dtmi:a:Live;1", max_ahead_ns=60 * 10**9)


@pytest.mark.parametrize(
    ("newest_h", "period"),
    [
        ({}, ("now-24h", "now")),
        ({PLANT.id: 2400}, ("now+2232h", "now+2568h")),
        ({PLANT.id: 2411.5}, ("now+2232h", "now+2568h")),
        ({PLANT.id: 2412}, ("now+2244h", "now+2580h")),
        ({PLANT.id: 2400, LIVE.id: -0.1}, ("now-24h", "now")),
        ({PLANT.id: 2400, LIVE.id: -30 * 24}, ("now-744h", "now-719h")),
    ],
)
def test_a_dashboard_opens_where_the_newest_steps_are(newest_h: dict[str, float], period: tuple[str, str]) -> None:
    newest = {id_: NOW + round(hours * HOUR) for id_, hours in newest_h.items()}
    fleet = fleet_of([PLANT, LIVE], ahead_h=hours_ahead(newest, [PLANT, LIVE], NOW))
    shown = {uid: json.loads(text)["time"] for uid, text in rendered(fleet).items()}
    assert tuple(shown[FLEET].values()) == period
    if PLANT.id in newest:
        assert shown[type_uid(PLANT)] != shown[type_uid(LIVE)]


def test_units_are_units_of_dtdl_and_of_grafana() -> None:
    assert set(GRAFANA_UNITS) <= set(DTDL_UNITS)
    known = {value for name, value in vars(grafana_units).items() if isinstance(value, str) and name[0].isupper()}
    assert set(GRAFANA_UNITS.values()) <= known


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_dashboards_of_the_demo_in_the_repository_are_those_that_are_made_now(tmp_path: Path) -> None:
    made = {path.name: path.read_text() for path in export(fleet_of(TYPES), tmp_path)}
    committed = {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}
    assert committed == made, "run `make dashboards`"


def test_export_leaves_what_is_right_and_removes_what_is_no_longer_made(tmp_path: Path) -> None:
    export(fleet_of([*TYPES, ODD]), tmp_path)
    other = tmp_path / "somebody-elses.json"
    other.write_text("{}")
    kept = tmp_path / f"{ALERTS_UID}.json"
    before = kept.stat().st_mtime_ns
    export(fleet_of(TYPES), tmp_path)
    assert not (tmp_path / f"{type_uid(ODD)}.json").exists()
    assert other.exists()
    assert kept.stat().st_mtime_ns == before


def test_provisioning_names_the_data_source_the_token_and_the_folder_that_livetwin_writes() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/livetwin.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"], source["jsonData"]["version"]) == (DATA_SOURCE_UID, "influxdb", "InfluxQL")
    assert source["secureJsonData"]["httpHeaderValue1"] == f"Token $__file{{/etc/livetwin/{FILE}}}"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/livetwin.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/livetwin/dashboards"
    assert provider["updateIntervalSeconds"] == 10

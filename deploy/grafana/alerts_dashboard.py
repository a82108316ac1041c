"""The dashboard of alerts: what is on now, what began, and each change of each alert.

In:   twin types, for the period shown and for links.
Out:  a dashboard with the variables `type` and `asset`.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.fleet_dashboard import onsets
from deploy.grafana.frame import ALERTS_UID, Fleet, frame, to_page
from deploy.grafana.influxql import ALERTS, ASSET_CHOSEN, TYPE_CHOSEN
from deploy.grafana.panels import (
    GREEN,
    GREY,
    RED,
    SEVERITY_COLOURS,
    chosen,
    column_link,
    count,
    listing,
    named,
    thresholds,
    value_names,
)

_CHOSEN = f"{TYPE_CHOSEN} AND {ASSET_CHOSEN}"
_NEWEST = 'GROUP BY "asset", "type", "condition"'
_COLUMNS = '"severity", "state", "acknowledged", "false_alarm", "risk", "channel", "seen", "expected", "version", "revision"'


def alerts_dashboard(fleet: Fleet) -> build.Dashboard:
    shown = (
        frame(
            ALERTS_UID,
            "Alerts",
            "Conditions that are on, alerts that began, and what was seen against what was expected.",
            period=fleet.period(),
            links=[to_page(fleet.page_url, "Alerts on livetwin's page: acknowledge, comment", "/alerts")],
        )
        .with_variable(
            chosen("type", "Type", _tag_values("type", "now() - 3650d"), "Twin types that have had alerts", several=True)
        )
        .with_variable(chosen("asset", "Twin", _tag_values("asset", "now() - 3650d"), "Twins that have had alerts", several=True))
    )
    return (
        shown.with_panel(_number("Active", "Conditions that are on, whatever period is shown.", '"active" = true', alarming=True))
        .with_panel(
            _number(
                "Not acknowledged",
                "Conditions that are on and that nobody has acknowledged.",
                '"active" = true AND "acknowledged" = false',
                alarming=True,
            )
        )
        .with_panel(
            count(
                "Began",
                "Alerts that began in the period shown.",
                f'SELECT count("revision") AS "Alerts" FROM {ALERTS} WHERE "revision" = 1 AND {_CHOSEN} AND $timeFilter',
            ).no_value("0")
        )
        .with_panel(
            _number("False alarms", "Newest alerts of their condition that somebody marked as false.", '"false_alarm" = true')
        )
        .with_panel(onsets(fleet.simulated).height(8).span(24))
        .with_panel(
            _rows(
                "Newest alert of each condition",
                "Of each twin and condition its newest alert, as it stands now. Time: when it began.",
                f"SELECT {_COLUMNS} FROM {ALERTS} WHERE {_CHOSEN} {_NEWEST} ORDER BY time DESC LIMIT 1",
                fleet,
            )
        )
        .with_panel(
            _rows(
                "Changes",
                "Each change of each alert that began in the period shown, newest alert first. A change is a revision.",
                f'SELECT "asset", "type", "condition", {_COLUMNS} FROM {ALERTS} '
                f"WHERE {_CHOSEN} AND $timeFilter ORDER BY time DESC LIMIT 500",
                fleet,
            )
        )
    )


def _tag_values(tag: str, since: str) -> str:
    """Values of a tag of alerts. InfluxQL can't name a policy in SHOW TAG VALUES, so they are asked for as rows."""
    return f'SELECT DISTINCT("{tag}") FROM (SELECT "revision", "{tag}" FROM {ALERTS} WHERE time > {since})'


def _number(title: str, description: str, condition: str, *, alarming: bool = False) -> stat.Panel:
    newest = (
        'SELECT last("active") AS "active", last("acknowledged") AS "acknowledged", last("false_alarm") AS "false_alarm" '
        f"FROM {ALERTS} WHERE {_CHOSEN} {_NEWEST}"
    )
    panel = count(title, description, f'SELECT count("active") AS "Alerts" FROM ({newest}) WHERE {condition}').no_value("0")
    return panel.thresholds(thresholds([(None, GREEN), (1, RED)])) if alarming else panel


def _rows(title: str, description: str, asked: str, fleet: Fleet) -> table.Panel:
    page = f"{fleet.page_url.rstrip('/')}/twin?asset=${{__value.text:percentencode}}"
    severities = value_names({name: (name, colour) for name, colour in SEVERITY_COLOURS.items()})
    coloured = {"custom__cellOptions": {"type": "color-text"}}
    return (
        listing(title, description, [asked], height=10)
        .override_by_name(*named("asset", links=[column_link("On livetwin's page", page)]))
        .override_by_name(*named("severity", mappings=[severities.to_json()], **coloured))
        .override_by_name(
            *named(
                "state", mappings=[value_names({"active": ("active", RED), "cleared": ("cleared", GREY)}).to_json()], **coloured
            )
        )
        .override_by_name(*named("risk", unit="percentunit", decimals=0))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(GREY))
    )

"""The dashboard of the fleet: how many twins, what alerts, and of each type the twins that stand out.

In:   twin types.
Out:  a dashboard; the names of twins lead to the type's dashboard and to livetwin's page.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.frame import ALERTS_UID, FLEET, Fleet, alert_marks, frame, interval, to_page, twin_url, type_uid
from deploy.grafana.influxql import ALERTS, InfluxQuery, steps_of
from deploy.grafana.panels import (
    GREEN,
    RED,
    RISK_STEPS,
    SEVERITY_COLOURS,
    column_link,
    count,
    curve,
    listing,
    named,
    queries,
    stacked,
    thresholds,
)
from streams.stores.influxdb_server import identifier
from twin.types import TwinType

MOST_SHOWN = 20
ACTIVE = f'SELECT last("active") AS "active" FROM {ALERTS} GROUP BY "asset", "type", "condition"'


def fleet_dashboard(fleet: Fleet) -> build.Dashboard:
    shown = frame(
        FLEET,
        "Fleet",
        "All twins at a glance, by type: how many there are, how strange they are, what alerts are on.",
        period=fleet.period(),
        links=[to_page(fleet.page_url, "The fleet on livetwin's page", "/")],
    ).annotation(alert_marks('"asset" =~ /.*/'))
    shown = shown.with_panel(_active()).with_panel(_twins(fleet)).with_panel(onsets(fleet.simulated).height(6).span(12))
    for kind in fleet.types:
        shown = shown.with_row(build.Row(kind.display_name)).with_panel(_risks(kind)).with_panel(_riskiest(kind, fleet.page_url))
    return shown


def _active() -> stat.Panel:
    panel = count(
        "Active alerts",
        "Conditions that are on, whatever period is shown.",
        f'SELECT count("active") AS "Alerts" FROM ({ACTIVE}) WHERE "active" = true',
    )
    link = column_link("All alerts", f"/d/{ALERTS_UID}")
    return panel.height(6).no_value("0").thresholds(thresholds([(None, GREEN), (1, RED)])).data_links([_link(link)])


def _twins(fleet: Fleet) -> stat.Panel:
    """Of each type the twins with a step in the period shown."""
    asked = [
        InfluxQuery(
            f'SELECT count("risk") AS {identifier(kind.display_name)} FROM '
            f'(SELECT last("risk") AS "risk" FROM {steps_of(kind).source} WHERE $timeFilter GROUP BY "asset")'
        )
        for kind in fleet.types
    ]
    panel = count("Twins", "Twins of each type that had a step in the period shown.", "", width=8).height(6)
    return panel.targets(list(queries(*asked))).no_value("no twin yet: is anything fed?")


def onsets(simulated: bool) -> timeseries.Panel:
    """How many alerts began, by severity."""
    asked = [
        InfluxQuery(
            f'SELECT count("revision") AS "{severity}" FROM {ALERTS} '
            f'WHERE "revision" = 1 AND "severity" = \'{severity}\' AND $timeFilter GROUP BY time($__interval) fill(none)'
        )
        for severity in SEVERITY_COLOURS
    ]
    panel = stacked(
        curve(
            "Alerts that began",
            "Alerts by the severity that they began with, in each interval.",
            asked,
            unit="none",
            interval="1h" if simulated else "5m",
        )
    )
    for severity, colour in SEVERITY_COLOURS.items():
        panel = panel.override_by_name(*named(severity, colour=colour))
    return panel


def _risks(kind: TwinType) -> timeseries.Panel:
    steps = steps_of(kind)
    return (
        curve(
            f"Risk of each {kind.display_name}",
            "The highest risk of each twin in each interval, 0 to 1. Marks: an alert begins.",
            [
                InfluxQuery(
                    f'SELECT max("risk") FROM {steps.source} WHERE $timeFilter GROUP BY time($__interval), "asset" fill(none)',
                    alias="$tag_asset",
                )
            ],
            unit="percentunit",
            interval=interval(kind),
        )
        .min(0)
        .max(1)
        .span(14)
        .data_links([_link(column_link("Show ${__field.labels.asset}", twin_url(type_uid(kind), "${__field.labels.asset}")))])
    )


def _riskiest(kind: TwinType, page_url: str) -> table.Panel:
    asked = (
        f'SELECT top("risk", "asset", {MOST_SHOWN}) AS "risk" FROM '
        f'(SELECT last("risk") AS "risk" FROM {steps_of(kind).source} WHERE $timeFilter GROUP BY "asset")'
    )
    links = [
        column_link("Show ${__value.text}", twin_url(type_uid(kind), "${__value.text:percentencode}")),
        column_link("On livetwin's page", f"{page_url.rstrip('/')}/twin?asset=${{__value.text:percentencode}}"),
    ]
    return (
        listing(
            f"Riskiest {kind.display_name}",
            f"The {MOST_SHOWN} twins whose newest step in the period shown has the highest risk, and when that step ended.",
            [asked],
            height=8,
            width=10,
        )
        .override_by_name(*named("risk", unit="percentunit", decimals=0, custom__cellOptions={"type": "color-text"}))
        .override_by_name(*named("asset", links=links))
        .thresholds(thresholds(RISK_STEPS))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    )


def _link(link: dict[str, object]) -> build.DashboardLink:
    return build.DashboardLink(str(link["title"])).type(model.DashboardLinkType.LINK).url(str(link["url"]))

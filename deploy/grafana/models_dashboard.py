"""The dashboard of models and learning: which version scores, when it was swapped in, and how far off its forecasts are.

In:   twin types.
Out:  a dashboard; training runs and the reasons of decisions are in MLflow and on livetwin's page.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import statetimeline, timeseries

from deploy.grafana.frame import MODELS, Fleet, frame, interval, swap_marks, to_page
from deploy.grafana.influxql import ALARM_RATES, SWAPS, SWITCHES, InfluxQuery, steps_of
from deploy.grafana.panels import BLUE, COLUMNS, count, curve, listing, named, states
from streams.stores.influxdb_server import identifier
from twin.types import TwinType


def models_dashboard(fleet: Fleet) -> build.Dashboard:
    shown = (
        frame(
            MODELS,
            "Models and learning",
            "Which version scores which steps, when it was swapped in, and whether its forecasts get better.",
            period=fleet.period(),
            links=[to_page(fleet.page_url, "Models on livetwin's page: figures, decisions, promote, roll back", "/models")],
        )
        .annotation(swap_marks())
        .with_panel(
            count(
                "Swaps",
                "Switches to another version, beginning and end of trials on canary twins included, of all partitions together. "
                "In event time, as the marks.",
                f'SELECT count("offset") AS "Swaps" FROM {SWITCHES} WHERE $timeFilter',
            )
            .height(8)
            .no_value("0")
        )
        .with_panel(
            listing(
                "Serving now",
                "Of each partition the version that serves it; the version on trial, if any, and the share of the twins that it "
                "scores (canaries); its owner's generation (epoch), and the wall clock of the switch.",
                [
                    f'SELECT "version", "canary", "share", "epoch" FROM {SWAPS} GROUP BY "model", "partition" '
                    "ORDER BY time DESC LIMIT 1"
                ],
                height=8,
                width=20,
            ).override_by_name(*named("share", unit="percentunit"))
        )
    )
    for kind in fleet.types:
        shown = (
            shown.with_row(build.Row(kind.display_name))
            .with_panel(_versions(kind))
            .with_panel(_canaries(kind))
            .with_panel(_alarms(kind))
            .with_panel(_errors(kind))
            .with_panel(_scores(kind))
        )
    return shown


def _versions(kind: TwinType) -> statetimeline.Panel:
    return states(
        f"Version that scores {kind.display_name}",
        "In event time: a change of colour is a swap. Empty while twins are learning.",
        [
            InfluxQuery(
                f'SELECT last("version") AS "Version" FROM {steps_of(kind).source} '
                "WHERE $timeFilter GROUP BY time($__interval) fill(none)"
            )
        ],
        interval=interval(kind),
    ).height(4)


def _canaries(kind: TwinType) -> timeseries.Panel:
    """A trial goes on until the next switch says otherwise."""
    asked = (
        f'SELECT last("share") AS "Share" FROM {SWITCHES} WHERE $timeFilter AND "model" = \'{kind.slug}\' '
        'GROUP BY time($__interval), "partition" fill(previous)'
    )
    return (
        curve(
            "Twins on which a version is tried",
            "Share of the twins of each partition that a version on trial scores (canaries); 0: none is tried. Marks say which.",
            [InfluxQuery(asked, alias="partition $tag_partition")],
            unit="percentunit",
            interval=interval(kind),
        )
        .min(0)
        .height(4)
        .span(COLUMNS)
    )


def _alarms(kind: TwinType) -> timeseries.Panel:
    """Partitions are summed before one is divided by the other."""
    where = f"$timeFilter AND \"model\" = '{kind.slug}'"
    asked = []
    for name, counted in (("Week", "week"), ("Since the version serves", "version")):
        newest = (
            f'SELECT last("{counted}_alarms") AS "alarms", last("{counted}_expected") AS "expected" FROM {ALARM_RATES} '
            f'WHERE {where} GROUP BY time($__interval), "partition" fill(previous)'
        )
        asked.append(
            f'SELECT sum("alarms") / sum("expected") AS {identifier(name)} FROM ({newest}) '
            "WHERE $timeFilter GROUP BY time($__interval) fill(none)"
        )
    return curve(
        "Alarms raised over those asked for",
        "Of the model, all twins together: in the newest week, and since the version serves. 1: as many as the target says. "
        "Of few twins there are few alarms to count, and the curve jumps.",
        asked,
        unit="none",
        interval=interval(kind),
    )


def _errors(kind: TwinType) -> timeseries.Panel:
    """How far forecasts are off, in spreads: comparable between channels."""
    steps = steps_of(kind)
    asked = []
    for channel in kind.channels:
        seen, expected, spread = (steps.field(channel.name, suffix) for suffix in ("", "__expected", "__spread"))
        asked.append(
            InfluxQuery(
                f'SELECT mean("off") AS {identifier(channel.name)} FROM (SELECT abs({seen} - {expected}) / {spread} AS "off" '
                f"FROM {steps.source} WHERE $timeFilter AND {spread} > 0) WHERE $timeFilter GROUP BY time($__interval) fill(null)"
            )
        )
    return curve(
        "Forecast error",
        "Mean distance of what was seen from what was expected, in spreads of the forecast, all twins together. "
        "About 0.8 where the forecast is right; more where the model knows less than it says.",
        asked,
        unit="none",
        interval=interval(kind),
    )


def _scores(kind: TwinType) -> timeseries.Panel:
    asked = (
        f'SELECT mean("score") AS "Mean", percentile("score", 99) AS "99th percentile" FROM {steps_of(kind).source} '
        "WHERE $timeFilter GROUP BY time($__interval) fill(null)"
    )
    return curve(
        "Score",
        "How strange steps were, all twins together, before the risk is made of it. A drift upwards means that the plant changes "
        "faster than the model learns.",
        [InfluxQuery(asked)],
        unit="none",
        interval=interval(kind),
    ).override_by_name(*named("Mean", colour=BLUE))

"""The dashboard of the system, as far as the store can tell: how far roles are behind, what arrives, how good readings are.

In:   twin types.
Out:  a dashboard. What processes say of themselves is under `/metrics` of the gateway, and on livetwin's page.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions

from deploy.grafana.frame import SYSTEM, Fleet, frame, interval, to_page
from deploy.grafana.influxql import EPOCHS, LAG, InfluxQuery, steps_of
from deploy.grafana.panels import count, curve, listing, named, queries, stacked
from streams.stores.influxdb_server import identifier
from twin.types import TwinType

_OF_LATE = "time > now() - 1h"


def system_dashboard(fleet: Fleet) -> build.Dashboard:
    shown = (
        frame(
            SYSTEM,
            "System",
            "How far each role is behind, what arrives in the store, how good the readings are, how far each partition has come.",
            period=fleet.period(),
            links=[to_page(fleet.page_url, "Processes on livetwin's page", "/system")],
        )
        .with_panel(_behind())
        .with_panel(_lag())
        .with_panel(_newest(fleet))
        .with_panel(
            listing(
                "Partitions",
                "Of each partition: its owner's generation (epoch), and the time of its newest record that the store noted, "
                "which it does at a change of owner and every ten minutes.",
                [f'SELECT "epoch", "written_ms" FROM {EPOCHS} GROUP BY "log", "partition" ORDER BY time DESC LIMIT 1'],
                height=8,
                width=12,
            ).override_by_name(*named("written_ms", unit="dateTimeAsIso"))
        )
    )
    for kind in fleet.types:
        shown = shown.with_row(build.Row(kind.display_name)).with_panel(_steps(kind)).with_panel(_bad(kind))
    return shown


def _behind() -> table.Panel:
    """Whatever period is shown: it goes by the wall clock."""
    return listing(
        "How far each role is behind",
        "Of each role and topic the records that it has still to do, and how many processes share the work (0: nobody is at "
        "work; the trainer has no group, and no number), as one of the historians asked the broker last. A time that is not of "
        "the last minute means that no historian runs.",
        [f'SELECT "records", "members" FROM {LAG} WHERE {_OF_LATE} GROUP BY "role", "topic" ORDER BY time DESC LIMIT 1'],
        height=8,
        width=12,
    ).override_by_name(*named("records", unit="short"))


def _lag() -> timeseries.Panel:
    return curve(
        "Records to do",
        "The same over the last six hours of the wall clock. One that grows and does not fall again is a role that is down, "
        "hangs or is too slow: more processors and historians share the partitions.",
        [
            InfluxQuery(
                f'SELECT max("records") FROM {LAG} WHERE $timeFilter GROUP BY time($__interval), "role", "topic" fill(none)',
                alias="$tag_role: $tag_topic",
            )
        ],
        unit="short",
        interval="30s",
    ).time_from("6h")


def _newest(fleet: Fleet) -> stat.Panel:
    """Of each type the time of its newest step: what is shown is the column of the time, the name is the series'."""
    asked = [
        InfluxQuery(f'SELECT last("fields") AS {identifier(kind.display_name)} FROM {steps_of(kind).source}')
        for kind in fleet.types
    ]
    panel = count(
        "Newest step of each type",
        "When the newest step of any twin ended, in event time. A type that stands still is not fed, "
        "or nobody serves its partitions.",
        "",
        unit="dateTimeAsIso",
        width=12,
    )
    time = ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("/^Time$/")
    return panel.targets(list(queries(*asked))).display_name("${__series.name}").reduce_options(time).height(8)


def _steps(kind: TwinType) -> timeseries.Panel:
    return stacked(
        curve(
            f"Steps of {kind.display_name}",
            f"Closed steps in each interval of event time; one a twin and {kind.period_ns / 1e9:g} s where nothing is missing.",
            [
                InfluxQuery(
                    f'SELECT count("fields") AS "Steps" FROM {steps_of(kind).source} '
                    "WHERE $timeFilter GROUP BY time($__interval) fill(0)"
                )
            ],
            unit="short",
            interval=interval(kind),
        )
    )


def _bad(kind: TwinType) -> timeseries.Panel:
    """Of each channel the share of cells that are not good."""
    steps = steps_of(kind)
    asked = []
    for channel in kind.channels:
        quality = steps.quality(channel.name)
        asked.append(
            InfluxQuery(
                f'SELECT mean("bad") AS {identifier(channel.name)} FROM (SELECT ceil({quality} / 63) AS "bad" '
                f"FROM {steps.source} WHERE $timeFilter) WHERE $timeFilter GROUP BY time($__interval) fill(null)"
            )
        )
    return (
        curve(
            "Readings that are not good",
            "Share of each channel's cells that are out of range, stuck, a spike, a filled gap, in a wrong unit or missing. "
            "They are kept and marked, and do not train.",
            asked,
            unit="percentunit",
            interval=interval(kind),
        )
        .min(0)
        .max(1)
    )

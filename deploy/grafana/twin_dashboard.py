"""The dashboard of one twin type: one twin at a time, each channel with the band in which the model expects it.

In:   a twin type.
Out:  a dashboard with the variable `asset`, the type's units and alarm limits, and marks where alerts began.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.frame import Fleet, alert_marks, frame, interval, swap_marks, to_page, type_uid
from deploy.grafana.influxql import ALERTS, ASSET_CHOSEN, InfluxQuery, Steps, steps_of
from deploy.grafana.panels import (
    BLUE,
    COLUMNS,
    GREEN,
    GREY,
    ORANGE,
    RED,
    RISK_STEPS,
    YELLOW,
    chosen,
    count,
    curve,
    listing,
    named,
    states,
    thresholds,
    value_names,
    with_limits,
    word,
)
from deploy.grafana.units import grafana_unit
from streams.gateway.chart_twin import BAND_SPREADS
from streams.stores.influxdb_lines import plain
from streams.stores.influxdb_server import identifier, literal
from twin.quality import Quality
from twin.quality import word as quality_word
from twin.types import Channel, TwinType

QUALITY_NAMES = {
    "0": ("good", GREEN),
    **{str(int(bit)): (quality_word(bit), YELLOW) for bit in (Quality.SPIKE, Quality.GAP)},
    **{str(int(bit)): (quality_word(bit), ORANGE) for bit in (Quality.OUT_OF_RANGE, Quality.STUCK, Quality.WRONG_UNIT)},
    str(int(Quality.MISSING)): (quality_word(Quality.MISSING), GREY),
}


def twin_dashboard(kind: TwinType, fleet: Fleet) -> build.Dashboard:
    steps = steps_of(kind)
    shown = (
        frame(
            type_uid(kind),
            f"Twin: {kind.display_name}",
            f"One twin of type {kind.id}: what was seen, what the model expected, risk, quality of the readings, alerts.",
            period=fleet.period(kind),
            links=[to_page(fleet.page_url, "This twin on livetwin's page", "/twin?asset=${asset:percentencode}")],
        )
        .with_variable(
            chosen("asset", "Twin", f'SHOW TAG VALUES FROM {steps.source} WITH KEY = "asset"', f"Twins of type {kind.id}")
        )
        .annotation(alert_marks(ASSET_CHOSEN))
        .annotation(swap_marks(f'"model" = {literal(plain(kind.slug))} AND '))
    )
    for panel in _summary(kind, steps):
        shown = shown.with_panel(panel)
    for channel in kind.channels:
        shown = shown.with_panel(_channel(kind, steps, channel))
    return shown.with_panel(_quality(kind, steps)).with_panel(_versions(kind, steps)).with_panel(_alerts())


def _where() -> str:
    return f"WHERE {ASSET_CHOSEN} AND $timeFilter"


def _summary(kind: TwinType, steps: Steps) -> list[stat.Panel | timeseries.Panel]:
    newest = f"FROM {steps.source} {_where()}"
    active = f'SELECT last("active") AS "active" FROM {ALERTS} WHERE {ASSET_CHOSEN} GROUP BY "asset", "condition"'
    risk = curve(
        "Risk",
        "How strange the steps were, 0 to 1, over all channels: the highest in each interval. Marks: an alert begins.",
        [InfluxQuery(f'SELECT max("risk") AS "Risk" {newest} GROUP BY time($__interval) fill(null)')],
        unit="percentunit",
        interval=interval(kind),
    )
    return [
        count("Risk now", "Risk of the newest step.", f'SELECT last("risk") AS "Risk" {newest}', unit="percentunit").thresholds(
            thresholds(RISK_STEPS)
        ),
        count(
            "Active alerts",
            "Conditions of this twin that are on, whatever period is shown.",
            f'SELECT count("active") AS "Alerts" FROM ({active}) WHERE "active" = true',
        )
        .no_value("0")
        .thresholds(thresholds([(None, GREEN), (1, RED)])),
        word(
            "Model version",
            "The version that scored the newest step; empty while the twin is learning.",
            f'SELECT last("version") AS "Version" {newest}',
            field="Version",
        ),
        count("Steps", "Closed steps in the period shown.", f'SELECT count("fields") AS "Steps" {newest}', unit="short"),
        risk.min(0)
        .max(1)
        .height(4)
        .span(8)
        .fill_opacity(25)
        .thresholds(thresholds(RISK_STEPS))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)),
    ]


def _channel(kind: TwinType, steps: Steps, channel: Channel) -> timeseries.Panel:
    seen, expected, spread = (steps.field(channel.name, suffix) for suffix in ("", "__expected", "__spread"))
    asked = (
        f'SELECT mean({seen}) AS "Seen", mean({expected}) AS "Expected", '
        f'mean({expected}) + {BAND_SPREADS:g} * mean({spread}) AS "Upper", '
        f'mean({expected}) - {BAND_SPREADS:g} * mean({spread}) AS "Lower" '
        f"FROM {steps.source} {_where()} GROUP BY time($__interval) fill(null)"
    )
    panel = curve(
        channel.display_name or channel.name,
        _meaning(channel),
        [InfluxQuery(asked)],
        unit=grafana_unit(channel.unit),
        interval=interval(kind),
    )
    hidden = {"legend": True, "tooltip": False, "viz": False}
    return (
        with_limits(panel, channel.low_limit, channel.high_limit)
        .override_by_name(*named("Seen", colour=BLUE, custom__lineWidth=2))
        .override_by_name(*named("Expected", colour=GREY, custom__lineStyle={"fill": "dash", "dash": [6, 6]}))
        .override_by_name(
            *named(
                "Upper",
                colour=GREEN,
                custom__lineWidth=0,
                custom__fillBelowTo="Lower",
                custom__fillOpacity=15,
                custom__hideFrom=hidden,
            )
        )
        .override_by_name(*named("Lower", colour=GREEN, custom__lineWidth=0, custom__hideFrom=hidden))
    )


def _meaning(channel: Channel) -> str:
    """What the panel says of a channel beside its curve.

    >>> _meaning(Channel("level", unit="metre", minimum=0.0, maximum=12.0, high_limit=11.0))
    "`level` in metre. Sensor range 0 to 12. Alarm limits – to 11. The band is the model's forecast, 3 spreads to each side."
    """
    parts = [f"`{channel.name}`" + (f" in {channel.unit}" if channel.unit else "")]
    for words, low, high in (
        ("Sensor range", channel.minimum, channel.maximum),
        ("Alarm limits", channel.low_limit, channel.high_limit),
    ):
        if low is not None or high is not None:
            parts.append(f"{words} {'–' if low is None else f'{low:g}'} to {'–' if high is None else f'{high:g}'}")
    parts.append(f"The band is the model's forecast, {BAND_SPREADS:g} spreads to each side")
    return ". ".join(parts) + "."


def _quality(kind: TwinType, steps: Steps) -> statetimeline.Panel:
    fields = ", ".join(f"max({steps.quality(channel.name)}) AS {identifier(channel.name)}" for channel in kind.channels)
    return states(
        "Quality of the readings",
        "Of each channel the gravest in each interval: 0 good, 1 out of range, 2 stuck, 4 spike, 8 gap filled, 16 wrong unit, "
        "32 missing; a sum where several hold. Only good readings train.",
        [InfluxQuery(f"SELECT {fields} FROM {steps.source} {_where()} GROUP BY time($__interval) fill(none)")],
        interval=interval(kind),
    ).mappings([value_names(QUALITY_NAMES)])


def _versions(kind: TwinType, steps: Steps) -> statetimeline.Panel:
    return states(
        "Model version",
        "Which version scored each step, in event time: a change of colour is a swap. Empty while the twin is learning.",
        [
            InfluxQuery(
                f'SELECT last("version") AS "Version" FROM {steps.source} {_where()} GROUP BY time($__interval) fill(none)'
            )
        ],
        interval=interval(kind),
    ).height(4)


def _alerts() -> table.Panel:
    return listing(
        "Alerts of this twin",
        "Changes of alerts that began in the period shown, newest first; a change is a revision. Time: when the alert began.",
        [
            'SELECT "condition", "severity", "state", "acknowledged", "risk", "channel", "seen", "expected", "version", '
            f'"revision" FROM {ALERTS} {_where()} ORDER BY time DESC LIMIT 200'
        ],
        width=COLUMNS,
    )

"""Panels that several dashboards have: curves, counts, bands of states, tables; each with its query and what it means.

Sizes are in Grafana's grid of 24 columns, a row some 30 pixels high; `deploy.grafana.export` places panels from left to right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.influxql import DATA_SOURCE, Ask, InfluxAnnotation, InfluxQuery

COLUMNS: Final = 24
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
RISK_STEPS: Final = ((None, GREEN), (0.5, YELLOW), (0.9, RED))
SEVERITY_COLOURS: Final = {
    "critical": "dark-red",
    "major": RED,
    "minor": ORANGE,
    "warning": YELLOW,
    "indeterminate": BLUE,
}


def queries(*asked: str | InfluxQuery, table: bool = False) -> list[Ask]:
    """Targets of one panel, A, B, …"""
    found = []
    for nth, one in enumerate(asked):
        query = one if isinstance(one, InfluxQuery) else InfluxQuery(one, table=table)
        query.ref_id = chr(ord("A") + nth) if nth < 26 else f"Q{nth}"
        found.append(Ask(query))
    return found


def thresholds(steps: Iterable[tuple[float | None, str]]) -> build.ThresholdsConfig:
    """Colours from a value on; the first step has no value."""
    return (
        build.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=colour) for value, colour in steps])
    )


def curve(title: str, description: str, asked: Sequence[str | InfluxQuery], *, unit: str, interval: str) -> timeseries.Panel:
    """Lines over time. `interval`: the shortest bucket, such as the type's period; buckets without steps are not bridged."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .targets(list(queries(*asked)))
        .unit(unit)
        .interval(interval)
        .height(8)
        .span(12)
        .line_width(1)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.NONE))
    )


def with_limits(panel: timeseries.Panel, low: float | None, high: float | None) -> timeseries.Panel:
    """Dashed lines at alarm limits, red beyond them."""
    if low is None and high is None:
        return panel
    steps: list[tuple[float | None, str]] = [(None, "transparent" if low is None else RED)]
    if low is not None:
        steps.append((low, "transparent"))
    if high is not None:
        steps.append((high, RED))
    style = GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED_AND_AREA)
    return panel.thresholds(thresholds(steps)).thresholds_style(style)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Counts as bars, one on another."""
    return (
        panel.draw_style(common.GraphDrawStyle.BARS)
        .fill_opacity(70)
        .stacking(StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    )


def named(name: str, **properties: object) -> tuple[str, list[model.DynamicConfigValue]]:
    """Arguments for `override_by_name`: `colour`, and `custom__…` for `custom.…`."""
    values: list[model.DynamicConfigValue] = []
    for key, value in properties.items():
        if key == "colour":
            values.append(model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": value}))
        else:
            values.append(model.DynamicConfigValue(key.replace("__", "."), value))
    return name, values


def count(title: str, description: str, asked: str, *, unit: str = "none", width: int = 4) -> stat.Panel:
    """One big number: the last that the query gives."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .targets(list(queries(asked)))
        .unit(unit)
        .height(4)
        .span(width)
        .no_value("–")
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .thresholds(thresholds([(None, GREY)]))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )


def word(title: str, description: str, asked: str, *, field: str, width: int = 4) -> stat.Panel:
    """One text, such as a version: the last of the column `field`."""
    options = ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(f"/^{field}$/")
    return count(title, description, asked, width=width).reduce_options(options).text_mode(common.BigValueTextMode.VALUE)


def states(title: str, description: str, asked: Sequence[str | InfluxQuery], *, interval: str) -> statetimeline.Panel:
    """Bands that change colour with a state."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .targets(list(queries(*asked)))
        .interval(interval)
        .height(7)
        .span(COLUMNS)
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.85)
        .line_width(0)
        .fill_opacity(75)
        .legend(VizLegendOptions().show_legend(False).display_mode(common.LegendDisplayMode.LIST))
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE))
    )


def value_names(names: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    """What is shown in place of a value: its text and colour."""
    return model.ValueMap(
        {
            value: model.ValueMappingResult(text=text, color=colour, index=nth)
            for nth, (value, (text, colour)) in enumerate(names.items())
        }
    )


def listing(title: str, description: str, asked: Sequence[str], *, height: int = 9, width: int = COLUMNS) -> table.Panel:
    """Rows as they come; the time column stands first."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .targets(list(queries(*asked, table=True)))
        .height(height)
        .span(width)
        .show_header(True)
        .cell_height(common.TableCellHeight.SM)
        .filterable(True)
        .cell_options(common.TableAutoCellOptions())
    )


def column_link(title: str, url: str) -> dict[str, object]:
    """A link on the cells of a column, the value of `links` in an override."""
    return {"title": title, "url": url, "targetBlank": False}


def page_link(page: str, title: str, path: str, tooltip: str) -> build.DashboardLink:
    """A link to livetwin's own page, in the dashboard's head."""
    return (
        build.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .url(page.rstrip("/") + path)
        .icon("external link")
        .tooltip(tooltip)
        .target_blank(True)
    )


def siblings() -> build.DashboardLink:
    """A menu of all livetwin dashboards, in the dashboard's head."""
    return (
        build.DashboardLink("livetwin")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["livetwin"])
        .as_dropdown(True)
        .keep_time(True)
        .include_vars(False)
        .icon("dashboard")
        .tooltip("the other dashboards")
    )


def chosen(name: str, label: str, asked: str, description: str, *, several: bool = False) -> build.QueryVariable:
    """A variable whose values are asked for; `several`: any number of them, all at first."""
    variable = (
        build.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATA_SOURCE)
        .query(asked)
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        variable = variable.all_value(".*").current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable


def marks(name: str, asked: str, *, text: str, tags: str, colour: str) -> build.AnnotationQuery:
    """Marks on the time axis of every panel."""
    return (
        build.AnnotationQuery()
        .name(name)
        .datasource(DATA_SOURCE)
        .enable(True)
        .hide(False)
        .icon_color(colour)
        .target(Ask(InfluxAnnotation(name, asked, text, tags)))
    )

"""What all dashboards share: names, the period shown at first, links, marks of alerts.

In:   twin types, the address of livetwin's page.
Out:  a dashboard to put panels in; uids and addresses by which dashboards link to each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.influxql import ALERTS, SWITCHES
from deploy.grafana.panels import BLUE, RED, marks, page_link, siblings
from deploy.grafana.period import first_period
from twin.types import NS_PER_S, TwinType

FLEET: Final = "livetwin-fleet"
ALERTS_UID: Final = "livetwin-alerts"
MODELS: Final = "livetwin-models"
SYSTEM: Final = "livetwin-system"
PAGE_URL: Final = "http://127.0.0.1:8080"
_LONGEST_UID: Final = 40  # Grafana's limit


@dataclass(frozen=True, slots=True)
class Fleet:
    """What dashboards are made of: twin types by name, and where livetwin's own page is."""

    types: tuple[TwinType, ...]
    page_url: str = PAGE_URL
    ahead_h: Mapping[str, int] = field(default_factory=dict)  # type id → hours by which its newest step is ahead of now

    @property
    def simulated(self) -> bool:
        """All types have clocks that may run ahead of ours."""
        return bool(self.types) and all(kind.max_ahead_ns is None for kind in self.types)

    def period(self, *types: TwinType) -> tuple[str, str]:
        """What a dashboard of these types shows at first; of all types without any."""
        return first_period(types or self.types, self.ahead_h)


def fleet_of(types: Sequence[TwinType], page_url: str = PAGE_URL, ahead_h: Mapping[str, int] | None = None) -> Fleet:
    return Fleet(tuple(sorted(types, key=lambda kind: kind.id)), page_url, ahead_h or {})


def frame(
    uid: str, title: str, description: str, *, period: tuple[str, str], links: Sequence[build.DashboardLink] = ()
) -> build.Dashboard:
    """An empty dashboard."""
    from_, to = period
    return (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["livetwin"])
        .readonly()
        .timezone("browser")
        .time(from_, to)
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([siblings(), *links])
    )


def to_page(page_url: str, title: str, path: str) -> build.DashboardLink:
    return page_link(page_url, title, path, "livetwin's own page: live, with what was seen and what was expected")


def alert_marks(condition: str) -> build.AnnotationQuery:
    """Where alerts began. `condition` is InfluxQL that says of which twins."""
    asked = (
        f'SELECT "condition", "asset", "severity", "channel", "risk" FROM {ALERTS} '
        f'WHERE "revision" = 1 AND {condition} AND $timeFilter'
    )  # no GROUP BY: marks are rows of one series
    return marks("Alerts", asked, text="condition", tags="asset,severity,channel", colour=RED)


def swap_marks(condition: str = "") -> build.AnnotationQuery:
    """Where another version began to score, be it some twins only (`canary`), in event time. `condition`: InfluxQL, then AND."""
    asked = f'SELECT "version", "canary", "model", "partition" FROM {SWITCHES} WHERE {condition}$timeFilter'
    return marks("Swaps", asked, text="version", tags="model,partition,canary", colour=BLUE)


def type_uid(kind: TwinType) -> str:
    """The uid of a type's dashboard: letters, digits, dashes, underscores, at most 40.

    >>> type_uid(TwinType("dtmi:livetwin:water:Tank;1", "Tank", (), 1, 0, None, 0, 0))
    'livetwin-type-water-tank'
    >>> len(type_uid(TwinType(f"dtmi:{'long:' * 20}Tank;1", "Tank", (), 1, 0, None, 0, 0)))
    40
    """
    uid = "livetwin-type-" + re.sub(r"[^A-Za-z0-9_]", "-", kind.slug)
    if len(uid) <= _LONGEST_UID and re.fullmatch(r"[A-Za-z0-9_.]+", kind.slug):
        return uid
    return f"{uid[: _LONGEST_UID - 9]}-{hashlib.sha256(kind.slug.encode()).hexdigest()[:8]}"


def twin_url(uid: str, asset: str) -> str:
    """Where Grafana shows one twin; `asset` is a variable of a data link. The period shown is handed on."""
    return f"/d/{uid}?var-asset={asset}&${{__url_time_range}}"


def interval(kind: TwinType) -> str:
    """The type's period as the shortest bucket of a curve.

    >>> from dataclasses import replace
    >>> tank = TwinType("dtmi:livetwin:water:Tank;1", "Tank", (), 300 * NS_PER_S, 0, None, 0, 0)
    >>> interval(tank), interval(replace(tank, period_ns=250_000_000))
    ('300s', '250ms')
    """
    if kind.period_ns % NS_PER_S == 0:
        return f"{kind.period_ns // NS_PER_S}s"
    return f"{max(1, kind.period_ns // 1_000_000)}ms"

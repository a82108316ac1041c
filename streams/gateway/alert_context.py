"""What stands beside an alert in the fleet: earlier alerts like it, neighbours that move too, what happened close in time.

In:   the live views; the store, for the risk that neighbours had then.
Out:  `AlertContext`, bounded, as HTTP answers it and the page shows it.
Worked out anew each time it is asked for, and written nowhere: neighbours live on other partitions, which may be behind when an
alert appears, so it is no function of the alert's own log and would differ between a replay and the first run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel, Field

from streams.gateway.page_words import condition_words
from streams.gateway.times import NS_PER_S, rfc3339, rfc3339_or_none
from streams.gateway.views import LiveViews
from streams.records import Alert
from streams.stores.port import StoreError, TwinStore
from twin.alert_likeness import last_comment, nearest

NEAR_STEPS: Final = 64  # before the onset: what a version reads to judge a step
TOGETHER_STEPS: Final = 12  # about the onset: what moves within them moves together
RAISED: Final = 0.35  # risk from which a twin is told as `warning`
LEAST_EVENTS_NS: Final = 3600 * NS_PER_S  # people declare what they do with less haste than sensors sample
MOST_NEIGHBOURS: Final = 50  # asked after
MOST_MOVING: Final = 10  # told
MOST_SWAPS: Final = 5
MOST_EVENTS: Final = 10
_PERIOD_NS: Final = 60 * NS_PER_S  # of a type that is not known any more


class SimilarAnswer(BaseModel):
    id: str
    asset: str
    name: str = Field(description="of the asset, for people")
    similarity: float = Field(description="cosine of the signed contributions and the detectors' shares, at most 1")
    condition: str
    state: str
    onset: str
    cleared: str | None
    false_alarm: bool
    acknowledged_by: str | None
    comment: str | None = Field(description="the newest that a person wrote, its first 200 characters")


class NeighbourAnswer(BaseModel):
    asset: str
    name: str
    relationship: str
    direction: Literal["out", "in"] = Field(description="out: from the alert's twin to the neighbour")
    alert: str | None = Field(description="id of its alert about then")
    condition: str | None
    summary: str | None = Field(description="one sentence of that alert's evidence")
    onset: str | None = Field(description="of that alert")
    risk: float | None = Field(description="its highest about the onset; null where neither the store nor an alert knows")


class SwapAnswer(BaseModel):
    version: str
    time: str = Field(description="event time of the last step that the version before scored")


class EventAnswer(BaseModel):
    asset: str
    kind: str
    time: str
    text: str
    label: str | None


class AlertContext(BaseModel):
    similar: list[SimilarAnswer] = Field(
        description="earlier alerts of twins of this type that looked much the same, nearest first"
    )
    neighbours: list[NeighbourAnswer] = Field(description="neighbours whose risk was raised or that had an alert about the onset")
    neighbours_known: int = Field(description="neighbours in all, moving or not")
    swaps: list[SwapAnswer] = Field(description="versions that took over this partition close before the onset")
    events: list[EventAnswer] = Field(
        description="declared for this twin or a neighbour from shortly before the onset to its end"
    )
    looked_back_s: float = Field(description="seconds of event time before the onset in which swaps were looked for")


def context_of(views: LiveViews, alert: Alert, risks: Mapping[str, float]) -> AlertContext:
    """The context as the views know it now. `risks`: highest risk of neighbours about the onset, see `risks_about`."""
    period_ns = _period_ns(views, alert)
    edges = _edges(views, alert.asset)
    return AlertContext(
        similar=_similar(views, alert),
        neighbours=_moving(views, alert, edges, risks, TOGETHER_STEPS * period_ns),
        neighbours_known=len(edges),
        swaps=_swaps(views, alert, period_ns),
        events=_events(views, alert, [alert.asset, *edges], max(NEAR_STEPS * period_ns, LEAST_EVENTS_NS)),
        looked_back_s=NEAR_STEPS * period_ns / NS_PER_S,
    )


async def risks_about(views: LiveViews, store: TwinStore, alert: Alert) -> dict[str, float]:
    """The highest risk of each neighbour about the alert's onset, from the store; those it does not know are left out."""
    near_ns = TOGETHER_STEPS * _period_ns(views, alert)
    asked = list(_edges(views, alert.asset))[:MOST_NEIGHBOURS]
    return await asyncio.to_thread(_read_risks, store, asked, alert.onset_ns - near_ns, alert.onset_ns + near_ns + 1)


def _read_risks(store: TwinStore, assets: Sequence[str], from_ns: int, to_ns: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for asset in assets:
        try:
            series = store.history(asset, channels=[], from_ns=from_ns, to_ns=to_ns, points=1).risk
        except StoreError:  # away: what the alerts tell is told, risks are not
            return found
        if series.risk:
            found[asset] = max(series.risk)
    return found


def _period_ns(views: LiveViews, alert: Alert) -> int:
    kind = views.definitions.types.get(alert.type)
    return kind.period_ns if kind is not None else _PERIOD_NS


def _edges(views: LiveViews, asset: str) -> dict[str, tuple[str, Literal["out", "in"]]]:
    """Neighbour → relationship and its direction; the outgoing one where there are two."""
    fleet = views.definitions.fleet
    declared = fleet.get(asset)
    found: dict[str, tuple[str, Literal["out", "in"]]] = {source: (edge.name, "in") for source, edge in fleet.incoming(asset)}
    found |= {edge.target: (edge.name, "out") for edge in (declared.relationships if declared is not None else ())}
    found.pop(asset, None)
    return found


def _similar(views: LiveViews, alert: Alert) -> list[SimilarAnswer]:
    past = (
        (one, one.onset_ns, views.alerts.signature(one))
        for one in views.alerts.all()
        if one.type == alert.type and one.onset_ns < alert.onset_ns and one.id != alert.id
    )
    return [
        SimilarAnswer(
            id=one.id,
            asset=one.asset,
            name=views.display_name(one.asset),
            similarity=near,
            condition=one.condition,
            state=one.state,
            onset=rfc3339(one.onset_ns),
            cleared=rfc3339_or_none(one.cleared_ns),
            false_alarm=one.false_alarm,
            acknowledged_by=one.acknowledged_by,
            comment=last_comment((line.by, line.text) for line in one.comments),
        )
        for one, near in nearest(views.alerts.signature(alert), past)
    ]


def _moving(
    views: LiveViews,
    alert: Alert,
    edges: Mapping[str, tuple[str, Literal["out", "in"]]],
    risks: Mapping[str, float],
    near_ns: int,
) -> list[NeighbourAnswer]:
    begin, end = alert.onset_ns - near_ns, alert.onset_ns + near_ns
    theirs: dict[str, Alert] = {}
    for one in views.alerts.all():
        if one.asset in edges and one.onset_ns <= end and (one.cleared_ns is None or one.cleared_ns >= begin):
            known = theirs.get(one.asset)
            if known is None or _apart(one, alert) < _apart(known, alert):
                theirs[one.asset] = one
    found: list[tuple[tuple[bool, float, str], NeighbourAnswer]] = []
    for asset, (relationship, direction) in edges.items():
        other, risk = theirs.get(asset), risks.get(asset)
        state = views.twins.get(asset)
        if state is not None and begin <= state.time_ns <= end:  # the store may be behind
            risk = max(risk or 0.0, state.risk)
        if other is None and (risk is None or risk < RAISED):
            continue
        told = NeighbourAnswer(
            asset=asset,
            name=views.display_name(asset),
            relationship=relationship,
            direction=direction,
            alert=other.id if other is not None else None,
            condition=other.condition if other is not None else None,
            summary=(other.evidence.summary or condition_words(other.condition)) if other is not None else None,
            onset=rfc3339(other.onset_ns) if other is not None else None,
            risk=round(risk, 4) if risk is not None else None,
        )
        found.append(((other is None, -(risk or 0.0), asset), told))
    return [told for _, told in sorted(found, key=lambda one: one[0])[:MOST_MOVING]]


def _apart(one: Alert, other: Alert) -> int:
    return abs(one.onset_ns - other.onset_ns)


def _swaps(views: LiveViews, alert: Alert, period_ns: int) -> list[SwapAnswer]:
    begin, end = alert.onset_ns - NEAR_STEPS * period_ns, alert.onset_ns
    near = [
        (switch.event_ns, switch.version)
        for model in views.models.models.values()
        if model.type == alert.type and alert.evidence.partition in model.serving
        for switch in model.serving[alert.evidence.partition].switches
        if switch.event_ns is not None and begin <= switch.event_ns <= end
    ]
    return [SwapAnswer(version=version, time=rfc3339(at)) for at, version in sorted(near, reverse=True)[:MOST_SWAPS]]


def _events(views: LiveViews, alert: Alert, assets: Sequence[str], near_ns: int) -> list[EventAnswer]:
    begin, end = alert.onset_ns - near_ns, alert.cleared_ns or alert.updated_ns

    near = [event for asset in assets[: 1 + MOST_NEIGHBOURS] for event in views.events.of(asset) if begin <= event.time_ns <= end]
    near.sort(key=lambda event: (event.asset != alert.asset, abs(event.time_ns - alert.onset_ns)))
    return [
        EventAnswer(asset=event.asset, kind=event.kind, time=rfc3339(event.time_ns), text=event.text, label=event.label)
        for event in near[:MOST_EVENTS]
    ]

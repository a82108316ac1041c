"""The shapes that HTTP and SSE answer with. Field names are stable; more may be added.

In:   records of the topics, views.
Out:  pydantic models (for OpenAPI) filled as plain dictionaries (for speed).
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from streams.alarm_rates import ModelAlarms
from streams.gateway import serving_answers
from streams.gateway.alert_context import AlertContext
from streams.gateway.times import NS_PER_S, rfc3339, rfc3339_or_none
from streams.gateway.views import LiveViews
from streams.model_records import GateStage
from streams.models_topic import ModelView
from streams.records import Alert, ChannelEvidence, LikelyFault, Severity, TwinState


class TwinAnswer(BaseModel):
    """One twin as of its last closed step."""

    id: str
    type: str = Field(description="DTMI of its type")
    name: str = Field(description="name for people")
    time: str | None = Field(description="end of the last closed step, event time; null while nothing has arrived")
    values: dict[str, float | None]
    expected: dict[str, float | None] = Field(description="what the model expected; empty while learning")
    quality: dict[str, str]
    health: str | None = Field(description="learning | ok | warning | alarm | silent; null while nothing has arrived")
    risk: float | None = Field(description="0..1; at 0.5 and above an alert is near or raised")
    model_version: str | None
    partition: int | None
    offset: int | None


class PropertyChangeAnswer(BaseModel):
    time: str = Field(description="event time from which it holds")
    properties: dict[str, str | float | bool]


class TwinDetail(TwinAnswer):
    units: dict[str, str]
    properties: dict[str, str | float | bool] = Field(description="static data as it is now")
    property_changes: list[PropertyChangeAnswer] = Field(description="how it came to be so, oldest first")
    relationships: list[dict[str, Any]] = Field(description="edges that leave this twin: name, target, properties")
    neighbours: list[str]
    alerts: list[str] = Field(description="ids of its active alerts")


class TwinList(BaseModel):
    twins: list[TwinAnswer]
    next: str | None = Field(description="pass as `after` for the next page; null: this is the last")


class EvidenceChannel(BaseModel):
    name: str
    seen: float | None
    expected: float | None
    spread: float | None
    contribution: float
    unit: str | None
    detector: str | None = Field(
        description="sees it: forecast | shift | level | shape | pattern | limit | stuck | out-of-range | wrong-unit | silent"
    )
    off: float | None = Field(description="seen less what that detector expects, the mean over `over_s`")
    over_s: float | None = Field(description="seconds of event time over which that detector compares")


class EvidenceAnswer(BaseModel):
    summary: str = Field(description="one sentence about the strongest channel; empty where nothing is known of it")
    channels: list[EvidenceChannel] = Field(description="strongest first")
    detectors: dict[str, float] = Field(description="share of each detector in the score")
    likely_fault: LikelyFault | None = Field(description="which fault it looks like, by what people labelled before")
    model_version: str | None
    weights_sha256: str | None
    partition: int
    first_offset: int
    last_offset: int


class CommentAnswer(BaseModel):
    time: str
    by: str
    text: str


class SimilarOwnAnswer(BaseModel):
    """An earlier alert of the same twin that looked much the same, as it was when this one was published."""

    id: str
    similarity: float
    condition: str
    onset: str
    cleared: str | None
    false_alarm: bool
    comment: str | None


class AlertAnswer(BaseModel):
    id: str
    revision: int
    asset: str
    type: str
    condition: str
    severity: Severity
    state: str = Field(description="active | cleared")
    acknowledged: bool
    acknowledged_by: str | None
    shelved_until: str | None
    false_alarm: bool
    onset: str
    updated: str
    cleared: str | None
    risk: float
    comments: list[CommentAnswer]
    similar: list[SimilarOwnAnswer] = Field(description="earlier alerts of this twin that looked much the same, nearest first")
    evidence: EvidenceAnswer


class AlertDetail(AlertAnswer):
    context: AlertContext


class AlertList(BaseModel):
    alerts: list[AlertAnswer]
    next: str | None


class VersionAnswer(BaseModel):
    version: str
    sha256: str
    base: str | None
    decision: str
    why: str
    time: str
    figures: dict[str, float]
    stages: list[GateStage] = Field(description="each stage's own word, in order")
    run_id: str | None


class ChampionAnswer(BaseModel):
    version: str
    sha256: str
    since: str
    previous: str | None
    figures: dict[str, float]


class RefusalAnswer(BaseModel):
    version: str
    serving: str | None
    reason: str
    time: str


class ModelAnswer(BaseModel):
    name: str
    type: str | None
    champion: ChampionAnswer | None
    challenger: serving_answers.ChallengerAnswer | None
    history: list[VersionAnswer]
    refusals: list[RefusalAnswer]
    serving: list[serving_answers.ServingAnswer]
    pending: list[str] = Field(description="commands that nobody has carried out yet")
    alarms: serving_answers.AlarmsAnswer | None = Field(description="null: no processor has told of it yet")


class ModelList(BaseModel):
    models: list[ModelAnswer]
    next: str | None


def twin_answer(state: TwinState, views: LiveViews) -> dict[str, Any]:
    return {
        "id": state.asset,
        "type": state.type,
        "name": views.display_name(state.asset),
        "time": rfc3339(state.time_ns),
        "values": state.values,
        "expected": state.expected,
        "quality": state.quality,
        "health": state.health,
        "risk": state.risk,
        "model_version": state.model_version,
        "partition": state.partition,
        "offset": state.offset,
    }


def waiting_twin_answer(asset: str, dtmi: str, views: LiveViews) -> dict[str, Any]:
    """A twin that is declared, of which nothing has arrived yet."""
    unknown: dict[str, Any] = dict.fromkeys(("time", "health", "risk", "model_version", "partition", "offset"))
    return {"id": asset, "type": dtmi, "name": views.display_name(asset), "values": {}, "expected": {}, "quality": {}, **unknown}


def alert_answer(alert: Alert) -> dict[str, Any]:
    evidence = alert.evidence
    return {
        **alert.model_dump(
            include={
                "id",
                "revision",
                "asset",
                "type",
                "condition",
                "severity",
                "state",
                "acknowledged",
                "acknowledged_by",
                "false_alarm",
                "risk",
            }
        ),
        "shelved_until": rfc3339_or_none(alert.shelved_until_ns),
        "onset": rfc3339(alert.onset_ns),
        "updated": rfc3339(alert.updated_ns),
        "cleared": rfc3339_or_none(alert.cleared_ns),
        "comments": [{"time": rfc3339(one.time_ns), "by": one.by, "text": one.text} for one in alert.comments],
        "similar": [
            {
                **one.model_dump(exclude={"onset_ns", "cleared_ns"}),
                "onset": rfc3339(one.onset_ns),
                "cleared": rfc3339_or_none(one.cleared_ns),
            }
            for one in alert.similar
        ],
        "evidence": {
            **evidence.model_dump(exclude={"channels"}),
            "channels": [_channel(one) for one in evidence.channels],
        },
    }


def _channel(one: ChannelEvidence) -> dict[str, Any]:
    return {**one.model_dump(exclude={"over_ns"}), "over_s": None if one.over_ns is None else one.over_ns / NS_PER_S}


def model_answer(model: ModelView, alarms: ModelAlarms | None) -> dict[str, Any]:
    alias = model.alias
    champion = model.champion
    return {
        "name": model.name,
        "type": model.type,
        "champion": None
        if alias is None
        else {
            "version": alias.champion,
            "sha256": alias.champion_sha256,
            "since": rfc3339(alias.since_ns),
            "previous": alias.previous,
            "figures": champion.figures if champion is not None else {},
        },
        "challenger": serving_answers.challenger(model),
        "history": [
            {
                "version": one.version,
                "sha256": one.sha256,
                "base": one.base,
                "decision": one.decision,
                "why": one.why,
                "time": rfc3339(one.time_ns),
                "figures": one.figures,
                "stages": [stage.model_dump() for stage in one.stages],
                "run_id": one.run_id,
            }
            for one in model.history()
        ],
        "refusals": [
            {"version": one.version, "serving": one.serving, "reason": one.reason, "time": rfc3339(one.time_ns)}
            for one in sorted(model.refusals.values(), key=lambda refusal: refusal.time_ns, reverse=True)
        ],
        "serving": serving_answers.serving(model),
        "pending": [command.action for command in model.pending()],
        "alarms": serving_answers.alarms(alarms),
    }

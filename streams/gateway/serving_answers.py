"""What HTTP says of the versions that serve beside the champion or partition by partition, and how often their twins alarm.

In:   the view of one model, its alarm rates.
Out:  pydantic models (for OpenAPI) filled as plain dictionaries, parts of `streams.gateway.answers.ModelAnswer`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from streams.alarm_rates import AlarmCount, ModelAlarms
from streams.gateway.times import rfc3339
from streams.models_topic import ModelView


class ChallengerAnswer(BaseModel):
    version: str
    sha256: str | None
    canary_share: float | None = Field(description="share of the twins that it serves; null: it stands in the shadow")


class ServingAnswer(BaseModel):
    partition: int
    epoch: int
    version: str | None
    sha256: str | None
    from_offset: int | None
    canary: str | None = Field(description="version that serves the canary twins from there on")
    time: str


class AlarmCountAnswer(BaseModel):
    alarms: int = Field(description="of the model, that began")
    expected: float = Field(description="as many were asked for")
    twin_days: float = Field(description="event time in which a version judged a twin, over all twins")
    ratio: float | None = Field(description="alarms over expected")


class AlarmsAnswer(BaseModel):
    """How often the twins of a model alarm, beside how often they were to."""

    time: str = Field(description="event time up to which is counted")
    version: str = Field(description="that `since_version` speaks of")
    target: float = Field(description="alarms a twin-day that it is calibrated to")
    twins: int = Field(description="that it judges")
    week: AlarmCountAnswer = Field(description="the seven newest days of event time, whatever version served")
    since_version: AlarmCountAnswer = Field(description="since the version serves")


def alarms(found: ModelAlarms | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "time": rfc3339(found.newest.time_ns),
        "version": found.newest.version,
        "target": found.newest.target,
        "twins": found.twins,
        "week": _count(found.week),
        "since_version": _count(found.since_version),
    }


def _count(count: AlarmCount) -> dict[str, Any]:
    return {"alarms": count.alarms, "expected": count.expected, "twin_days": count.twin_days, "ratio": count.ratio}


def challenger(model: ModelView) -> dict[str, Any] | None:
    alias = model.alias
    if alias is None or alias.challenger is None:
        return None
    sha256 = model.challenger.sha256 if model.challenger is not None else None
    return {"version": alias.challenger, "sha256": sha256, "canary_share": alias.canary.share if alias.canary else None}


def serving(model: ModelView) -> list[dict[str, Any]]:
    found = []
    for partition, one in sorted(model.serving.items()):
        newest = one.switches[-1] if one.switches else None
        found.append(
            {
                "partition": partition,
                "epoch": one.epoch,
                "version": newest.version if newest else None,
                "sha256": newest.sha256 if newest else None,
                "from_offset": newest.offset if newest else None,
                "canary": newest.canary.version if newest and newest.canary else None,
                "time": rfc3339(one.time_ns),
            }
        )
    return found

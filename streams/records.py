"""The records on the topics: the published contract, one pydantic model each.

Values are JSON; field names are stable, more fields may be added. Times are event times in nanoseconds since 1970
(`…_ns`), so that nothing is lost to a float. Every output of a processor names the partition and offsets it came from,
and carries the header `epoch` (the owner's consumer-group generation): a sink ignores a record of an
older epoch than it has seen for that partition, so that a processor that woke up too late changes nothing.
"""

from __future__ import annotations

import uuid
from typing import Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

EPOCH_HEADER = "epoch"
_ALERT_NAMESPACE = uuid.UUID("6f5c8c1e-55b4-5d0a-9a53-5a1f3b2f7c10")

Health = Literal["learning", "ok", "warning", "alarm", "silent"]
Severity = Literal["critical", "major", "minor", "warning", "indeterminate"]
UNKNOWN_FAULT = "unknown"  # where no fault can be named
# words for quality bits, see twin.quality
Number = float | None


class Record(BaseModel):
    """Base of everything on a topic: frozen, unknown fields ignored (an older reader meets a newer writer)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Canonical JSON: same record, same bytes."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


R = TypeVar("R", bound=Record)


class TwinState(Record):
    """`twin.state`, key asset: the last closed step of one twin."""

    asset: str
    type: str = Field(description="DTMI")
    time_ns: int = Field(description="end of the last closed step, event time")
    values: dict[str, Number]
    expected: dict[str, Number] = {}
    quality: dict[str, str] = Field(description="channel → good | wrong-unit | out-of-range | stuck | spike | gap | missing")
    health: Health
    risk: float = Field(ge=0, le=1)
    model_version: str | None
    partition: int
    offset: int = Field(description="last telemetry offset folded into this state")


class ChannelEvidence(Record):
    """What one channel showed against what the model expected. Units of the channel."""

    name: str
    seen: Number
    expected: Number = Field(description="what the model expected; of its forecasts of this step, the one farthest off")
    spread: Number = Field(default=None, description="one standard deviation of what the model expects")
    contribution: float = Field(default=0.0, description="share of the score, 0..1")
    unit: str | None = None
    detector: str | None = Field(
        default=None,
        description="sees it: forecast | shift | level | shape | pattern | limit | stuck | out-of-range | wrong-unit | silent",
    )
    off: Number = Field(default=None, description="seen less what that detector expects, the mean over `over_ns`")
    over_ns: int | None = Field(default=None, description="event time up to this step over which that detector compares")


class LikelyFault(Record):
    """Which fault an alert of the model looks like, by what people labelled before. It explains, and decides nothing."""

    label: str = Field(description="a class that people labelled (`normal`: a false alarm), or unknown")
    probabilities: dict[str, float] = Field(description="class → probability, calibrated on labelled periods that were left out")
    why: str | None = Field(
        default=None, description="of unknown: unsure (no better than how often each class comes) | far (like no labelled alert)"
    )


class Evidence(Record):
    """Why a signal was raised, and from which bytes of the log that can be computed again."""

    channels: list[ChannelEvidence] = Field(description="strongest first")
    deviation: float = Field(default=0.0, description="largest distance of a channel from what was expected, in its spreads")
    detectors: dict[str, float] = Field(
        default={}, description="share of each detector in the score; those without a share left out"
    )
    summary: str = Field(default="", description="one sentence about the strongest channel; empty where nothing is known of it")
    likely_fault: LikelyFault | None = Field(
        default=None, description="of an alert of the model whose version tells faults apart"
    )
    model_version: str | None
    weights_sha256: str | None
    partition: int
    first_offset: int = Field(description="first telemetry offset of the window that was scored")
    last_offset: int


class Signal(Record):
    """`alert.signals`, key asset: one condition of one twin, once per closed step while it lasts.

    `clear` is sent on every closed step after the condition went away until `off_delay_ns` has passed, so that
    event time moves on for whoever waits. `onset_ns` stays the same from the raise to the last clear.
    """

    kind: Literal["raise", "keep", "clear"]
    asset: str
    type: str
    condition: str = Field(
        description="anomaly | limit:<channel>:<low|high> | <stuck|out-of-range|wrong-unit>:<channel> | silent"
    )
    severity: Severity
    onset_ns: int = Field(description="event time of the step that raised it")
    time_ns: int = Field(description="event time of this step")
    risk: float
    why: str | None = Field(default=None, description="of a clear: why the condition can't be on any more")
    on_delay_ns: int = 0
    off_delay_ns: int = 0
    evidence: Evidence

    @property
    def alert_id(self) -> str:
        return alert_id(self.asset, self.condition, self.onset_ns)


def alert_id(asset: str, condition: str, onset_ns: int) -> str:
    """Deterministic alert id: a redelivered signal updates and never duplicates.

    >>> alert_id("p1", "anomaly", 0) == alert_id("p1", "anomaly", 0)
    True
    """
    return str(uuid.uuid5(_ALERT_NAMESPACE, f"{asset}\0{condition}\0{onset_ns}"))


class Comment(Record):
    time_ns: int
    by: str
    text: str


class SimilarAlert(Record):
    """An earlier alert of the same twin that looked much the same, as it was when this one was published."""

    id: str
    similarity: float = Field(description="cosine of the signed contributions and the detectors' shares, at most 1")
    condition: str
    onset_ns: int
    cleared_ns: int | None = None
    false_alarm: bool = False
    comment: str | None = Field(default=None, description="the newest that a person wrote, its first 200 characters")


class Alert(Record):
    """`alerts`, key alert id: the whole alert; each change is a new record with the next revision."""

    id: str
    revision: int
    asset: str
    type: str
    condition: str
    severity: Severity
    state: Literal["active", "cleared"]
    acknowledged: bool = False
    acknowledged_by: str | None = None
    shelved_until_ns: int | None = None
    false_alarm: bool = False
    onset_ns: int
    updated_ns: int = Field(description="event time of the last change")
    cleared_ns: int | None = None
    risk: float = Field(description="highest risk so far")
    comments: list[Comment] = []
    similar: list[SimilarAlert] = Field(
        default=[], description="earlier alerts of this twin that looked much the same, nearest first"
    )
    evidence: Evidence


class AlertCommand(Record):
    """`alert.commands`, key alert id: what a person or a system says of one alert."""

    command_id: str = Field(description="unique; the same command delivered twice counts once")
    action: Literal["acknowledge", "shelve", "comment", "false-alarm"]
    alert_id: str
    asset: str
    by: str = "operator"
    text: str | None = None
    until_ns: int | None = Field(default=None, description="shelve: until this event time")
    time_ns: int = Field(description="wall clock when the command was given")


class Feedback(Record):
    """`feedback`, key asset: a label for a period of one twin. `normal` keeps the period in training, others exclude it."""

    asset: str
    from_ns: int
    to_ns: int
    label: str = Field(description="normal | fault | any class of fault")
    by: str = "operator"
    alert_id: str | None = None


class EventRecord(Record):
    """`events`, key asset: text or coded event. Ground truth of the demo has kind `fault`; detection never reads it.

    `recalibration` and `regime-change` say that from then on the asset shows what counts as normal for it.
    """

    asset: str
    time_ns: int
    kind: str = Field(description="log | maintenance | message | recalibration | regime-change | fault")
    text: str = ""
    code: str | None = None
    label: str | None = None
    active: bool | None = Field(default=None, description="fault: true when it begins, false when it ends")


class DemoCommand(Record):
    """`demo.commands`, key `fault/<fault>/<asset>`: switch a fault of the demo plant on or off."""

    fault: Literal["leak", "pump-trip", "stuck", "drift", "offset"]
    asset: str
    channel: str | None = Field(default=None, description="sensor faults: which channel; None: the first")
    size: float | None = Field(
        default=None, description="leak: litres per second at 20 m head; drift: units per hour; offset: units"
    )
    active: bool = True
    by: str = "operator"

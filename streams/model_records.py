"""The records on `models`: versions, aliases, orders, which version served where, refusals.

As in `streams.records`: the published contract, one pydantic model each.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, Self

import orjson
from pydantic import Field

from models.fault_report import FaultReport
from models.origin import Compute, Origin
from streams.records import Record


class GateStage(Record):
    """What one stage said of a version: of the gate before it could serve, of the shadow, or while it served."""

    name: str
    passed: bool
    why: str = Field(description="what was found and what was expected")


class ModelVersion(Record):
    """`models`, key `<name>/version/<version>`: one trained version and what was decided about it."""

    kind: Literal["version"] = "version"
    name: str = Field(description="model name: the slug of its twin type")
    type: str
    version: str
    uri: str = Field(description="where the safetensors file lies: file:// or an MLflow artifact URI")
    sha256: str
    contract: str
    base: str | None = Field(default=None, description="version it was fine-tuned from")
    decision: Literal["champion", "refused", "challenger", "retired", "rolled-back"]
    why: str
    time_ns: int = Field(description="wall clock of the decision")
    figures: dict[str, float] = Field(default={})
    trigger: str | None = Field(
        default=None, description="what it was trained for: first | time | volume | drift | hand, and why"
    )
    stages: list[GateStage] = Field(default=[], description="each stage's own word, in order; empty before 0.2")
    judged_to_ns: int | None = Field(
        default=None, description="end of the newest step that training or gate saw; live steps to judge it on come after"
    )
    anchors: list[str] = Field(
        default=[], description="versions that were the best on its hold-out: the next one is compared with them too"
    )
    run_id: str | None = Field(default=None, description="MLflow run")
    origin: Origin | None = Field(default=None, description="what it was trained on and how it is built; null: no weights")
    faults: FaultReport | None = Field(default=None, description="what came of people's labels of faults; null: there were none")
    compute: Compute | None = Field(default=None, description="time, energy and software that training and gate took")


class Canary(Record):
    """A challenger that scores a share of a type's twins, drawn by a hash of their names; the champion scores the others."""

    version: str
    sha256: str
    uri: str
    share: float = Field(gt=0, lt=1, description="of the twins, as `streams.canary.drawn` draws them")
    since_ns: int = Field(description="wall clock of its start")


class ModelAlias(Record):
    """`models`, key `<name>/alias`: which version is to serve. The trainer is its only writer."""

    kind: Literal["alias"] = "alias"
    name: str
    type: str
    champion: str
    champion_sha256: str
    champion_uri: str
    since_ns: int
    previous: str | None = None
    challenger: str | None = None
    canary: Canary | None = Field(default=None, description="the challenger is tried on a share of the twins; null: it is not")
    why: str = ""
    command_id: str | None = Field(
        default=None, description="the ModelCommand that this answers; None: the trainer's own decision"
    )


class ModelCommand(Record):
    """`models`, key `<name>/command/<command_id>`: promote, roll back or train by hand; the trainer carries it out."""

    kind: Literal["command"] = "command"
    command_id: str
    name: str
    action: Literal["promote", "rollback", "train"]
    version: str | None = None
    by: str = "operator"
    time_ns: int


class Switch(Record):
    """From `offset` on (inclusive), telemetry of this partition is scored by `version`, that of canary twins by the canary's."""

    offset: int
    version: str
    sha256: str
    uri: str
    event_ns: int | None = Field(
        default=None, description="end of the newest step of this model that the partition had below `offset`; None: none yet"
    )
    canary: Canary | None = Field(default=None, description="another version that scores some of the twins; null: none")

    @cached_property
    def as_json(self) -> bytes:
        """`to_bytes`, made once: a `Serving` holds up to 500, and is written anew at each swap, while scoring waits."""
        return self.to_bytes()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.__dict__.pop("as_json", None)  # an update may follow
        return copied


class Serving(Record):
    """`models`, key `<name>/serving/<partition>/<epoch>`: which version scores which stretch of a partition.

    The owner writes it, acknowledged, before its first output by a version; whoever folds that stretch again uses
    the same version at the same offset. `switches` reaches back to where the log began, 500 at most.
    """

    kind: Literal["serving"] = "serving"
    name: str
    partition: int
    epoch: int
    switches: list[Switch]
    time_ns: int = Field(description="wall clock of the newest switch")

    def to_bytes(self) -> bytes:
        fields = {**self.__dict__, "switches": [orjson.Fragment(one.as_json) for one in self.switches]}
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


class Refusal(Record):
    """`models`, key `<name>/refusal/<version>`: a processor could not serve a version; the old one keeps serving."""

    kind: Literal["refusal"] = "refusal"
    name: str
    version: str
    serving: str | None
    reason: str
    time_ns: int
    command_id: str | None = Field(default=None, description="the ModelCommand that this answers; None: a processor's refusal")


ModelsRecord = Annotated[ModelVersion | ModelAlias | ModelCommand | Serving | Refusal, Field(discriminator="kind")]


def models_key(record: ModelVersion | ModelAlias | ModelCommand | Serving | Refusal) -> bytes:
    """The compaction key of a record on `models`."""
    match record:
        case ModelVersion():
            key = f"{record.name}/version/{record.version}"
        case ModelAlias():
            key = f"{record.name}/alias"
        case ModelCommand():
            key = f"{record.name}/command/{record.command_id}"
        case Serving():
            key = f"{record.name}/serving/{record.partition}/{record.epoch}"
        case Refusal():
            key = f"{record.name}/refusal/{record.version}"
    return key.encode()

"""The shape of a model card over HTTP, for OpenAPI; `streams.model_card` fills it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.fault_report import FaultReport
from streams.model_records import GateStage


class CardModel(BaseModel):
    name: str
    type: str = Field(description="DTMI of the twin type")
    version: str
    base: str | None = Field(description="version it was fine-tuned from")
    sha256: str = Field(description="of the weights; empty where training gave none")
    uri: str
    contract: str = Field(description="hash of channels, units and scaling that the weights are for")
    run_id: str | None = Field(description="MLflow run")


class CardDecision(BaseModel):
    decision: str
    why: str
    time: str
    trigger: str | None = Field(description="why it was trained at all; null: from before this was kept")


class CardData(BaseModel):
    """What it was trained on; event times."""

    from_: str = Field(alias="from")
    to: str
    days: float
    period_s: float
    twins: int
    assets: list[str] = Field(description="the first 50")
    channels: list[str]
    seed: int


class CardEnergy(BaseModel):
    """Of training and gate, by codecarbon."""

    wh: float
    cpu_wh: float
    ram_wh: float
    gpu_wh: float
    carbon_g: float = Field(description="CO2 equivalents")
    measured: bool = Field(description="by counters of the machine; else estimated")
    source: str
    grid: str


class CardCompute(BaseModel):
    wall_s: float
    cpu_s: float
    device: str
    software: dict[str, str]
    energy: CardEnergy | None


class ModelCard(BaseModel):
    """All that is known of a version."""

    model: CardModel
    decision: CardDecision
    data: CardData | None = Field(description="null: training gave no version, or one from before this was kept")
    structure: dict[str, float | bool] | None
    hygiene: dict[str, float] = Field(description="steps or windows that did not train, by reason")
    training: dict[str, float]
    gate: dict[str, dict[str, float]] = Field(description="figure → `candidate` (this version) and `champion` (then)")
    stages: list[GateStage] = Field(description="each stage's own word, in order")
    faults: FaultReport | None = Field(description="what came of people's labels; null: nobody gave one")
    compute: CardCompute | None

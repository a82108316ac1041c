"""Settings: one frozen class a concern, read from `LIVETWIN_…` variables. Only the wiring reads them.

A misspelt variable is an error: `refuse_unknown_variables` compares the environment with the fields below.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from twin.errors import LivetwinError

PREFIX = "LIVETWIN_"


class SettingsInvalid(LivetwinError):
    """A variable that no setting knows, or a value that does not fit."""


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)


class HomeSettings(_Settings):
    """Where livetwin keeps its data."""

    home: Path = Field(
        default=Path.home() / ".local" / "share" / "livetwin", description="data folder: Kafka's log, the store, models, logs"
    )


class KafkaSettings(_Settings):
    """Which broker, and how topics are laid out."""

    kafka: str = Field(default="embedded", description="`embedded`, or HOST:PORT[,HOST:PORT] of a broker")
    kafka_port: int = Field(default=9092, ge=1, le=65535, description="port of the embedded broker on 127.0.0.1")
    topic_prefix: str = Field(default="livetwin.", description="put before every topic name")
    partitions: int = Field(
        default=8, ge=1, le=1024, description="partitions of telemetry and of what is keyed like it, for topics not there yet"
    )


class StoreSettings(_Settings):
    """Where history is kept, and how much of it."""

    store: str = Field(default="duckdb:", description="`duckdb:PATH` (empty path: under the data folder) or `influxdb:URL`")
    store_max_age_days: float = Field(default=400.0, gt=0, description="event time kept")
    store_max_mib: int = Field(default=4096, ge=16, description="size at which the oldest history is dropped, MiB; DuckDB only")


class InfluxDbSettings(_Settings):
    """How an InfluxDB 2 lets livetwin in, where it is the store."""

    influxdb_token: SecretStr | None = Field(default=None, description="API token")
    influxdb_token_file: Path | None = Field(
        default=None, description="file that holds the API token, where the other is not set"
    )
    influxdb_org: str = Field(default="livetwin", min_length=1, description="organisation")
    influxdb_bucket: str = Field(
        default="livetwin",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$",
        description="bucket of the steps; `_hourly` and `_records` stand beside it, and it names the database in InfluxQL",
    )


class GatewaySettings(_Settings):
    """HTTP, SSE and the page."""

    gateway_host: str = Field(default="127.0.0.1", description="address to listen on")
    gateway_port: int = Field(default=8080, ge=1, le=65535, description="port to listen on")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+[^\s]*$",
        description="address by which operators reach the page, for links to it; without it the port on 127.0.0.1",
    )


class ProcessorSettings(_Settings):
    """How a processor batches, checkpoints and raises."""

    batch_max_records: int = Field(default=16_000, ge=1, description="most records in one micro-batch")
    batch_wait_ms: int = Field(default=50, ge=1, description="longest wait for a micro-batch to fill, milliseconds")
    checkpoint_every_s: float = Field(default=30.0, gt=0, description="wall time between checkpoints of changed twins")
    alarms_per_twin_day: float = Field(
        default=0.02, gt=0, description="target rate of model alarms per twin and day of event time"
    )
    weights: str = Field(
        default="",
        description="where else weights are looked for: a folder or an http address that holds `<model>/<version>.safetensors`",
    )
    missing_versions: Literal["refuse", "skip"] = Field(
        default="refuse", description="weights that have served are not here: take nothing over, or go on without their scores"
    )


class TrainerSettings(_Settings):
    """When and on how much the models are fine-tuned."""

    train_every_s: float = Field(default=60.0, gt=0, description="wall time between updates")
    train_every_good_steps: int = Field(
        default=0,
        ge=0,
        description="good steps of all twins of a type after which it is updated before that; 0: never",
    )
    train_on_drift: bool = Field(
        default=True, description="update a type before that when its champion is surprised more than it was"
    )
    train_budget_cpu_s: float = Field(
        default=0.0,
        ge=0,
        description="CPU seconds a day for updates; first models, and updates by hand, do not wait for them; 0: no bound",
    )
    train_min_steps: int = Field(
        default=256, ge=32, description="closed steps a twin type must have before its first model (warm-up)"
    )
    train_max_steps: int = Field(default=4032, ge=64, description="newest closed steps a twin that are trained on")
    train_old_stretches: int = Field(
        default=1024,
        ge=0,
        description="stretches of 96 steps from all of a twin type's past that are kept beside the newest steps; 0: none",
    )
    train_structure_every: int = Field(
        default=10,
        ge=0,
        description="every so many updates of a type another structure (adapter rank, residual blocks) is trained too, "
        "where the budget holds it, and taken if it proves better; 0: never",
    )
    train_loss: Literal["student", "gaussian", "quantile"] = Field(
        default="student",
        description="what forecasts are taught by: likelihood under Student's t or a normal distribution, or quantiles",
    )
    train_seed: int = Field(default=7, description="seed of initial weights and shuffling")
    train_threads: int = Field(default=1, ge=1, description="CPU threads of a training step")
    shadow_steps: int = Field(
        default=24, ge=0, description="live steps that a new version is compared on with the champion before it serves; 0: none"
    )
    canary_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of a type's twins that a new version serves after its shadow, before it serves all; 0: none",
    )
    canary_steps: int = Field(default=24, ge=0, description="live steps for which it serves these alone; 0: none")
    watch_steps: int = Field(
        default=96, ge=0, description="newest live steps that a champion is compared on with the version before it; 0: never"
    )


class EnergySettings(_Settings):
    """How the energy of training and scoring is told."""

    energy_country: str | None = Field(
        default=None,
        pattern="^[A-Z]{3}$",
        description="country (ISO 3166 alpha-3) whose electricity is turned into greenhouse gas; without it the world's average",
    )
    cpu_watts: float | None = Field(
        default=None,
        gt=0,
        description="power of all CPU threads here under full load, to estimate energy with; without it counters, else a table",
    )


class DemoSettings(_Settings):
    """The demo feed."""

    demo: Literal["water", "host", "none"] = Field(default="water", description="which demo feed `livetwin up` starts")
    water_step_s: float = Field(default=300.0, gt=0, description="event time between two steps of the water network, seconds")
    water_speed: float = Field(default=300.0, gt=0, description="event seconds per wall second")
    water_backfill_days: float = Field(default=7.0, ge=0, description="event days that are fed at once on the first start")
    water_seed: int = Field(default=1, description="seed of sensor noise and demand variation")


GROUPS: tuple[type[_Settings], ...] = (
    HomeSettings,
    KafkaSettings,
    StoreSettings,
    InfluxDbSettings,
    GatewaySettings,
    ProcessorSettings,
    TrainerSettings,
    EnergySettings,
    DemoSettings,
)


S = TypeVar("S", bound=_Settings)


def read(group: type[S]) -> S:
    """The settings of one concern, from the environment.

    Raises:
        SettingsInvalid: naming each variable whose value does not fit.
    """
    try:
        return group()
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{str(found['loc'][0]).upper()} is {found['input']!r}: {found['msg'][0].lower()}{found['msg'][1:]}"
            for found in error.errors()
        )
        raise SettingsInvalid(f"{wrong}; nothing was started") from error


def refuse_unknown_variables(environment: Mapping[str, str] = os.environ) -> None:
    """Raises SettingsInvalid naming each `LIVETWIN_…` variable that no setting reads, with the nearest that exists.

    >>> refuse_unknown_variables({"LIVETWIN_KAFKAA": "x"})
    Traceback (most recent call last):
    deploy.settings.SettingsInvalid: ...
    """
    known = {PREFIX + name.upper() for group in GROUPS for name in group.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise SettingsInvalid(f"{name} is set but no setting has that name (nearest: {nearest[0]}); nothing was started")

"""The port of a time-series store. The historian is its only writer; the gateway reads while it writes.

Calls block; callers on an event loop use a thread. Writes are idempotent by (asset, channel, event time) and monotone:
a block of an older epoch of its partition than the store has seen changes nothing, an alert's older revision changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from streams.alarm_rates import AlarmRate
from streams.history import HistoryBlock
from streams.lag import RoleLag
from streams.model_records import Serving
from streams.records import Alert
from twin.errors import LivetwinError


class StoreError(LivetwinError):
    """Nothing was read, or nothing of the call counts as written."""


class StoreUnavailable(StoreError):
    """The store can't take or give now (away, busy, disk full); waiting and trying again can help.

    `retry_after_s`: how long the store itself asks to be left alone, if it said so.
    """

    retriable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreRefused(StoreError):
    """A store that can't be used as it is: no store of ours, no right to it, a newer livetwin's, an unknown kind of address."""


@dataclass(frozen=True, slots=True)
class ChannelSeries:
    """One channel of one twin, downsampled to buckets. Lists have one length; None where a bucket has no value.

    `time_ns` is the end of the last step in the bucket, `value` its mean, `low`/`high` its extremes, `expected` and
    `spread` the means of the model's forecast and its standard deviation, `quality` the OR of the bits.
    """

    channel: str
    time_ns: list[int]
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]
    expected: list[float | None]
    spread: list[float | None]
    quality: list[int]


@dataclass(frozen=True, slots=True)
class RiskSeries:
    """Risk (0..1, bucket maximum) and score (bucket maximum) of one twin."""

    time_ns: list[int]
    risk: list[float]
    score: list[float | None]
    version: list[str]


@dataclass(frozen=True, slots=True)
class TwinHistory:
    """`types`: of a twin that was of several in the period, (event time of the first point, DTMI) of each, oldest first."""

    asset: str
    channels: list[ChannelSeries]
    risk: RiskSeries
    types: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TwinSnapshot:
    """One twin at a time: its last closed step at or before it."""

    asset: str
    type: str
    time_ns: int
    values: dict[str, float | None]
    quality: dict[str, int]
    risk: float
    version: str


class TwinStore(Protocol):
    """What every store can do."""

    def write_history(self, blocks: Sequence[HistoryBlock]) -> None:
        """Keep closed steps. Raises StoreUnavailable; then nothing of the call may count as written."""
        ...

    def write_alerts(self, alerts: Sequence[Alert]) -> None: ...

    def write_swaps(self, swaps: Sequence[Serving]) -> None: ...

    def latest(self, assets: Sequence[str] | None = None) -> list[TwinSnapshot]:
        """Last known step of each asset, by asset id."""
        ...

    def at(self, time_ns: int, assets: Sequence[str] | None = None) -> list[TwinSnapshot]:
        """Each asset as it was at an event time."""
        ...

    def history(self, asset: str, *, channels: Sequence[str] | None, from_ns: int, to_ns: int, points: int) -> TwinHistory:
        """Steps with from_ns <= time < to_ns in at most `points` equal buckets of time; raw steps when fewer.

        The period is first cut to what is kept of the asset, so that an open-ended period loses no detail.
        Of a twin that was of several types each has its stretch of time, in the units that it had then; where two
        overlap, the newer's. Buckets without steps are left out. Not finite reads as None; a channel that a step did not
        have has quality MISSING.
        """
        ...

    def alerts(
        self, *, asset: str | None = None, from_ns: int | None = None, to_ns: int | None = None, limit: int = 1000
    ) -> list[Alert]:
        """Newest revision of alerts that were active within the period, newest onset first."""
        ...

    def swaps(self, *, name: str | None = None) -> list[Serving]: ...

    def span(self, asset: str) -> tuple[int, int] | None:
        """First and last event time kept of an asset."""
        ...

    def enforce_limits(self, *, max_age_ns: int, max_bytes: int) -> Mapping[str, int]:
        """Drop the oldest steps past an age or a size; what was dropped: `steps`, `alerts`.

        The age of a step is against the newest event time kept of its type: simulated types may have a clock of their own.
        Alerts go once they were cleared before all steps that are kept.
        """
        ...

    def size_bytes(self) -> int: ...

    def close(self) -> None: ...


@runtime_checkable
class KeepsAlarmRates(Protocol):
    """A store that others draw from directly (Grafana), so that how often twins alarm must be in it, too."""

    def write_alarm_rates(self, rates: Sequence[AlarmRate]) -> None:
        """Keep what was told, at its event time. Raises StoreError."""
        ...


@runtime_checkable
class KeepsLag(Protocol):
    """A store that others draw from directly (Grafana), so that how far each role is behind must be in it, too."""

    def write_lag(self, lags: Sequence[RoleLag], *, wall_ns: int) -> None:
        """Keep what each role's lag was at a time of the wall clock. Raises StoreError."""
        ...

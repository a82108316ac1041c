"""Alarms raised beside those asked for: what processors tell of each type and partition, and what that says of a type.

In:   records of `monitoring`, one a model and partition.
Out:  sums over partitions for whoever shows them.

What is counted is a function of the log, as alerts are (`models.alarm_counts`). When it is told goes by the wall clock: once a
minute, after a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from streams.records import Record

DAYS = 7  # of event time, the newest one included
_WEEK_NS = DAYS * 86_400_000_000_000


class AlarmCount(Record):
    """Alarms over some time of several twins."""

    twin_days: float = Field(description="event time in which a version judged a twin, over all twins")
    alarms: int = Field(description="alarms of the model that began in it")
    expected: float = Field(description="as many were asked for")

    @property
    def ratio(self) -> float | None:
        """Realised over target; None: nothing was to be expected yet."""
        return round(self.alarms / self.expected, 4) if self.expected > 0 else None

    def plus(self, other: AlarmCount) -> AlarmCount:
        """Both together."""
        return AlarmCount(
            twin_days=round(self.twin_days + other.twin_days, 6),
            alarms=self.alarms + other.alarms,
            expected=round(self.expected + other.expected, 6),
        )


NO_ALARMS = AlarmCount(twin_days=0.0, alarms=0, expected=0.0)


class AlarmRate(Record):
    """`monitoring`, key `alarms/<model>/<partition>`: how often the twins of a type alarmed, beside how often they were to."""

    kind: Literal["alarms"] = "alarms"
    model: str
    type: str = Field(description="DTMI")
    partition: int
    epoch: int = Field(description="consumer-group generation of the owner; an older one is ignored")
    time_ns: int = Field(description="event time up to which is counted")
    version: str = Field(description="champion there")
    target: float = Field(description="alarms a twin-day that the version is calibrated to")
    twins: int = Field(description="that the version judges")
    week: AlarmCount = Field(description="the seven newest days of event time, today included, whatever version served")
    since_version: AlarmCount = Field(description="since the version serves")

    @property
    def key(self) -> bytes:
        return f"alarms/{self.model}/{self.partition}".encode()

    def newer_than(self, other: AlarmRate) -> bool:
        """Whether it replaces what was told of the same partition."""
        return (self.epoch, self.time_ns) >= (other.epoch, other.time_ns)


@dataclass(frozen=True, slots=True)
class ModelAlarms:
    """Of all partitions together."""

    newest: AlarmRate  # names the version
    twins: int
    week: AlarmCount
    since_version: AlarmCount


def of_model(rates: Iterable[AlarmRate]) -> ModelAlarms | None:
    """One model over its partitions, each once: its week, and what its newest version did; None: nothing was told.

    Partitions of which nothing was heard in that week, by event time, say nothing of it; those that have not switched yet
    nothing of the version.
    """
    found = list(rates)
    if not found:
        return None
    newest = max(found, key=lambda rate: (rate.time_ns, rate.partition))
    twins, week, since_version = 0, NO_ALARMS, NO_ALARMS
    for rate in found:
        if rate.time_ns <= newest.time_ns - _WEEK_NS:
            continue
        week = week.plus(rate.week)
        if rate.version == newest.version:
            twins, since_version = twins + rate.twins, since_version.plus(rate.since_version)
    return ModelAlarms(newest, twins, week, since_version)

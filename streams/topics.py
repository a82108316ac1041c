"""The topics: names, partitions, cleanup, retention. One place; everything else asks here.

Stages meet on topics only, so this file is the map of the system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How one topic must be configured. `partitions` None: as many as `telemetry`."""

    name: str
    partitions: int | None
    config: Mapping[str, str] = field(default_factory=dict)


def _timed(retention_ms: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(retention_ms)}


_COMPACT = {"cleanup.policy": "compact"}
_LARGE = {"max.message.bytes": "8388608"}
# read as a whole by each new owner: what is superseded must go soon, and the newest segment is never compacted
_SMALL_SEGMENTS = {"segment.bytes": "16777216", "min.cleanable.dirty.ratio": "0.2"}

# without the prefix; partitioned topics share the number of telemetry's partitions, so that partition p of an
# output holds exactly what came from partition p of telemetry
_SPECS: tuple[TopicSpec, ...] = (
    TopicSpec("telemetry", None, _timed(7 * DAY_MS)),
    TopicSpec("events", None, _timed(30 * DAY_MS)),
    TopicSpec("definitions", 1, _COMPACT),
    TopicSpec("twin.state", None, _COMPACT),
    TopicSpec("twin.history", None, {**_timed(3 * DAY_MS), **_LARGE}),
    TopicSpec("twin.checkpoint", None, {**_COMPACT, **_LARGE, **_SMALL_SEGMENTS}),
    TopicSpec("monitoring", 1, _timed(7 * DAY_MS)),
    TopicSpec("alert.signals", None, _timed(7 * DAY_MS)),
    TopicSpec("alerts", 1, {"cleanup.policy": "compact,delete", "retention.ms": str(90 * DAY_MS)}),
    TopicSpec("alert.commands", None, _timed(30 * DAY_MS)),
    TopicSpec("feedback", None, _timed(90 * DAY_MS)),
    TopicSpec("models", 1, _COMPACT),
    TopicSpec("demo.commands", 1, _COMPACT),
    TopicSpec("dead-letter", 1, {**_timed(14 * DAY_MS), **_LARGE}),
    # alerting's own: signals and commands in one order an asset, and the changelogs of its tables
    TopicSpec("alerting.inbox", None, {**_timed(7 * DAY_MS), **_LARGE}),
    TopicSpec("alerting.epochs", None, _COMPACT),
    TopicSpec("alerting.conditions", None, {**_COMPACT, **_LARGE}),
    TopicSpec("alerting.closed", None, {**_COMPACT, **_LARGE}),
)


@dataclass(frozen=True, slots=True)
class Topics:
    """Full topic names behind one prefix.

    >>> Topics("livetwin.").telemetry
    'livetwin.telemetry'
    """

    prefix: str = "livetwin."

    @property
    def telemetry(self) -> str:
        return f"{self.prefix}telemetry"

    @property
    def events(self) -> str:
        return f"{self.prefix}events"

    @property
    def definitions(self) -> str:
        return f"{self.prefix}definitions"

    @property
    def state(self) -> str:
        return f"{self.prefix}twin.state"

    @property
    def history(self) -> str:
        return f"{self.prefix}twin.history"

    @property
    def checkpoint(self) -> str:
        return f"{self.prefix}twin.checkpoint"

    @property
    def monitoring(self) -> str:
        return f"{self.prefix}monitoring"

    @property
    def signals(self) -> str:
        return f"{self.prefix}alert.signals"

    @property
    def alerts(self) -> str:
        return f"{self.prefix}alerts"

    @property
    def alert_commands(self) -> str:
        return f"{self.prefix}alert.commands"

    @property
    def feedback(self) -> str:
        return f"{self.prefix}feedback"

    @property
    def models(self) -> str:
        return f"{self.prefix}models"

    @property
    def demo_commands(self) -> str:
        return f"{self.prefix}demo.commands"

    @property
    def dead_letter(self) -> str:
        return f"{self.prefix}dead-letter"

    @property
    def alerting_inbox(self) -> str:
        return f"{self.prefix}alerting.inbox"

    @property
    def alerting_epochs(self) -> str:
        return f"{self.prefix}alerting.epochs"

    @property
    def alerting_conditions(self) -> str:
        return f"{self.prefix}alerting.conditions"

    @property
    def alerting_closed(self) -> str:
        return f"{self.prefix}alerting.closed"

    def specs(self, partitions: int) -> list[TopicSpec]:
        """Every topic with its full name and number of partitions."""
        return [TopicSpec(self.prefix + spec.name, spec.partitions or partitions, spec.config) for spec in _SPECS]

"""Which periods of a twin must not train: open or past alerts, and what people say of a period.

In:   records of `alerts` (the whole alert, newest revision counts) and `feedback`.
Out:  a mask over a `StepBlock`: True where a step is left out.
A false alarm, and feedback `normal`, bring a period back; any other label leaves it out, whatever the alerts say.
Pure: no clock, no I/O. Unreadable records are skipped, counted and logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from streams.records import Alert, Feedback
from twin.block import StepBlock

log = logging.getLogger(__name__)

NORMAL = "normal"
_ONSET_STEPS = 5  # an alert is raised on the k-th strange step of n: those before it are no normal ones either


@dataclass(frozen=True, slots=True)
class _AlertPeriod:
    asset: str
    revision: int
    onset_ns: int
    cleared_ns: int | None  # None: still active
    false_alarm: bool


class TrainingPeriods:
    """Fold of `alerts` and `feedback`. What ended before a block begins is forgotten when its mask is asked for."""

    def __init__(self) -> None:
        self._alerts: dict[str, _AlertPeriod] = {}
        self._labels: list[Feedback] = []
        self.unreadable: Counter[str] = Counter()

    def alert(self, key: bytes | None, value: bytes | None) -> None:
        """Fold one record of `alerts`."""
        if value is None:
            self._alerts.pop((key or b"").decode("utf-8", "replace"), None)
            return
        try:
            alert = Alert.model_validate_json(value)
        except ValidationError as error:
            return self._skip("alert", error)
        known = self._alerts.get(alert.id)
        if known is None or alert.revision >= known.revision:
            cleared = alert.cleared_ns if alert.state == "cleared" else None
            if alert.state == "cleared" and cleared is None:
                cleared = alert.updated_ns
            self._alerts[alert.id] = _AlertPeriod(alert.asset, alert.revision, alert.onset_ns, cleared, alert.false_alarm)

    def feedback(self, value: bytes | None) -> None:
        """Fold one record of `feedback`; later ones overrule earlier ones."""
        if value is None:
            return
        try:
            self._labels.append(Feedback.model_validate_json(value))
        except ValidationError as error:
            self._skip("feedback", error)

    def exclude(self, block: StepBlock) -> NDArray[np.bool_]:
        """(A, T), True where a step must not train."""
        row = {asset: index for index, asset in enumerate(block.assets)}
        begin_ns = block.first_step * block.period_ns
        self._forget(row, begin_ns)
        mask = np.zeros((len(block.assets), block.steps), np.bool_)
        for period in self._alerts.values():
            if period.asset in row and not period.false_alarm:
                onset_ns = period.onset_ns - _ONSET_STEPS * block.period_ns
                mask[row[period.asset], _steps(block, onset_ns, period.cleared_ns)] = True
        for label in self._labels:
            if label.asset in row:
                mask[row[label.asset], _steps(block, label.from_ns, label.to_ns)] = label.label != NORMAL
        return mask

    def _forget(self, row: dict[str, int], begin_ns: int) -> None:
        self._alerts = {
            key: period
            for key, period in self._alerts.items()
            if period.asset not in row or period.cleared_ns is None or period.cleared_ns > begin_ns
        }
        self._labels = [label for label in self._labels if label.asset not in row or label.to_ns > begin_ns]

    def _skip(self, topic: str, error: ValidationError) -> None:
        self.unreadable[topic] += 1
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        log.warning("training-period-skipped", extra={"topic": topic, "found": found})


def _steps(block: StepBlock, from_ns: int, to_ns: int | None) -> slice:
    """Positions of the steps that overlap [from_ns, to_ns)."""
    start = from_ns // block.period_ns - block.first_step
    stop = block.steps if to_ns is None else -(-to_ns // block.period_ns) - block.first_step
    return slice(max(0, start), max(0, stop))

"""Which periods of a twin must not train: open or past alerts, and what people say of a period.

In:   records of `alerts` (the whole alert, newest revision counts), `feedback` and `events`.
Out:  `LeftOut` over steps of twins: which are left out, and for which reason.
A false alarm, feedback `normal`, and a change that was announced bring a period back; so does a cause that most twins of the
type share (`models.common_cause`). Any other label leaves it out, whatever the alerts say.
Pure: no clock, no I/O; what it knows can be kept and taken again. Unreadable records are skipped, counted and logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from models.batch_means import HOUR_NS
from models.common_cause import common_hours
from models.fault_head import NORMAL
from models.fault_labels import LabelledPeriod
from models.hygiene import LeftOut
from models.windows import DAY_NS
from streams.conditions import ANOMALY
from streams.records import UNKNOWN_FAULT, Alert, EventRecord, Feedback
from twin.block import StepBlock

log = logging.getLogger(__name__)

CHANGES = ("recalibration", "regime-change")  # kinds of event: what the asset shows from then on is normal
_SHOWN_NS = 3 * DAY_NS  # an alert that begins so long after a change, or before it, may be of the change
_LOOKED_BACK_NS = 14 * DAY_NS  # before a block, for causes that most twins share: since when they have an alert
_ONSET_STEPS = 5  # an alert is raised on the k-th strange step of n: those before it are no normal ones either


@dataclass(frozen=True, slots=True)
class _AlertPeriod:
    asset: str
    revision: int
    onset_ns: int
    cleared_ns: int | None  # None: still active
    false_alarm: bool
    condition: str = ""  # as an earlier release kept it


class TrainingPeriods:
    """Fold of `alerts`, `feedback` and `events`. What ended before a block begins is forgotten when its mask is asked for."""

    def __init__(self) -> None:
        self._alerts: dict[str, _AlertPeriod] = {}
        self._labels: dict[Feedback, None] = {}  # in the order they were given
        self._changes: dict[str, set[int]] = {}  # asset → event times from which on it shows what is normal
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
            self._alerts[alert.id] = _AlertPeriod(
                alert.asset, alert.revision, alert.onset_ns, cleared, alert.false_alarm, alert.condition
            )

    def feedback(self, value: bytes | None) -> None:
        """Fold one record of `feedback`; later ones overrule earlier ones."""
        if value is None:
            return
        try:
            label = Feedback.model_validate_json(value)
        except ValidationError as error:
            return self._skip("feedback", error)
        self._labels.pop(label, None)  # told again, as after a restart: in the order of the log
        self._labels[label] = None

    def event(self, event: EventRecord) -> None:
        """Fold one record of `events`; most kinds say nothing of what is normal."""
        if event.kind in CHANGES:
            self._changes.setdefault(event.asset, set()).add(event.time_ns)

    def exclude(self, block: StepBlock) -> NDArray[np.bool_]:
        """(A, T), True where a step must not train."""
        return self.left_out(block).mask

    def left_out(self, block: StepBlock, *, since_ns: int | None = None) -> LeftOut:
        """Which steps of a block must not train. What ended before the block, and before `since_ns`, is forgotten."""
        begin_ns = block.first_step * block.period_ns
        self._forget(set(block.assets), begin_ns if since_ns is None else min(begin_ns, since_ns))
        return self.of_fleet(block)

    def of_fleet(self, block: StepBlock) -> LeftOut:
        """The same of all twins of a type, nothing is forgotten; what most of them show may be told from what one shows."""
        found = self.of_rows(block.assets, np.full(len(block.assets), block.first_step), block.steps, block.period_ns)
        common = found.alerted & self._common(block)
        return replace(found, alerted=found.alerted & ~common, common=common)

    def of_rows(self, assets: Sequence[str], first_step: NDArray[np.int64], steps: int, period_ns: int) -> LeftOut:
        """The same for N rows of `steps` steps, each of its own twin and first step, (N,) each."""
        shape = (len(assets), steps)
        alerted, labelled, normal, answered = (np.zeros(shape, np.bool_) for _ in range(4))
        rows: dict[str, list[int]] = {}
        for row, asset in enumerate(assets):
            rows.setdefault(asset, []).append(row)
        for period in self._alerts.values():
            onset_ns, answered_ns = period.onset_ns - _ONSET_STEPS * period_ns, self._answered_ns(period)
            for row in rows.get(period.asset, ()):
                first = int(first_step[row])
                covered = _steps(first, steps, period_ns, onset_ns, period.cleared_ns)
                if answered_ns is None:
                    alerted[row, covered] = True
                    continue
                answered[row, covered] = True
                if answered_ns > onset_ns:
                    before = _steps(first, steps, period_ns, onset_ns, min(answered_ns, period.cleared_ns or answered_ns))
                    alerted[row, before] = True
        for label in self._labels:
            for row in rows.get(label.asset, ()):
                covered = _steps(int(first_step[row]), steps, period_ns, label.from_ns, label.to_ns)
                labelled[row, covered], normal[row, covered] = label.label != NORMAL, label.label == NORMAL
        strange = alerted & ~normal & ~labelled
        brought_back = (answered | (alerted & normal)) & ~strange & ~labelled
        return LeftOut(strange, labelled, brought_back, np.zeros(shape, np.bool_))

    def _common(self, block: StepBlock) -> NDArray[np.bool_]:
        """(A, T), True under an alert of the model's own, and none besides, whose cause most twins of the type share."""
        bin_ns = max(HOUR_NS, block.period_ns)
        first = (block.first_step * block.period_ns - _LOOKED_BACK_NS) // bin_ns
        bin_of = (block.first_step + np.arange(block.steps)) * block.period_ns // bin_ns - first  # (T,)
        shape = (len(block.assets), int(bin_of[-1]) + 1)
        of_model, of_others = np.zeros(shape, np.bool_), np.zeros(block.values.shape[:2], np.bool_)
        row_of = {asset: row for row, asset in enumerate(block.assets)}
        for period in self._alerts.values():
            if (row := row_of.get(period.asset)) is None:
                continue
            onset_ns = period.onset_ns - _ONSET_STEPS * block.period_ns
            if period.condition == ANOMALY:
                of_model[row, _steps(first, shape[1], bin_ns, onset_ns, period.cleared_ns)] = True
            else:
                of_others[row, _steps(block.first_step, block.steps, block.period_ns, onset_ns, period.cleared_ns)] = True
        for label in self._labels:
            if label.label != NORMAL and (row := row_of.get(label.asset)) is not None:
                of_model[row, _steps(first, shape[1], bin_ns, label.from_ns, label.to_ns)] = False
        there = np.asarray(np.isfinite(block.values).any(axis=2))
        closed = np.repeat(np.asarray(there.any(axis=1))[:, None], shape[1], axis=1)
        begins = np.flatnonzero(np.diff(bin_of, prepend=-1))
        closed[:, bin_of[begins]] = np.logical_or.reduceat(there, begins, axis=1)
        return common_hours(of_model, closed, hours=bin_ns / HOUR_NS)[:, bin_of] & ~of_others

    def _answered_ns(self, period: _AlertPeriod) -> int | None:
        """From when on people have said of an alert that what it shows is normal; 0: all of it, None: they have not."""
        if period.false_alarm:
            return 0
        if period.condition != ANOMALY:
            return None  # a limit stays one
        of_it = [at for at in self._changes.get(period.asset, ()) if period.onset_ns < at + _SHOWN_NS]
        return min(of_it, default=None)

    def labels(self, assets: Iterable[str]) -> tuple[LabelledPeriod, ...]:
        """What people called which period of these twins, the newest word last; who knows no word for it names nothing."""
        known = frozenset(assets)
        found = (label for label in self._labels if label.asset in known and label.label != UNKNOWN_FAULT)
        return tuple(LabelledPeriod(label.asset, label.from_ns, label.to_ns, label.label) for label in found)

    def to_bytes(self) -> bytes:
        """All that is known, for a process that comes after the log has forgotten some of it."""
        alerts = {key: asdict(period) for key, period in self._alerts.items()}
        labels = [label.model_dump(mode="json") for label in self._labels]
        changes = {asset: sorted(times) for asset, times in self._changes.items()}
        return orjson.dumps({"alerts": alerts, "labels": labels, "changes": changes}, option=orjson.OPT_SORT_KEYS)

    def restore(self, found: bytes) -> None:
        """Take what `to_bytes` gave, before any record is folded. Raises ValueError where it is something else."""
        try:
            told = orjson.loads(found)
            alerts = {key: _AlertPeriod(**period) for key, period in told["alerts"].items()}
            labels = [Feedback.model_validate(label) for label in told["labels"]]  # ValidationError is a ValueError
            changes = {asset: set(map(int, times)) for asset, times in told.get("changes", {}).items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the periods of a trainer ({error!r}); the log alone tells them") from error
        self._alerts, self._labels, self._changes = alerts, dict.fromkeys(labels), changes

    def _forget(self, assets: AbstractSet[str], begin_ns: int) -> None:
        self._alerts = {
            key: period
            for key, period in self._alerts.items()
            if period.asset not in assets or period.cleared_ns is None or period.cleared_ns > begin_ns
        }
        self._labels = {label: None for label in self._labels if label.asset not in assets or label.to_ns > begin_ns}
        alerted = {period.asset for period in self._alerts.values()}
        for asset in (assets & self._changes.keys()) - alerted:
            self._changes[asset] = {at for at in self._changes[asset] if at + _SHOWN_NS > begin_ns}
            if not self._changes[asset]:
                del self._changes[asset]

    def _skip(self, topic: str, error: ValidationError) -> None:
        self.unreadable[topic] += 1
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        log.warning("training-period-skipped", extra={"topic": topic, "found": found})


def _steps(first_step: int, steps: int, period_ns: int, from_ns: int, to_ns: int | None) -> slice:
    """Positions of the steps, of `steps` from `first_step` on, that overlap [from_ns, to_ns)."""
    start = from_ns // period_ns - first_step
    stop = steps if to_ns is None else -(-to_ns // period_ns) - first_step
    return slice(max(0, start), max(0, stop))

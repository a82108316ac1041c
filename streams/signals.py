"""`alert.signals`: what begins, lasts or ends, with its evidence. Pure functions: the same steps give the same bytes.

In:   `Scored` steps of one type, with their transitions.
Out:  `Signal` records. What they tell is looked up for all steps of a batch at once: in a plant with alarms on one step in
      twenty tells something, and step by step that costs as much as scoring all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.port import Served
from models.rounding import rounded
from streams.conditions import ANOMALY, GONE, NO_CHANNEL, OUT_OF_RANGE, SILENT, WRONG_UNIT, Conditions, Transition
from streams.evidence_words import sentence
from streams.fault_guesses import fault_guesses
from streams.outputs import json_number
from streams.records import ChannelEvidence, Evidence, Severity, Signal
from streams.scoring import Scored
from twin.silence import Fall
from twin.types import Channel, TwinType

TOP_CHANNELS = 5
_SEVERITY: Final[Mapping[str, Severity]] = {
    "limit": "major",
    "stuck": "minor",
    OUT_OF_RANGE: "minor",
    WRONG_UNIT: "minor",
    SILENT: "major",
}


def signal(scored: Scored, transition: Transition, conditions: Conditions, assets: Sequence[str]) -> Signal:
    """The signal of one transition, with its evidence."""
    return next(signals(scored, [transition], conditions, assets))


def signals(scored: Scored, transitions: Sequence[Transition], conditions: Conditions, assets: Sequence[str]) -> Iterator[Signal]:
    """The signals of transitions, with their evidence, in their order."""
    closed, kind = scored.closed, scored.closed.type
    told_of = [one for one in transitions if one.fall is None]
    steps = _Steps(scored, sorted({one.index for one in told_of}))
    alarms = {one.index for one in told_of if one.kind != "clear" and conditions.names[one.condition] == ANOMALY}
    likely = fault_guesses(scored, sorted(alarms))
    for transition in transitions:
        index = transition.index
        if transition.fall is not None:
            yield _of_silence(kind, transition, transition.fall, assets[transition.fall.row])
            continue
        told = steps.at(index)
        condition, own = conditions.names[transition.condition], conditions.channel[transition.condition]
        by = condition.partition(":")[0]
        if own == GONE:
            channels = []
        elif own != NO_CHANNEL:
            channels = [told.of_condition(own, by, conditions.limit[transition.condition])]
        else:
            channels = [told.of_score(channel) for channel in told.strongest]
        yield Signal(
            kind=transition.kind,
            asset=assets[int(closed.row[index])],
            type=kind.id,
            condition=condition,
            severity=_severity(by, scored, index),
            onset_ns=transition.onset_ns,
            time_ns=int((closed.step[index] + 1) * kind.period_ns),
            risk=json_number(scored.risk[index]) or 0.0,
            why=f"{kind.id} does not have this condition" if transition.condition >= conditions.declared else None,
            on_delay_ns=kind.on_delay_ns,
            off_delay_ns=kind.off_delay_ns,
            evidence=Evidence(
                channels=channels,
                detectors={by: 1.0} if own != NO_CHANNEL else told.detectors(),
                summary=sentence(channels[0], alone=len(kind.channels) == 1) if channels else "",
                deviation=json_number(max((_deviation(one) for one in channels), default=0.0)) or 0.0,
                likely_fault=likely.get(index) if condition == ANOMALY else None,
                model_version=told.served.version if told.served is not None else None,
                weights_sha256=told.served.sha256 if told.served is not None else None,
                partition=int(scored.partition[index]),
                first_offset=int(closed.first_offset[index]),
                last_offset=int(closed.closed_by[index]),
            ),
        )


def _of_silence(kind: TwinType, transition: Transition, fall: Fall, asset: str) -> Signal:
    """A twin fell silent. Nothing in it depends on by which record of others that was found, and no on-delay is waited for."""
    channels = [
        ChannelEvidence(name=channel.name, seen=None, expected=None, unit=channel.unit, detector=SILENT, over_ns=fall.for_ns)
        for channel in kind.channels[:TOP_CHANNELS]
    ]
    return Signal(
        kind=transition.kind,
        asset=asset,
        type=kind.id,
        condition=SILENT,
        severity=_SEVERITY[SILENT],
        onset_ns=transition.onset_ns,
        time_ns=fall.time_ns,
        risk=0.0,
        off_delay_ns=kind.off_delay_ns,
        evidence=Evidence(
            channels=channels,
            detectors={SILENT: 1.0},
            summary=sentence(channels[0], alone=len(channels) == 1),
            model_version=None,
            weights_sha256=None,
            partition=fall.partition,
            first_offset=fall.last_offset,
            last_offset=fall.last_offset,
        ),
    )


def _severity(by: str, scored: Scored, index: int) -> Severity:
    if by == ANOMALY:
        found = scored.severity_of(index)
        return "warning" if found == "none" else found  # type: ignore[return-value]
    return _SEVERITY[by]


class _Steps:
    """What is told of some closed steps: columns, a list of numbers a step."""

    def __init__(self, scored: Scored, steps: Sequence[int]) -> None:
        self._scored = scored
        self._place = {step: place for place, step in enumerate(steps)}
        at = np.array(steps, np.int64)
        seen = scored.closed.values[at]
        # the forecast that says most: one step ahead a model soon follows a fault, the one made before it does not
        near, early = (scored.expected[at], scored.spread[at]), (scored.before[at], scored.before_spread[at])
        earlier = _deviations(seen, *early) > _deviations(seen, *near)
        expected, spread = (np.where(earlier, after, before) for before, after in zip(near, early, strict=True))
        self.seen, self.expected, self.spread = seen.tolist(), expected.tolist(), spread.tolist()
        contribution = scored.contribution[at]
        self.contribution, self.leading = contribution.tolist(), scored.leading[at].tolist()
        self.strongest = np.argsort(-contribution, axis=1, kind="stable")[:, :TOP_CHANNELS].tolist()
        self.off, self.mix = rounded(scored.off[at]).tolist(), rounded(scored.mix[at]).tolist()
        self._detectors: dict[int, list[tuple[str, int]]] = {}  # of a version, by id: its detectors, with their steps

    def at(self, step: int) -> _Told:
        served = self._scored.version_of(step)
        detectors = [] if served is None else self._detectors.get(id(served))
        if detectors is None and served is not None:
            detectors = self._detectors[id(served)] = list(served.detector_steps.items())
        return _Told(self, self._place[step], self._scored.closed.type, served, detectors or [])


class _Told:
    """What is told of one closed step."""

    def __init__(self, of: _Steps, place: int, kind: TwinType, served: Served | None, detectors: list[tuple[str, int]]) -> None:
        self._of, self._place, self._kind, self._detectors = of, place, kind, detectors
        self.served = served

    @property
    def strongest(self) -> list[int]:
        """Channels with the largest contributions first."""
        found: list[int] = self._of.strongest[self._place]
        return found

    def of_score(self, channel: int) -> ChannelEvidence:
        of, place, declared = self._of, self._place, self._kind.channels[channel]
        contribution = json_number(of.contribution[place][channel]) or 0.0
        detector, steps, off = None, None, None
        if self.served is not None and contribution:
            detector, steps = self._detectors[of.leading[place][channel]]
            off = json_number(of.off[place][channel])
        return ChannelEvidence(
            name=declared.name,
            seen=json_number(of.seen[place][channel]),
            expected=json_number(of.expected[place][channel]),
            spread=json_number(of.spread[place][channel]),
            contribution=contribution,
            unit=declared.unit,
            detector=detector,
            off=off,
            over_ns=steps * self._kind.period_ns if steps is not None else None,
        )

    def of_condition(self, channel: int, by: str, limit: float) -> ChannelEvidence:
        """A limit or a bad sensor: the one channel it speaks of. Out of range: against the end of the range that is nearer."""
        of, place, declared = self._of, self._place, self._kind.channels[channel]
        seen = json_number(of.seen[place][channel])
        if by == OUT_OF_RANGE and seen is not None:
            limit = _passed(seen, declared)
        return ChannelEvidence(
            name=declared.name,
            seen=seen,
            expected=json_number(of.expected[place][channel] if math.isnan(limit) else limit),
            spread=json_number(of.spread[place][channel]),
            contribution=1.0,
            unit=declared.unit,
            detector=by,
            off=None if seen is None or math.isnan(limit) else json_number(seen - limit),
        )

    def detectors(self) -> dict[str, float]:
        """Share of each detector in the score."""
        shares = (
            (name, json_number(share)) for (name, _), share in zip(self._detectors, self._of.mix[self._place], strict=False)
        )
        return {name: share for name, share in shares if share}


def _passed(seen: float, channel: Channel) -> float:
    """The end of the channel's range that a value is beyond; NaN within."""
    if channel.maximum is not None and seen > channel.maximum:
        return channel.maximum
    return channel.minimum if channel.minimum is not None and seen < channel.minimum else math.nan


def _deviation(one: ChannelEvidence) -> float:
    """Distance in spreads, 0 where one is unknown.

    >>> known = {"name": "pressure", "seen": 36.0}
    >>> _deviation(ChannelEvidence(**known, expected=41.0, spread=0.5)), _deviation(ChannelEvidence(**known, expected=None))
    (10.0, 0.0)
    """
    if one.seen is None or one.expected is None or not one.spread:
        return 0.0
    distance = abs(one.seen - one.expected) / one.spread
    return distance if math.isfinite(distance) else 0.0


def _deviations(seen: NDArray[np.float32], expected: NDArray[np.float32], spread: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances in spreads, 0 where one is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(seen.astype(np.float64) - expected) / spread.astype(np.float64)
    return np.where(np.isfinite(distance), distance, 0.0)

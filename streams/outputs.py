"""The records a processor writes, from scored steps. Pure functions: the same steps give the same bytes.

In:   `Scored` steps of one type.
Out:  `twin.history` blocks a partition, `twin.state` of the last step of each twin, `alert.signals`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.rounding import rounded
from streams.conditions import ANOMALY, GONE, NO_CHANNEL, OUT_OF_RANGE, SILENT, WRONG_UNIT, Conditions, Transition
from streams.evidence_words import sentence
from streams.history import HistoryBlock
from streams.records import ChannelEvidence, Evidence, Health, Severity, Signal, TwinState
from streams.scoring import Scored
from twin.quality import word
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


def history(scored: Scored, keep: NDArray[np.bool_], assets: Sequence[str], epochs: dict[int, int]) -> Iterator[HistoryBlock]:
    """One block a partition of the steps where `keep`."""
    closed = scored.closed
    names = np.array([*("" if one is None else one.version for one in scored.served), ""], object)
    versions = names[np.where(scored.learning, len(scored.served), scored.version)]
    known = np.array(assets, object)
    for partition in np.unique(scored.partition[keep]).tolist():
        at = np.flatnonzero(keep & (scored.partition == partition))
        yield HistoryBlock(
            type=closed.type.id,
            channels=closed.type.channel_names,
            partition=partition,
            epoch=epochs[partition],
            asset=tuple(known[closed.row[at]].tolist()),
            time_ns=closed.time_ns[at],
            values=closed.values[at],
            quality=closed.quality[at],
            expected=scored.expected[at],
            spread=scored.spread[at],
            score=scored.score[at],
            risk=scored.risk[at],
            version=tuple(versions[at].tolist()),
        )


def _version(scored: Scored, index: int) -> str:
    served = scored.version_of(index)
    return served.version if served is not None else ""


def states(scored: Scored, keep: NDArray[np.bool_], assets: Sequence[str], conditions: Conditions) -> Iterator[TwinState]:
    """The state after the last step of each twin, where that step is one of `keep`."""
    closed = scored.closed
    last = np.ones(len(closed), np.bool_)
    order = np.lexsort((closed.step, closed.row))
    last[order[:-1]] = closed.row[order[1:]] != closed.row[order[:-1]]
    names = closed.type.channel_names
    at = np.flatnonzero(last & keep)
    if not len(at):
        return
    times = closed.time_ns
    active = conditions.active(closed.row[at])
    for place, index in enumerate(at.tolist()):
        learning = bool(scored.learning[index])
        yield TwinState(
            asset=assets[int(closed.row[index])],
            type=closed.type.id,
            time_ns=int(times[index]),
            values=dict(zip(names, numbers(closed.values[index]), strict=True)),
            expected={} if learning else dict(zip(names, numbers(scored.expected[index]), strict=True)),
            quality=dict(zip(names, map(word, closed.quality[index].tolist()), strict=True)),
            health=_health(learning, bool(scored.covered[index]), float(scored.risk[index]), bool(active[place].any())),
            risk=_number(scored.risk[index]) or 0.0,
            model_version=_version(scored, index) or None,
            partition=int(scored.partition[index]),
            offset=int(closed.closed_by[index]),
        )


def _health(learning: bool, covered: bool, risk: float, active: bool) -> Health:
    if learning:
        return "learning"
    if active:
        return "alarm"
    if not covered:
        return "learning"  # too few good readings of late to say anything of the twin
    return "warning" if risk >= 0.35 else "ok"


def signal(scored: Scored, transition: Transition, conditions: Conditions, assets: Sequence[str]) -> Signal:
    """The signal of one transition, with its evidence."""
    closed, index = scored.closed, transition.index
    if transition.fall is not None:
        return _of_silence(closed.type, transition, transition.fall, assets[transition.fall.row])
    served = scored.version_of(index)
    condition = conditions.names[transition.condition]
    kind = closed.type
    channels = _channels(scored, transition, conditions)
    return Signal(
        kind=transition.kind,
        asset=assets[int(closed.row[index])],
        type=kind.id,
        condition=condition,
        severity=_severity(condition, scored, index),
        onset_ns=transition.onset_ns,
        time_ns=int((closed.step[index] + 1) * kind.period_ns),
        risk=_number(scored.risk[index]) or 0.0,
        why=f"{kind.id} does not have this condition" if transition.condition >= conditions.declared else None,
        on_delay_ns=kind.on_delay_ns,
        off_delay_ns=kind.off_delay_ns,
        evidence=Evidence(
            channels=channels,
            detectors=_detectors(scored, transition, conditions),
            summary=sentence(channels[0], alone=len(kind.channels) == 1) if channels else "",
            deviation=_number(max((_deviation(one.seen, one.expected, one.spread) for one in channels), default=0.0)) or 0.0,
            model_version=served.version if served is not None else None,
            weights_sha256=served.sha256 if served is not None else None,
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


def _severity(condition: str, scored: Scored, index: int) -> Severity:
    if condition == ANOMALY:
        found = scored.severity_of(index)
        return "warning" if found == "none" else found  # type: ignore[return-value]
    return _SEVERITY[condition.partition(":")[0]]


def _channels(scored: Scored, transition: Transition, conditions: Conditions) -> list[ChannelEvidence]:
    own = conditions.channel[transition.condition]
    if own == GONE:
        return []
    if own != NO_CHANNEL:
        return [_of_condition(scored, transition, conditions, own)]
    strongest = np.argsort(-scored.contribution[transition.index], kind="stable")[:TOP_CHANNELS].tolist()
    return [_of_score(scored, transition.index, channel) for channel in strongest]


def _of_score(scored: Scored, index: int, channel: int) -> ChannelEvidence:
    closed = scored.closed
    expected, spread = _forecast(scored, index, channel)
    served, contribution = scored.version_of(index), _number(scored.contribution[index, channel]) or 0.0
    detector, steps = None, None
    if served is not None and contribution:
        detector, steps = list(served.detector_steps.items())[int(scored.leading[index, channel])]
    return ChannelEvidence(
        name=closed.type.channels[channel].name,
        seen=_number(closed.values[index, channel]),
        expected=_number(expected),
        spread=_number(spread),
        contribution=contribution,
        unit=closed.type.channels[channel].unit,
        detector=detector,
        off=numbers(rounded(scored.off[index]))[channel] if detector is not None else None,
        over_ns=steps * closed.type.period_ns if steps is not None else None,
    )


def _of_condition(scored: Scored, transition: Transition, conditions: Conditions, channel: int) -> ChannelEvidence:
    """A limit or a bad sensor: the one channel that it speaks of. Out of range: against the end of the range that is nearer."""
    closed, index = scored.closed, transition.index
    detector, limit = conditions.names[transition.condition].partition(":")[0], conditions.limit[transition.condition]
    expected, spread = _forecast(scored, index, channel)
    seen = _number(closed.values[index, channel])
    if detector == OUT_OF_RANGE and seen is not None:
        limit = _passed(seen, closed.type.channels[channel])
    return ChannelEvidence(
        name=closed.type.channels[channel].name,
        seen=seen,
        expected=_number(expected if math.isnan(limit) else limit),
        spread=_number(spread),
        contribution=1.0,
        unit=closed.type.channels[channel].unit,
        detector=detector,
        off=None if seen is None or math.isnan(limit) else _number(seen - limit),
    )


def _passed(seen: float, channel: Channel) -> float:
    """The end of the channel's range that a value is beyond; NaN within."""
    if channel.maximum is not None and seen > channel.maximum:
        return channel.maximum
    return channel.minimum if channel.minimum is not None and seen < channel.minimum else math.nan


def _detectors(scored: Scored, transition: Transition, conditions: Conditions) -> dict[str, float]:
    own, index = conditions.channel[transition.condition], transition.index
    if own != NO_CHANNEL:
        return {conditions.names[transition.condition].partition(":")[0]: 1.0}
    served = scored.version_of(index)
    if served is None:
        return {}
    mix = zip(served.detector_steps, numbers(rounded(scored.mix[index])), strict=False)
    return {name: share for name, share in mix if share}


def _forecast(scored: Scored, index: int, channel: int) -> tuple[float, float]:
    """The forecast that says most: one step ahead a model soon follows a fault, the one made before it does not."""
    seen = scored.closed.values[index, channel]
    near = float(scored.expected[index, channel]), float(scored.spread[index, channel])
    early = float(scored.before[index, channel]), float(scored.before_spread[index, channel])
    return max(near, early, key=lambda one: _deviation(float(seen), *one))


def _deviation(seen: float | None, expected: float | None, spread: float | None) -> float:
    """Distance in spreads, 0 where one is unknown.

    >>> _deviation(36.0, 41.0, 0.5), _deviation(36.0, None, 0.5)
    (10.0, 0.0)
    """
    if seen is None or expected is None or not spread:
        return 0.0
    distance = abs(seen - expected) / spread
    return distance if math.isfinite(distance) else 0.0


def numbers(values: NDArray[np.float32]) -> list[float | None]:
    """As JSON shows them: None for NaN."""
    return [_number(value) for value in values]


def _number(value: float | np.floating[Any]) -> float | None:
    """As JSON shows it: None for NaN; 7 digits are all that a float32 has.

    >>> _number(np.float32(0.1)), _number(float("nan"))
    (0.1, None)
    """
    plain = float(value)
    return float(f"{plain:.7g}") if math.isfinite(plain) else None

"""The records a processor writes of scored steps. Pure functions: the same steps give the same bytes.

In:   `Scored` steps of one type.
Out:  `twin.history` blocks a partition, `twin.state` of the last step of each twin. Signals: `streams.signals`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.conditions import Conditions
from streams.history import HistoryBlock
from streams.records import Health, TwinState
from streams.scoring import Scored
from twin.quality import word


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
            risk=json_number(scored.risk[index]) or 0.0,
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


def numbers(values: NDArray[np.float32]) -> list[float | None]:
    """As JSON shows them: None for NaN."""
    return [json_number(value) for value in values]


def json_number(value: float | np.floating[Any]) -> float | None:
    """As JSON shows it: None for NaN; 7 digits are all that a float32 has.

    >>> json_number(np.float32(0.1)), json_number(float("nan"))
    (0.1, None)
    """
    plain = float(value)
    return float(f"{plain:.7g}") if math.isfinite(plain) else None

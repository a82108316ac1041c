"""Gate stages on what a version is and costs: whether it belongs here, how long a pass takes, how large its file is.

In:   both versions, the newest stretch.
Out:  stages `identity`, `latency`, `size`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np

from models import version
from models.gate_stage import Stage, Stretch
from models.port import LEARNING
from models.served import ServedModel
from models.weight_sources import MOST_BYTES
from models.windows import gather, padded
from twin.block import StepBlock

SLOWER = 2.0  # times the champion's pass
PASS_S_MAX = 0.25  # for ROWS rows, of any version
ROWS = 64
LARGER = 2.0  # times the champion's bytes, a twin
_TIMES, _TRIES = 5, 4


def identity(candidate: ServedModel, champion: ServedModel | None, stretch: Stretch) -> Stage:
    """Whether the version is of this type, follows from the champion, and has learnt from nothing later than there is."""
    name, info, block = "identity", candidate.info, stretch.block
    if info.channels != block.channels:
        return Stage(
            name, False, f"its channels are {', '.join(info.channels)}, expected {', '.join(block.channels)} in this order"
        )
    if info.period_ns != block.period_ns:
        return Stage(name, False, f"its steps are {info.period_ns / 1e9:g} s long, expected {block.period_ns / 1e9:g} s")
    newest = int(block.time_ns()[-1])
    if info.trained_to_ns > newest:
        return Stage(
            name, False, f"it says to have learnt up to {_day(info.trained_to_ns)}, the newest step is of {_day(newest)}"
        )
    if champion is not None and champion.contract != info.contract:
        return Stage(name, False, f"its contract is {info.contract}, expected {champion.contract} as the champion has")
    if champion is not None and info.base not in (None, champion.version):
        return Stage(name, False, f"it was fine-tuned from {info.base}, expected {champion.version}, which serves")
    return Stage(name, True, f"from {info.base or 'no other version'}, {len(info.assets)} twins")


def latency(candidate: ServedModel, champion: ServedModel | None, stretch: Stretch) -> Stage:
    """The CPU time of a pass beside the champion's, in turns in this thread; the least of several.

    Not the wall clock: others use the machine too, and a version that has to wait for them is not slower.
    """
    name = "latency"
    mine = theirs = float("inf")
    own, other = _Pass(candidate, stretch.block), _Pass(champion, stretch.block) if champion is not None else None
    for _ in range(_TRIES):
        mine = min(mine, *(own.seconds() for _ in range(_TIMES)))
        if other is not None:
            theirs = min(theirs, *(other.seconds() for _ in range(_TIMES)))
        if mine <= PASS_S_MAX and (other is None or mine <= SLOWER * theirs):
            break
    figures = {"candidate_pass_s": mine}
    text = f"{mine * 1e3:.1f} ms for {ROWS} rows"
    if mine > PASS_S_MAX:
        return Stage(name, False, f"{text}, {PASS_S_MAX * 1e3:.0f} ms at most expected", figures)
    if champion is None:
        return Stage(name, True, text, figures)
    figures["champion_pass_s"] = theirs
    text += f" against {theirs * 1e3:.1f}"
    if mine > SLOWER * theirs:
        return Stage(name, False, f"{text} of the champion, {SLOWER:g} times as much is allowed", figures)
    return Stage(name, True, text, figures)


def size(candidate: ServedModel, champion: ServedModel | None) -> Stage:
    """The bytes of the file, of all and a twin beside the champion's."""
    name = "size"
    mine = len(version.encode(candidate.info, candidate.detectors))
    figures = {"candidate_bytes": float(mine)}
    text = f"{mine / 1e6:.2f} MB"
    if mine > MOST_BYTES:
        return Stage(name, False, f"{text}, {MOST_BYTES / 1e6:.0f} MB at most expected: processors fetch no more", figures)
    if champion is None:
        return Stage(name, True, text, figures)
    theirs = len(version.encode(champion.info, champion.detectors))
    figures["champion_bytes"] = float(theirs)
    most = LARGER * theirs * max(1.0, len(candidate.info.assets) / max(len(champion.info.assets), 1))
    text += f" against {theirs / 1e6:.2f}"
    if mine > most:
        return Stage(name, False, f"{text} of the champion, {most / 1e6:.2f} MB at most expected", figures)
    return Stage(name, True, text, figures)


class _Pass:
    """ROWS rows of a version: its twins' newest windows, again and again."""

    def __init__(self, served: ServedModel, block: StepBlock) -> None:
        self._served = served
        rows = served.rows(block.assets)
        twin = np.resize(np.flatnonzero(rows != LEARNING), ROWS if (rows != LEARNING).any() else 0)
        newest = block.between(max(0, block.steps - served.window), block.steps)
        at = np.full(len(twin), newest.steps - 1, np.int64)
        values, quality = padded(newest, served.window)
        self._given = rows[twin], *gather(values, quality, twin, at, served.window), newest.time_ns()[at]

    def seconds(self) -> float:
        began = time.thread_time()
        self._served.score(*self._given)
        return time.thread_time() - began


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")

"""The alarm threshold of each twin: the surprise from which it alarms, moved online until it alarms as often as was asked for.

In:   heights of closed steps (`models.risk`: what K of the last N surprises reach), in each twin's order; what the version
      promises: a threshold, and how far peaks of its type reach.
Out:  the threshold in force at each step, in decades (-log10 p); the state is a dict of plain arrays, for checkpoints as it is.
Pure and exact: the same heights in the same order give the same bits, whatever the boundaries of the calls.

A version promises a threshold for the stretch that it learnt from. A plant drifts, and each twin is strange in its own way. So
the threshold is read off what the twin itself does: peaks that begin where PEAKS of them come for each alarm that is asked for,
counted in blocks of steps. Their rate, and how far they reach, tell where as many alarms come as were asked for; the promise
counts as some peaks. Tails are not quite exponential, and some twins are so quiet that no peak comes. So alarms are counted, too:
each moves the threshold up by STEP decades, and the time in which one was asked for moves it down by as much.

A version that takes over changes what is promised and no more: a block goes on, a threshold moves as slowly as ever beside the
promise, and of what was seen before the less is forgotten the shorter the version before has served. So it does not matter how
often versions follow each other.

What lasts is not learnt away. However long a stretch of peaks or an alarm lasts, it is one; a peak that is an alarm counts as one
that reached the threshold and no further; memory is long, the threshold moves slowly and stays within BOUNDS of the promised one.

Sources: Siffer et al., Anomaly Detection in Streams with Extreme Value Theory, KDD 2017 (peaks over a threshold, online); Gibbs
and Candès, Adaptive Conformal Inference Under Distribution Shift, NeurIPS 2021 (a threshold that follows its own errors).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.port import Served
from models.row_arrays import RowArrays
from models.waves import waves
from models.windows import DAY_NS

BLOCK = 32  # steps of the event-time grid
PEAKS = 16.0  # that a twin that is as promised has for each alarm asked for; fewer where they would be too many:
PEAKS_A_BLOCK = 0.2
MEMORY = 400.0  # blocks, after which a peak counts 1/e
# decades that peaks reach where nothing else is known: p-values give 1/ln 10 where all steps say the same, else down to a third
SIZE = 1 / (2 * math.log(10))
# peaks that a promise counts as: of their rate, in which twins of a type differ by a factor of four, and of their size
PROMISED_RATE, PROMISED_SIZE = 0.5, 12.0
BOUNDS = (0.5, 2.5)  # of the promised threshold
CARRIED, CARRIED_OFFSET = 0.95, 0.98  # of what was seen counts under the next version: peaks, alarms
SERVED = 63  # blocks that a version has served for so much to be forgotten; of one that served for less, as much less
RISE, FALL = 0.02, 0.006  # decades by which a threshold rises and falls in a block at most
STEP = 0.4  # decades by which an alarm moves the threshold, up to
MOST_OFFSET = 2.0  # either way
NEVER = 30.0  # threshold of twins that are still learning

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Promises:
    """What versions promise, an array entry a version; `mark` 0: no version, or a twin that it does not know."""

    mark: Ints
    threshold: Floats  # decades
    rate: Floats  # alarms a block asked for
    size: Floats  # decades that a peak reaches beyond where it begins, mean

    @classmethod
    def of(cls, served: Sequence[Served | None], period_ns: int) -> Promises:
        return cls(
            np.array([0 if one is None else _mark(one) for one in served], np.int64),
            np.array([NEVER if one is None else -np.log10(one.alarm_p) for one in served], np.float64),
            np.array([0.0 if one is None else alarms_a_block(one.alarms_per_twin_day, period_ns) for one in served], np.float64),
            np.array([1.0 if one is None else one.peak_size for one in served], np.float64),
        )

    def at(self, version: Ints, learning: NDArray[np.bool_]) -> Promises:
        """Of steps: (M,) `version` is a place in these."""
        mark, threshold = np.where(learning, 0, self.mark[version]), np.where(learning, NEVER, self.threshold[version])
        return Promises(mark, threshold, self.rate[version], self.size[version])


def alarms_a_block(alarms_per_twin_day: float, period_ns: int) -> float:
    return alarms_per_twin_day * BLOCK * period_ns / DAY_NS


def peaks_an_alarm(rate: Floats | float) -> Floats:
    """Peaks that a twin as promised has for each alarm, where `rate` alarms a block are asked for."""
    return np.asarray(np.clip(PEAKS_A_BLOCK / rate, 2.0, PEAKS))


def reach(size: Floats | float, rate: Floats | float) -> Floats:
    """Decades from where peaks begin to the threshold that a version promises.

    Sizes are taken for exponential; of an unknown mean, so the chance to pass a threshold falls as a power.
    """
    return np.asarray(PROMISED_SIZE * size * np.expm1(np.log(peaks_an_alarm(rate)) / PROMISED_SIZE))


def _mark(served: Served) -> int:
    """A number that tells versions apart, never 0."""
    digest = hashlib.blake2b(f"{served.name} {served.version} {served.sha256}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little") + 1


class OnlineThresholds(RowArrays):
    """Alarm thresholds of up to `capacity` twins."""

    def __init__(self, capacity: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {
            "version": np.zeros(capacity, np.int64),  # mark of the version in force; 0: none yet
            "block": np.zeros(capacity, np.int64),  # number of the block under way
            "highest": np.zeros(capacity, np.float32),  # height in it so far, decades
            "beyond": np.zeros(capacity, np.bool_),  # whether the block before passed the start
            "alarmed": np.zeros(capacity, np.bool_),  # whether it reached the threshold
            "offset": np.zeros(capacity, np.float64),  # decades by which alarms have moved the threshold
            "start": np.zeros(capacity, np.float64),  # decades from which a peak begins
            "threshold": np.zeros(capacity, np.float64),  # decades from which a twin alarms
            "promised": np.zeros(capacity, np.float64),  # what the version in force promises, decades
            "since": np.zeros(capacity, np.int64),  # block from which it is in force
            # fading: blocks in which a peak may begin, peaks, those below the threshold, decades beyond the start of all peaks
            "sums": np.zeros((capacity, 4), np.float64),
        }

    def follow(self, rows: Ints, step: Ints, height: NDArray[np.float32], promise: Promises) -> Floats:
        """Move on by M steps, each twin's beside each other, in order; the threshold in force at each.

        A threshold holds for a block: a step's own height changes nothing for it.
        """
        a = self.arrays
        if not len(rows):
            return np.zeros(0)
        block = step // BLOCK
        begins = np.ones(len(rows), np.bool_)
        same_row = rows[1:] == rows[:-1]
        begins[1:] = ~same_row | (block[1:] != block[:-1]) | (promise.mark[1:] != promise.mark[:-1])
        starts = np.flatnonzero(begins)
        highest = np.maximum.reduceat(height, starts)
        row, threshold = rows[starts], promise.threshold[starts]
        known = np.flatnonzero(promise.mark[starts] != 0)
        for among in waves(row[known]):
            at = known[among]
            source = starts[at]
            self._enter(row[at], block[source], promise.mark[source], promise, source)
            threshold[at] = a["threshold"][row[at]]
            a["highest"][row[at]] = np.maximum(a["highest"][row[at]], highest[at])
        return np.repeat(threshold, np.diff(np.append(starts, len(rows))))

    def _enter(self, rows: Ints, block: Ints, mark: Ints, promise: Promises, source: Ints) -> None:
        """Close the blocks that lie behind, and settle the threshold of the one that begins; each row once."""
        a = self.arrays
        moved = np.flatnonzero((a["block"][rows] != block) | (a["version"][rows] != mark))
        if not len(moved):
            return
        rows, block, mark, source = rows[moved], block[moved], mark[moved], source[moved]
        promised, rate, size = promise.threshold[source], promise.rate[source], promise.size[source]
        before = a["version"][rows]
        top, start, threshold = a["highest"][rows].astype(np.float64), a["start"][rows], a["threshold"][rows]
        known, swapped = before != 0, (before != 0) & (before != mark)
        ends = known & (a["block"][rows] != block)
        beyond = ends & (top >= start)
        may_begin = ends & ~a["beyond"][rows]  # else it is the same peak still: nothing is learnt from it
        peak = beyond & may_begin
        excess = np.maximum(np.minimum(top, threshold) - start, 0.0)
        seen = np.stack([may_begin, peak, peak & (top < threshold), peak * excess], axis=1)
        sums = a["sums"][rows] * np.where(may_begin, 1 - 1 / MEMORY, 1.0)[:, None] + seen
        alarmed, still = top >= threshold, a["alarmed"][rows]
        moves = np.where(ends & ~still, STEP * (alarmed - rate), 0.0)
        offset = np.clip(a["offset"][rows] + moves, -MOST_OFFSET, MOST_OFFSET)
        share = np.where(swapped, np.clip((block - a["since"][rows]) / SERVED, 0.0, 1.0), 0.0)
        sums *= (1 - (1 - CARRIED) * share)[:, None]
        offset *= 1 - (1 - CARRIED_OFFSET) * share
        peaks, below = peaks_an_alarm(rate), reach(size, rate)
        peaks_a_block = (sums[:, 1] + PROMISED_RATE) / (sums[:, 0] + PROMISED_RATE / (rate * peaks))
        count = sums[:, 2] + PROMISED_SIZE
        found = promised - below + (sums[:, 3] + size * PROMISED_SIZE) * np.expm1(np.log(peaks_a_block / rate) / count) + offset
        least, most = BOUNDS[0] * promised, BOUNDS[1] * promised
        more = promised - a["promised"][rows]
        risen = np.where(known, threshold + RISE * ends + np.maximum(more, 0.0), most)
        fallen = np.where(known, threshold - FALL * ends + np.minimum(more, 0.0), least)
        now = np.round(np.clip(found, np.maximum(fallen, least), np.minimum(risen, most)), 4)
        # within a block: what has been an alarm stays one, what has been none does not become one
        goes_on = np.where(alarmed, np.maximum(top, now + 1e-3), np.minimum(top, now - 1e-3))
        a["highest"][rows] = np.where(known & ~ends, goes_on, 0.0)
        a["beyond"][rows] = np.where(ends, beyond, a["beyond"][rows])
        a["alarmed"][rows] = np.where(ends, alarmed, a["alarmed"][rows])
        a["since"][rows] = np.where(known & ~swapped, a["since"][rows], block)
        a["threshold"][rows], a["promised"][rows], a["start"][rows] = now, promised, np.round(promised - below, 4)
        a["version"][rows], a["block"][rows], a["sums"][rows], a["offset"][rows] = mark, block, sums, offset

"""Gate stage on golden faults: what a version still finds of faults put into the twins' own calm steps.

In:   both versions, the newest stretch.
Out:  stage `golden faults`: how many of the same faults each finds at its own threshold.

A fault is a channel of one twin that, for FAULT_STEPS, is off by a number of the twin's own spreads, drifts away, jumps
there and back, stands still, or shows what it showed some time earlier. Places, twins and channels are drawn by a fixed seed
from where all of the window is calm; sizes come from the record, never from a version. They double from far below what any
version finds, so how many are found tells how small a fault may be. Found means: an alarm rises while the fault lasts, and none
does without it, so a version that is always in alarm, or alarms anyway, finds nothing.

A champion whose p-values are less rare than they say is near its threshold all the time: it finds more, and alarms more. Where
the candidate's loss is no higher, the champion's threshold is corrected for that (`models.gate_calibration.as_promised`). Where
a drift has left it behind altogether, the smallest fault tips it over still: faults of LARGE spreads and more are compared
alone, and the candidate must find some of the gross ones, as a first model must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.evaluate import evaluate
from models.fleet_fit import scalers
from models.gate_stage import Stage, Stretch
from models.port import LEARNING, Served
from models.windows import good_cells
from twin.block import StepBlock

FAULT_STEPS = 24
LEAD_STEPS = 8  # scored before the fault begins: who is in alarm already finds nothing
PLACES = 4  # times at which faults begin
TWINS = 12  # that a fault of each kind and size is put into, at each place
SIZED = ("offset", "drift", "spikes")
SIZES = tuple(2.0**power for power in range(-6, 3))  # in spreads of the twin's channel: from what none finds to what all do
TURNS = 3  # each twin gets every third size of a kind
GROSS = 32.0  # spreads: larger than what any twin does by itself
GOOD_SHARE = 0.9  # of a window's cells
FEWER = 0.05  # share of what the champion finds that a candidate may find less
SURE = 0.01  # chance that it finds as many and was unlucky
GROSS_FOUND = 0.1  # of them, by a first model: one from a short record may have to be cautious, none may be blind
LARGE = 1.0  # spreads from which on a fault counts where the champion no longer fits
GROSS_MIN = 6  # gross faults needed to say anything
_SEED = 20_220_811


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    size: float  # spreads; 0: has none
    row: int  # of the block
    channel: int
    onset: int  # step of the block
    sign: float
    lag: int  # steps back, of what is shown again


@dataclass(frozen=True, slots=True)
class Golden:
    """Faults for one stretch, and which of them candidate and champion find, (F,) each."""

    stretch: Stretch
    window: int
    faults: tuple[Fault, ...]
    mine: NDArray[np.bool_]
    theirs: NDArray[np.bool_] | None
    large_only: bool = False

    @classmethod
    def of(cls, candidate: Served, champion: Served | None, stretch: Stretch, *, large_only: bool = False) -> Golden:
        window = max(candidate.window, champion.window if champion is not None else 0)
        known = candidate.rows(stretch.block.assets) != LEARNING
        if champion is not None:
            known &= champion.rows(stretch.block.assets) != LEARNING
        faults = [one for one in drawn(stretch, known, window) if not large_only or one.size == 0 or one.size >= LARGE]
        mine = found(candidate, stretch, faults, window)
        theirs = found(champion, stretch, faults, window) if champion is not None else None
        return cls(stretch, window, tuple(faults), mine, theirs, large_only)

    @property
    def gross(self) -> NDArray[np.bool_]:
        return np.array([fault.size == GROSS for fault in self.faults], np.bool_)

    @property
    def enough(self) -> bool:
        return bool(self.gross.sum() >= GROSS_MIN)

    def of_another(self, served: Served) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the faults another version finds, and which are put into twins that it knows, (F,) each."""
        at = served.rows(self.stretch.block.assets) != LEARNING
        known = np.array([at[fault.row] for fault in self.faults], np.bool_)
        return found(served, self.stretch, self.faults, max(self.window, served.window)) & known, known


def golden_faults(golden: Golden) -> Stage:
    """The stage. A first model must find some of the gross faults; a later one, of all, about as many as the champion."""
    name, faults, mine, theirs, gross = "golden faults", golden.faults, golden.mine, golden.theirs, golden.gross
    if not golden.enough:
        text = f"no {golden.window + FAULT_STEPS} calm steps in a row to put faults into"
        return Stage(name, True, text, {"golden_faults": 0.0})
    figures = {"golden_faults": float(len(faults)), "candidate_golden_found": float(mine.mean())}
    for kind in dict.fromkeys(fault.kind for fault in faults):
        figures[f"candidate_golden_{kind}"] = float(mine[[fault.kind == kind for fault in faults]].mean())
    text = f"{mine[gross].sum()} of {gross.sum()} faults of {GROSS:.0f} spreads found"
    if (theirs is None or golden.large_only) and float(mine[gross].mean()) < GROSS_FOUND:
        return Stage(name, False, f"{text}, {GROSS_FOUND:.0%} at least expected", figures)
    if theirs is None:
        return Stage(name, True, f"{text}, {mine.sum()} of {len(faults)} in all", figures)
    figures["champion_golden_found"] = float(theirs.mean())
    text = f"finds {mine.sum()} of {len(faults)} injected faults against {theirs.sum()} of the champion"
    if surely_fewer(faults, mine, theirs):
        by_kind = _lost_by_kind(faults, theirs, mine)
        return Stage(name, False, f"{text}, {allowed(theirs)} fewer are allowed (most lost: {by_kind})", figures)
    return Stage(name, True, text, figures)


def allowed(theirs: NDArray[np.bool_]) -> int:
    """How many fewer than these may be found."""
    return int(FEWER * theirs.sum())


def surely_fewer(faults: Sequence[Fault], mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> bool:
    """Whether fewer are found than is allowed, and not by chance: paired, faults of one twin and time being one sample."""
    lost = theirs.astype(np.int64) - mine
    if lost.sum() <= allowed(theirs):
        return False
    _, sample = np.unique([(fault.row, fault.onset) for fault in faults], axis=0, return_inverse=True)
    each = np.bincount(sample.ravel(), lost)
    if len(each) < 2:
        return True
    error = float(each.std(ddof=1)) / math.sqrt(len(each))
    return bool(each.mean() > error * stats.t.isf(SURE, len(each) - 1))


def drawn(stretch: Stretch, known: NDArray[np.bool_], window: int) -> list[Fault]:
    """Faults for this stretch, the same for every pair of versions that know the same twins."""
    block = stretch.block
    good = good_cells(block.values, block.quality)
    calm = good.mean(axis=2)
    if stretch.exclude is not None:
        calm = np.where(stretch.exclude, 0.0, calm)
    length, before = window + FAULT_STEPS, window - 1  # steps of the record that a fault's windows read
    total = np.cumsum(np.pad(calm, ((0, 0), (1, 0))), axis=1)
    begins = np.arange(max(stretch.start, before + LEAD_STEPS), block.steps - FAULT_STEPS + 1)
    if not len(begins):
        return []
    enough = (total[:, begins + FAULT_STEPS] - total[:, begins - before - LEAD_STEPS]) >= GOOD_SHARE * (length + LEAD_STEPS - 1)
    ok = enough & (calm[:, begins - 1] == 1) & known[:, None]
    random = np.random.default_rng(_SEED)
    faults: list[Fault] = []
    for place, part in enumerate(np.array_split(np.arange(len(begins)), min(PLACES, len(begins)))):
        usable = part[ok[:, part].any(axis=0)]
        if not len(usable):
            continue
        at = int(random.choice(usable))
        twins = random.permutation(np.flatnonzero(ok[:, at]))[:TWINS]
        for number, row in enumerate(twins.tolist()):
            for kind, size in _kinds(place + number):
                channel = int(random.integers(len(block.channels)))
                sign, lag = float(random.choice((-1.0, 1.0))), int(random.integers(FAULT_STEPS // 2, FAULT_STEPS + 1))
                faults.append(Fault(kind, size, row, channel, int(begins[at]), sign, lag))
    return faults


def _kinds(number: int) -> list[tuple[str, float]]:
    """Kinds and sizes for the twin of this number: a part of the sizes of each kind, the others for the next twins."""
    sized = [(kind, size) for at, kind in enumerate(SIZED) for size in SIZES[(number + at) % TURNS :: TURNS]]
    return [*sized, ("offset", GROSS), ("stuck", 0.0), ("uncorrelated", 0.0)]


def found(served: Served, stretch: Stretch, faults: Sequence[Fault], window: int) -> NDArray[np.bool_]:
    """Which of the faults raise an alarm while they last, (F,)."""
    block = stretch.block
    _, spread = scalers(block.values, _counting(stretch))
    result = np.zeros(len(faults), np.bool_)
    for onset in sorted({fault.onset for fault in faults}):
        numbers = [number for number, fault in enumerate(faults) if fault.onset == onset]
        first, last = onset - (window - 1) - LEAD_STEPS, onset + FAULT_STEPS
        rows = [faults[number].row for number in numbers]
        without = sorted(set(rows))  # the same twins as they were
        rows += without
        values, quality = block.values[rows, first:last].copy(), block.quality[rows, first:last]
        for place, number in enumerate(numbers):
            inject(values[place], faults[number], onset - first, float(spread[faults[number].row, faults[number].channel]))
        names = tuple(block.assets[row] for row in rows)  # a twin may stand here more than once, in other states
        faulty = StepBlock(names, block.channels, block.first_step + first, block.period_ns, values, quality)
        seen = evaluate(served, faulty, start=onset - first - LEAD_STEPS)
        rising = seen.alarm & ~np.pad(seen.alarm, ((0, 0), (1, 0)))[:, :-1]
        rises = np.asarray(rising[:, onset - first :].any(axis=1), np.bool_)
        anyway = dict(zip(without, rises[len(numbers) :].tolist(), strict=True))
        result[numbers] = rises[: len(numbers)] & [not anyway[row] for row in rows[: len(numbers)]]
    return result


def inject(values: NDArray[np.float32], fault: Fault, onset: int, spread: float) -> None:
    """Put a fault into the values (T, C) of one twin, from `onset` to the end."""
    column = values[:, fault.channel]
    steps = np.arange(len(column) - onset)
    off = fault.sign * fault.size * spread
    match fault.kind:
        case "offset":
            column[onset:] += off
        case "drift":
            column[onset:] += off * (steps + 1) / len(steps)
        case "spikes":  # every other step, there and back
            column[onset:] += np.where(steps % 2 == 0, off, 0.0) * np.where(steps % 4 == 0, 1.0, -1.0)
        case "stuck":
            column[onset:] = column[onset - 1]
        case "uncorrelated":
            column[onset:] = column[onset - fault.lag : len(column) - fault.lag].copy()
        case _:
            raise ValueError(
                f"fault of kind {fault.kind!r}, expected offset, drift, spikes, stuck or uncorrelated; nothing was injected"
            )


def _counting(stretch: Stretch) -> NDArray[np.bool_]:
    good = good_cells(stretch.block.values, stretch.block.quality)
    return good if stretch.exclude is None else good & ~stretch.exclude[:, :, None]


def _lost_by_kind(faults: Sequence[Fault], theirs: NDArray[np.bool_], mine: NDArray[np.bool_]) -> str:
    counts: dict[str, list[int]] = {}
    for fault, before, now in zip(faults, theirs, mine, strict=True):
        count = counts.setdefault(fault.kind, [0, 0])
        count[0] += int(now)
        count[1] += int(before)
    kind, (now, before) = max(counts.items(), key=lambda one: one[1][1] - one[1][0])
    return f"{kind}, {now} against {before}"

"""Fleets with faults that people have labelled: two kinds at random twins and times, and what a version makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.fault_labels import LabelledPeriod
from tests.models.fleets import rhythm
from twin.block import StepBlock

KINDS = ("offset", "noise")
LASTS = 24  # steps
BETWEEN = 60


def labelled(events: int = 12, *, seed: int = 9, kinds: tuple[str, ...] = KINDS) -> tuple[StepBlock, list[LabelledPeriod]]:
    """`events` faults in turns: pressure off by ten times its noise, or the noise of flow ten times as large."""
    block = rhythm(seed=seed, steps=100 + BETWEEN * events)
    random = np.random.default_rng(seed)
    values = block.values.copy()
    periods = []
    for event in range(events):
        twin, start, kind = int(random.integers(len(block.assets))), 90 + BETWEEN * event, kinds[event % len(kinds)]
        hit = slice(start, start + LASTS)
        if kind == "offset":
            values[twin, hit, 1] += random.choice((-1.0, 1.0))
        elif kind == "noise":
            values[twin, hit, 0] += 2.0 * random.standard_normal(LASTS)
        first_ns, last_ns = ((block.first_step + at) * block.period_ns for at in (start, start + LASTS))
        periods.append(LabelledPeriod(block.assets[twin], first_ns, last_ns, kind))
    return replace(block, values=values), periods

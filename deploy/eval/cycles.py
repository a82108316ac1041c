"""Cycles: beats and batches that no clock foresees, and weeks; some are of another shape. Through the code of `livetwin score`.

In:   a seed.
Out:  per kind the VUS-PR of the score beside that of the distance to the nearest window of the normal part, and faults alerted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from deploy.bench.figures import Figure
from deploy.eval.made_up import Series, scored

REFERENCE_WINDOW, REFERENCES_MAX = 64, 2000
SERIES = 3  # of each kind


def beats(seed: int) -> Series:
    """A beat of some 160 steps that comes early or late by chance; twelve are broad and low."""
    draw = np.random.default_rng(seed)
    steps, normal = 20_000, 6_000
    x, starts, at = np.zeros(steps), [], 0
    while at < steps:
        length = int(160 + 6 * draw.normal())
        starts.append((at, length))
        part = np.arange(length) / length
        beat = 1.2 * _bump(part, 0.35, 0.012) - 0.25 * _bump(part, 0.38, 0.02) + 0.15 * _bump(part, 0.2, 0.03)
        beat += 0.3 * _bump(part, 0.6, 0.06)
        x[at : at + length] = beat[: steps - at]
        at += length
    faults = []
    later = [number for number, (first, length) in enumerate(starts) if normal + 500 < first < steps - length]
    for number in draw.choice(later, 12, replace=False):
        first, length = starts[number]
        part = np.arange(length) / length
        x[first : first + length] = 0.9 * _bump(part, 0.3, 0.05) - 0.5 * _bump(part, 0.45, 0.06)
        faults.append((first, first + length))
    x += 0.02 * draw.normal(size=steps) + 0.05 * np.sin(np.arange(steps) / 900)
    return Series(4_000_000, normal, x[:, None], faults)


def batches(seed: int) -> Series:
    """A batch of 300 to 700 steps that runs again and again; stretches are turned round, cut short, or ripple."""
    draw = np.random.default_rng(seed)
    steps, normal = 12_000, 4_000
    angle = 2 * np.pi * np.arange(steps) / draw.integers(300, 700)
    x = np.sin(angle) + 0.5 * np.sin(2 * angle + 1) + 0.3 * np.sign(np.sin(3 * angle)) + 0.05 * draw.normal(size=steps)
    faults = []
    for number, first in enumerate(range(normal + 500, steps - 900, 1200)):
        first += int(draw.integers(0, 300))
        length = int(draw.integers(100, 400))
        part = x[first : first + length]
        if number % 3 == 0:
            part[:] = part[::-1].copy()
        elif number % 3 == 1:
            part[:] = np.linspace(part[0], part[-1], length) + 0.05 * draw.normal(size=length)
        else:
            part += 0.4 * np.sin(2 * np.pi * np.arange(length) / 40)
        faults.append((first, first + length))
    return Series(60 * 10**9, normal, x[:, None], faults)


def weeks(seed: int) -> Series:
    """Twelve weeks of a site that rests at weekends, in quarters of an hour; on five days it does what it does on others."""
    draw = np.random.default_rng(seed)
    curve = np.clip(np.sin(2 * np.pi * np.arange(96) / 96 - 1.6), -0.2, 1.0)
    works = np.arange(84) % 7 < 5
    odd = np.sort(draw.choice(np.arange(36, 84), 5, replace=False))
    works[odd] = ~works[odd]
    x = np.concatenate([700 * (curve * (1.0 if work else 0.35) + 0.6) for work in works])
    x += 25 * draw.normal(size=len(x))
    return Series(900 * 10**9, 35 * 96, x[:, None], [(day * 96, (day + 1) * 96) for day in odd.tolist()])


KINDS: dict[str, Callable[[int], Series]] = {"beats": beats, "batches": batches, "weeks": weeks}


def evaluate_cycles(seed: int) -> list[Figure]:
    """SERIES series of each kind."""
    found = []
    for kind, made in KINDS.items():
        each = [_evaluate(made(seed * SERIES + number), seed) for number in range(SERIES)]
        own, reference, alerted = np.mean(each, axis=0)
        found += [
            Figure.beside(f"cycles, {kind}, VUS-PR; nearest normal window", float(own), "of 1", float(reference)),
            Figure(f"cycles, {kind}, faults with an alert", float(alerted), "of 1"),
        ]
    return found


def _evaluate(series: Series, seed: int) -> tuple[float, float, float]:
    found = scored(series, seed)
    return series.vus_pr(found.score), series.vus_pr(_nearest_window(series)), found.faults


def _nearest_window(series: Series) -> NDArray[np.float64]:
    """Distance of each step's last window to the nearest of the normal part."""
    windows = torch.from_numpy(series.values[:, 0].astype(np.float32)).unfold(0, REFERENCE_WINDOW, 1)
    normal = windows[: series.normal - REFERENCE_WINDOW + 1]
    known = normal[:: max(1, len(normal) // REFERENCES_MAX)]
    parts = [torch.cdist(part, known).amin(dim=1) for part in torch.split(windows, 4096)]
    return np.concatenate([np.zeros(REFERENCE_WINDOW - 1), torch.cat(parts).numpy()])


def _bump(part: NDArray[np.float64], at: float, wide: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-(((part - at) / wide) ** 2)))

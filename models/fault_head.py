"""Which fault an alarm looks like: a linear classifier over `models.fault_features`, part of a version.

In:   features (N, F) of alarming steps.
Out:  `FaultGuess` a step: probabilities of the classes that people have named, or why none is named.
Pure numpy; a row depends on nothing but the row. How it is learnt: `models.fault_learning`.

A guess explains an alarm that is there anyway. It raises none, and silences none, however sure it is of a false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

NORMAL: Final = "normal"  # what feedback calls a period under a false alarm
_DIGITS: Final = 3  # of a probability: fewer than any machine's arithmetic differs in
FARTHEST: Final = 10.0  # standard deviations that a feature may lie from its mean

Floats = NDArray[np.float64]
Reason = Literal["", "unsure", "far"]


@dataclass(frozen=True, slots=True)
class FaultGuess:
    """`label` is None where nothing can be named; `why`: no better than how often each class came, or like no example."""

    label: str | None
    probabilities: dict[str, float]  # by class, the most probable first
    why: Reason = ""


@dataclass(frozen=True, slots=True)
class FaultHead:
    """A classifier of K classes over F features."""

    classes: tuple[str, ...]
    centre: Floats  # (F,)
    spread: Floats  # (F,)
    weights: Floats  # (K, F)
    bias: Floats  # (K,)
    share: Floats  # (K,) of the labelled periods
    examples: Floats  # (M, F) labelled steps, scaled
    temperature: float  # by which logits are divided: fitted on periods that were left out
    reach: float  # distance from the nearest example beyond which nothing is named

    def guess(self, features: Floats) -> list[FaultGuess]:
        """One guess a row of (N, F)."""
        z = self.scaled(features)
        found = []
        for row, probabilities in zip(z, self.probabilities(z), strict=True):
            best = int(probabilities.argmax())
            far = self.distance(row) > self.reach
            unsure = bool(probabilities[best] <= self.share[best])
            why: Reason = "far" if far else "unsure" if unsure else ""
            order = np.argsort(-probabilities, kind="stable").tolist()
            told = {self.classes[place]: round(float(probabilities[place]), _DIGITS) for place in order}
            found.append(FaultGuess(None if why else self.classes[best], told, why))
        return found

    def scaled(self, features: Floats) -> Floats:
        return scaled(features, self.centre, self.spread)

    def probabilities(self, z: Floats) -> Floats:
        """(N, K) of scaled features; rounded well below what is told, so that the order of a sum decides nothing."""
        return posterior(np.stack([logits(row, self.weights, self.bias) for row in z]), self.share, self.temperature).round(9)

    def distance(self, row: Floats) -> float:
        """Root mean squared distance of one scaled row (F,) from the nearest example."""
        return round(float(np.sqrt(np.square(self.examples - row).mean(axis=1).min())), 9)


def scaled(features: Floats, centre: Floats, spread: Floats) -> Floats:
    """(N, F) in standard deviations of the labelled steps."""
    return ((features - centre) / spread).clip(-FARTHEST, FARTHEST)


def logits(row: Floats, weights: Floats, bias: Floats) -> Floats:
    """(K,) of one scaled row (F,)."""
    return np.asarray((weights * row).sum(axis=1) + bias)


def posterior(of: Floats, share: Floats, temperature: float) -> Floats:
    """(N, K) probabilities from logits that were learnt with all classes weighing the same, and how often each class comes.

    >>> posterior(np.zeros((1, 2)), np.array([0.75, 0.25]), 1.0).round(9).tolist()
    [[0.75, 0.25]]
    """
    weighed = of / temperature + np.log(share)
    weighed = np.exp(weighed - weighed.max(axis=1, keepdims=True))
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))

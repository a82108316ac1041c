"""Which fault alarms look like: what a version's fault head says of closed steps.

In:   `Scored` steps of one type; which of them are asked about.
Out:  one `LikelyFault` a step, by its position; none where the version has no fault head.
Few steps are alarms, so their windows are gathered here once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from models.fault_features import describe
from models.port import Scores
from streams.records import UNKNOWN_FAULT, LikelyFault
from streams.scoring import Scored


def fault_guesses(scored: Scored, steps: Sequence[int]) -> dict[int, LikelyFault]:
    """Guesses for steps whose scores are explained."""
    asked = np.array(sorted(steps), np.int64)
    asked = asked[~scored.learning[asked]]
    found: dict[int, LikelyFault] = {}
    for place in np.unique(scored.version[asked]).tolist():
        served = scored.served[place]
        if served is None or (head := served.fault_head) is None:
            continue
        at = asked[scored.version[asked] == place]
        scores = Scores(**{one.name: getattr(scored, one.name)[at] for one in fields(Scores)})
        guesses = head.guess(describe(scores, *scored.closed.windows.newest(at, served.window)))
        for step, guess in zip(at.tolist(), guesses, strict=True):
            label = guess.label or UNKNOWN_FAULT
            found[step] = LikelyFault(label=label, probabilities=guess.probabilities, why=guess.why or None)
    return found

"""The gate: does a candidate take over? Stage by stage beside the champion, on steps that neither was trained on.

In:   candidate, champion or None, the hold-out (a block whose first steps are context), old steps where there are any.
Out:  `Decision`: yes or no, why in plain words with numbers, the figures, and each stage's own word.

  identity       of this type, from this champion, learnt from nothing that has not been       models/gate_cost.py
  latency, size  a pass and the file beside the champion's                                      models/gate_cost.py
  hold-out       finite, all twins still known, loss no worse: over all, and of no twin much    models/gate_holdout.py
  calibration    alarms as the target explains, p-values as rare as they say                    models/gate_calibration.py
  golden faults  finds of injected faults what the champion finds                               models/gate_faults.py
  anchor         no worse than the best of earlier champions either                             models/gate_anchor.py
  old regimes    has not forgotten how the twins were                                           models/gate_memory.py

A version that does not belong here, or costs too much, is not judged further; of the rest a refusal names all that was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.gate_anchor import anchor
from models.gate_calibration import as_promised, calibration, left_behind
from models.gate_cost import identity, latency, size
from models.gate_faults import Golden, golden_faults
from models.gate_holdout import Judged, hold_out
from models.gate_memory import old_regimes
from models.gate_stage import Stage, Stretch
from models.served import ServedModel
from twin.block import StepBlock


@dataclass(frozen=True, slots=True)
class Decision:
    promote: bool
    why: str
    figures: dict[str, float]
    stages: tuple[Stage, ...] = ()
    anchors: tuple[str, ...] = ()  # versions that were the best here: the next candidate is to be compared with them too


def compare(
    candidate: ServedModel,
    champion: ServedModel | None,
    holdout: StepBlock,
    *,
    start: int = 0,
    alarms_per_twin_day: float = 0.02,
    exclude: NDArray[np.bool_] | None = None,
    old: Sequence[Stretch] = (),
    shadow: bool = False,
    earlier: Sequence[ServedModel] = (),
) -> Decision:
    """Decide on the newest steps.

    Args:
        candidate: the version that wants to serve.
        champion: the version that serves; None: the first model, whose own checks decide.
        holdout: newest closed steps.
        start: first step to judge on; earlier ones are context for windows.
        alarms_per_twin_day: the target.
        exclude: (A, T) steps under an alarm or marked faulty: not judged.
        old: steps from before the hold-out, to see what was forgotten.
        shadow: a version that passes is judged on live steps before it serves, where there is a champion.
        earlier: other versions that have served, the oldest first, which it may not be worse than either.
    """
    stretch = Stretch(holdout, start, exclude)
    stages = [identity(candidate, champion, stretch)]
    if stages[0].passed:
        stages += [latency(candidate, champion, stretch), size(candidate, champion)]
    if not all(stage.passed for stage in stages):
        return _decision(stages, {}, champion)
    judged = Judged.of(candidate, champion, stretch)
    figures = judged.figures()
    stages.append(hold_out(judged, figures))
    if figures["candidate_not_finite"] == 0 and math.isfinite(figures["candidate_loss"]):
        gained = figures.get("champion_loss", math.nan) - figures["candidate_loss"]
        stages.append(calibration(judged, figures, alarms_per_twin_day=alarms_per_twin_day, shadow=shadow))
        promised = as_promised(champion, figures) if champion is not None else None
        golden = Golden.of(candidate, promised, stretch, large_only=left_behind(judged, figures))
        stages.append(golden_faults(golden))
        stages.append(old_regimes(candidate, champion, old, gained=gained))
        if champion is not None:
            anchored = anchor(judged, golden, candidate, champion, earlier)
            stages.append(anchored.stage)
            return replace(_decision(stages, figures, champion), anchors=anchored.best)
    return _decision(stages, figures, champion)


def _decision(stages: list[Stage], figures: dict[str, float], champion: ServedModel | None) -> Decision:
    """What failed, or of what passed the words that say most, as one sentence."""
    failed = [stage for stage in stages if not stage.passed]
    for stage in stages:
        figures = {**figures, **stage.figures}
    if failed:
        return Decision(False, f"refused: {'; '.join(stage.why for stage in failed)}", figures, tuple(stages))
    telling = [stage.why for stage in stages if stage.name in ("hold-out", "calibration", "golden faults", "old regimes")]
    word = "first model" if champion is None else "passed the gate"
    return Decision(True, f"{word}: {', '.join(telling)}", figures, tuple(stages))

"""Tables of a version: run its detectors over held-out normal steps and fit what is usual, detector by detector, then fused.

In:   a model whose networks are trained, a block, which steps are held out from training.
Out:  the model's tables are filled; the fused surprise of the steps, for the alarm threshold.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import calibration
from models.detectors import DETECTORS, Surprises, strongest
from models.level import FleetLevels
from models.pattern import FleetPatterns
from models.served import ServedModel
from models.windows import gather, good_cells, padded
from twin.block import StepBlock

ROWS_AT_ONCE = 4096


def fit_all_tables(
    model: ServedModel, block: StepBlock, part: NDArray[np.bool_], levels: FleetLevels, patterns: FleetPatterns
) -> NDArray[np.float32]:
    """Fill tables from the steps of `part` (A, T); returns their fused surprise, (A, T), NaN elsewhere.

    Of a model with more than A twins the first A rows are filled.
    """
    twins, steps = part.shape
    detectors, window = model.detectors, model.window
    values, quality = padded(block, window)
    times = block.time_ns()
    rows, at = np.nonzero(part)
    found: list[list[Tensor]] = [[] for _ in DETECTORS]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        r, t = rows[start : start + ROWS_AT_ONCE], at[start : start + ROWS_AT_ONCE]
        v, q = gather(values, quality, r, t, window)
        tensors = [torch.from_numpy(array) for array in (r, v, good_cells(v, q), *model.calendars(times[t]))]
        with torch.inference_mode():
            s = detectors.statistics(*tensors)
        for kept, name in zip(found, DETECTORS, strict=True):
            kept.append(getattr(s, name))
    rows_t = torch.from_numpy(rows)
    joined = [torch.cat(parts) for parts in found]  # (M, C) or (M, 1)
    # the weights have seen these steps: what counts is how far each was off when its own stretch was left out
    joined[DETECTORS.index("level")] = torch.from_numpy(levels.left_out[rows, at])
    joined[DETECTORS.index("pattern")] = torch.from_numpy(patterns.left_out[rows, at][:, None])
    span = float(detectors.layout.span)
    memory = {"forecast": 1.0, "shift": float(detectors.architecture.horizons), "shape": span}
    for name, one in zip(DETECTORS, joined, strict=True):
        dense = np.full((twins, one.shape[1], steps), np.nan, np.float32)
        dense[rows, :, at] = np.where(one.numpy() > 0, one.numpy(), np.nan)  # 0: nothing to judge
        if name == "level":
            tables = levels.tables
        elif name == "pattern":
            tables = patterns.tables
        else:
            tables = np.stack(
                [calibration.fit_tables(dense[:, column], memory=memory[name]) for column in range(one.shape[1])], axis=1
            )
        detectors.table(name)[:twins] = torch.from_numpy(tables)
    with torch.inference_mode():
        each = [calibration.surprise(detectors.table(name)[rows_t], one) for name, one in zip(DETECTORS, joined, strict=True)]
        raw = strongest(Surprises(*each))
    dense = np.full((twins, steps), np.nan, np.float32)
    dense[rows, at] = raw.numpy()
    detectors.table_fused[:twins] = torch.from_numpy(calibration.fit_tables(dense, memory=span)[:, None])
    with torch.inference_mode():
        dense[rows, at] = calibration.surprise(detectors.table_fused[rows_t, 0], raw).numpy()
    return dense

"""Many twins of one type, each with adapters of its own: steps scored a second and memory a twin, beside few twins.

In:   nothing: weights and windows are drawn, as the time depends on neither. One process a core, no broker.
Out:  figures. Both score the same number of windows a call, and no window shares a forecast with another: what differs is from
      how many twins' tensors (adapters, components, levels, tables) they are gathered.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from deploy.bench.figures import Figure
from models.detectors import Detectors, Layout
from models.network import Architecture
from models.served import ServedModel, VersionInfo

FEW, MANY = 100, 10_000  # twins
ROWS = 10_000  # windows a call: a step of each of MANY twins
CHANNELS, WINDOW, PERIOD_NS = 5, 64, 60 * 10**9
ROUNDS = 7  # by turns; the best counts


def measure_adapters() -> list[Figure]:
    """Steps a second with FEW and with MANY twins, and what a twin's tensors take."""
    torch.set_num_threads(1)
    draw = np.random.default_rng(1)
    windows = draw.standard_normal((ROWS, WINDOW, CHANNELS), np.float32)
    quality = np.zeros(windows.shape, np.uint8)
    best = dict.fromkeys((FEW, MANY), np.inf)
    versions = {twins: _version(twins) for twins in best}
    for _ in range(ROUNDS):
        for twins, version in versions.items():
            rows, step = np.divmod(np.arange(ROWS), ROWS // twins)
            began = time.thread_time()
            version.score(rows, windows, quality, (step + 1) * PERIOD_NS, explained=False)
            best[twins] = min(best[twins], time.thread_time() - began)
    few, many = (round(ROWS / best[twins]) for twins in (FEW, MANY))
    tensors = versions[MANY].detectors.tensors().values()
    of_a_twin = sum(one.numel() * one.element_size() for one in tensors if one.shape[:1] == (MANY,)) / MANY
    return [
        Figure(f"scoring, {FEW:,} twins of one type, a core", few, "steps/s"),
        Figure.beside(f"scoring, {MANY:,} twins of one type, a core", many, "steps/s", few),
        Figure(f"tensors of a twin, {CHANNELS} channels", round(of_a_twin / 1024, 1), "KiB"),
    ]


def _version(twins: int) -> ServedModel:
    architecture = Architecture(twins=twins, channels=CHANNELS)
    layout = Layout(window=WINDOW, span=12, components=24, prototypes=256)
    info = VersionInfo(
        name="bench",
        type="dtmi:livetwin:bench:Pump;1",
        contract="",
        version="0001-bench",
        channels=tuple(f"c{number}" for number in range(CHANNELS)),
        period_ns=PERIOD_NS,
        assets=tuple(f"pump-{number:05d}" for number in range(twins)),
        alarm_p=1e-4,
        base=None,
        trained_from_ns=0,
        trained_to_ns=0,
        seed=1,
        calendar_day=True,
        calendar_week=False,
        architecture=architecture,
        layout=layout,
    )
    torch.manual_seed(1)
    return ServedModel(info, Detectors(architecture, layout), sha256="", device="cpu")

"""What the trainer remembers over restarts: a reservoir a type, and which periods must not train, in the data folder.

In:   closed steps of all types, as they are folded; the fold of `alerts` and `feedback`.
Out:  `Stretches` of a type without what must not train; files under `<home>/replay`.

The log forgets telemetry after days and alerts after months. A crash loses nothing: files are written whole, more often than
the log forgets, and what came since is folded again from the log, which changes nothing that is held.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.hygiene import LeftOut
from streams.reservoir import LENGTH, Reservoir
from streams.training_periods import TrainingPeriods
from twin.stretches import Stretches
from twin.types import TwinType

log = logging.getLogger(__name__)

_PERIODS = "periods.json"


class Remembering:
    """Reservoirs of all types, and their files.

    Args:
        folder: where the files lie.
        capacity: stretches of a type; 0: nothing is remembered.
        seed: of the sample.
    """

    def __init__(self, folder: Path, *, capacity: int, seed: int) -> None:
        self._folder, self._capacity, self._seed = folder, capacity, seed
        self._reservoirs: dict[str, Reservoir] = {}  # by type id
        self._kept_at: dict[str, int] = {}  # type id → step up to which its file reaches

    def add(
        self,
        type: TwinType,
        assets: Sequence[str],
        step: NDArray[np.int64],
        values: NDArray[np.float32],
        quality: NDArray[np.uint8],
    ) -> None:
        """Take closed steps; see `Reservoir.add`."""
        if not self._capacity:
            return
        reservoir = self._reservoirs.get(type.id)
        if reservoir is None or reservoir.type.contract != type.contract:
            reservoir = self._reservoirs[type.id] = Reservoir(type, capacity=self._capacity, seed=self._seed)
            reservoir.load(self._file(type))
        reservoir.add(assets, step, values, quality)

    def forget(self, asset: str) -> None:
        """Drop a twin whose past is to be read otherwise."""
        for reservoir in self._reservoirs.values():
            reservoir.forget(asset)

    def oldest_ns(self, type: TwinType) -> int | None:
        reservoir = self._reservoirs.get(type.id)
        return reservoir.oldest_ns if reservoir else None

    def before(self, type: TwinType, step: int, periods: TrainingPeriods) -> tuple[Stretches, LeftOut] | None:
        """What is remembered of the time before `step`, and what of it must not train; None when that is nothing."""
        reservoir = self._reservoirs.get(type.id)
        stretches = reservoir.before(step) if reservoir else None
        if stretches is None or not len(stretches):
            return None
        return stretches, periods.of_rows(stretches.assets, stretches.first_step, stretches.steps, stretches.period_ns)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def load_periods(self, periods: TrainingPeriods) -> None:
        """Take what an earlier process knew of alerts and labels; records that are still in the log follow, and count more."""
        path = self._folder / _PERIODS
        try:
            periods.restore(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("training-periods-start-anew", extra={"found": f"{path.name}: {error}"})

    def keep(self, periods: TrainingPeriods, newest: int, type: TwinType) -> None:
        """Write the type's file when a stretch has passed since it was written."""
        reservoir = self._reservoirs.get(type.id)
        if reservoir is None or newest - self._kept_at.get(type.id, newest - LENGTH) < LENGTH:
            return
        try:
            reservoir.save(self._file(type))
            path = self._folder / _PERIODS
            temporary = path.with_name(f".{_PERIODS}.tmp")
            with temporary.open("wb") as file:
                file.write(periods.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            self._kept_at[type.id] = newest
        except OSError as error:
            log.warning("reservoir-not-kept", extra={"model": type.slug, "found": str(error)})

    def _file(self, type: TwinType) -> Path:
        return self._folder / f"{type.slug}.npz"

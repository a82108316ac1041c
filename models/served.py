"""A version that serves: any number of windows in, `Scores` out, the same bits for a row whatever stands beside it.

In:   windows in channel units from the stream or from `models.evaluate`.
Out:  `models.port.Scores`.

Contexts go through the network and rows through what follows in passes of a few sizes, all with the same bits for a row
(`models/passes.py`), in one call of torch (`models/scoring_pass.py`, `models/recorded.py`). Results are rounded to 5
significant digits before anyone compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import level, pattern
from models.coverage import covered
from models.detectors import DETECTORS, Detectors, Layout
from models.fault_file import NO_FAULTS, FaultNames, Faults
from models.fault_head import FaultHead
from models.network import Architecture
from models.online_threshold import SIZE
from models.passes import same_widths
from models.port import LEARNING, Scores, VersionRefused
from models.recorded import recorded
from models.rounding import rounded
from models.scoring_pass import ROUNDED, block_widths
from models.stuck_runs import NOTHING, StuckRuns
from models.windows import calendar

AT_ONCE = 8192  # rows whose forecasts are held at once
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """What a version file says of itself."""

    name: str
    type: str
    contract: str
    version: str
    channels: tuple[str, ...]
    period_ns: int
    assets: tuple[str, ...]
    alarm_p: float
    base: str | None
    trained_from_ns: int
    trained_to_ns: int
    seed: int
    calendar_day: bool
    calendar_week: bool
    architecture: Architecture
    layout: Layout
    alarms_per_twin_day: float = 0.02  # what `alarm_p` was calibrated to; versions of before did not tell
    stuck_runs: StuckRuns = NOTHING  # neither did they of these
    holdout_steps: int | None = None  # newest steps that it did not learn from; None: a version of before, 15 %
    faults: FaultNames = NO_FAULTS
    peak_size: float = SIZE  # nor of how far peaks of its type reach
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        if self.faults == NO_FAULTS:
            del found["faults"]
        if not self.architecture.blocks:  # as versions of before have it, which knew of none
            del found["architecture"]["blocks"]
        return found

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> VersionInfo:
        """Raises KeyError or TypeError when a field is missing or unknown."""
        return cls(
            **{
                **found,
                "channels": tuple(found["channels"]),
                "assets": tuple(found["assets"]),
                "architecture": Architecture(**found["architecture"]),
                "layout": Layout(**found["layout"]),
                "stuck_runs": StuckRuns.from_dict(found["stuck_runs"]) if "stuck_runs" in found else NOTHING,
                "faults": FaultNames.from_dict(found["faults"]) if "faults" in found else NO_FAULTS,
            }
        )


class ServedModel:
    """One loaded version; implements `models.port.Served`."""

    def __init__(
        self,
        info: VersionInfo,
        detectors: Detectors,
        *,
        sha256: str,
        device: str | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.info = info
        self.detectors = detectors.to(self.device).eval().requires_grad_(False)
        self.detectors.derive()
        self.widths = same_widths(self.detectors)
        self._pass = recorded(self.detectors, widths=self.widths, period_ns=info.period_ns)
        self._sha256 = sha256
        self.faults = faults
        self._row = {asset: row for row, asset in enumerate(info.assets)}
        self._good_share = self.detectors.good_share.cpu().numpy()

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def version(self) -> str:
        return self.info.version

    @property
    def sha256(self) -> str:
        return self._sha256

    @property
    def contract(self) -> str:
        return self.info.contract

    @property
    def window(self) -> int:
        return self.info.layout.window

    @property
    def alarm_p(self) -> float:
        return self.info.alarm_p

    @property
    def peak_size(self) -> float:
        return self.info.peak_size

    @property
    def detector_steps(self) -> dict[str, int]:
        """Steps up to the scored one over which each detector compares, in the order of `Scores.leading`."""
        horizons = self.info.architecture.horizons
        return {"forecast": 1, "shift": horizons, "level": level.SHORT, "shape": self.info.layout.span, "pattern": pattern.SPAN}

    @property
    def stuck_runs(self) -> StuckRuns:
        return self.info.stuck_runs

    @property
    def fault_head(self) -> FaultHead | None:
        return self.faults.head if self.faults is not None else None

    @property
    def alarms_per_twin_day(self) -> float:
        return self.info.alarms_per_twin_day

    def rows(self, assets: Sequence[str]) -> NDArray[np.int64]:
        """Row of each asset in the per-twin tensors, LEARNING for one this version does not know."""
        return np.fromiter((self._row.get(asset, LEARNING) for asset in assets), np.int64, len(assets))

    def score(
        self,
        rows: NDArray[np.int64],
        windows: NDArray[np.float32],
        quality: NDArray[np.uint8],
        time_ns: NDArray[np.int64],
        *,
        explained: bool = True,
    ) -> Scores:
        """See `models.port.Served.score`.

        Raises:
            ValueError: arrays of different lengths, or windows of another size than this version's.
        """
        n, channels = len(rows), len(self.info.channels)
        expected_shape = (n, self.window, channels)
        if windows.shape != expected_shape or quality.shape != expected_shape or len(time_ns) != n:
            raise ValueError(
                f"{self.name} {self.version}: windows {windows.shape}, quality {quality.shape}, {len(time_ns)} times; "
                f"expected {expected_shape}; nothing was scored"
            )
        scores = Scores.unknown(n, channels, len(DETECTORS), explained=explained)
        known = np.flatnonzero(rows != LEARNING)
        scores.covered[known] = covered(quality[known], self._good_share[rows[known]])
        known = known[np.lexsort((time_ns[known], rows[known]))]  # a twin's steps beside each other: they share forecasts
        widths = block_widths(channels, explained=explained)
        ends = np.cumsum(list(widths.values()))
        compared = ends[:ROUNDED][-1]
        for start in range(0, len(known), AT_ONCE):
            at = _run(known[start : start + AT_ONCE])
            found = self.unrounded(rows[at], windows[at], quality[at], time_ns[at], explained=explained)
            found[:, :compared] = rounded(found[:, :compared])
            for name, block in zip(widths, np.split(found, ends[:-1], axis=1), strict=True):
                getattr(scores, name)[at] = block[:, 0] if name == "score" else block
        return scores

    def unrounded(
        self,
        rows: NDArray[np.int64],
        windows: NDArray[np.float32],
        quality: NDArray[np.uint8],
        time_ns: NDArray[np.int64],
        *,
        explained: bool = True,
    ) -> NDArray[np.float32]:
        """Scores of rows of known twins before they are rounded: (N, columns of `models.scoring_pass.block_widths`)."""
        inputs = (rows, windows, quality, time_ns, *self.calendars(time_ns))
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(one)).to(self.device) for one in inputs]
            found: Tensor = self._pass(*tensors, explained)
        return np.asarray(found.cpu().numpy())

    def calendars(self, time_ns: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Calendar features of the scored step and of the first step of the shift detector's forecast."""
        earlier = (self.info.architecture.horizons - 1) * self.info.period_ns
        times, place = np.unique(time_ns, return_inverse=True)  # the twins of a type share their steps
        of_now, of_earlier = (
            calendar(one, day=self.info.calendar_day, week=self.info.calendar_week)[place] for one in (times, times - earlier)
        )
        return of_now, of_earlier

    def fits(self, other: ServedModel) -> bool:
        """Whether `copy_from(other)` is possible: the same tensors, window, channels and grid."""
        mine, theirs = self.info, other.info
        return (mine.architecture, mine.layout, mine.contract) == (theirs.architecture, theirs.layout, theirs.contract)

    def copy_from(self, other: ServedModel) -> None:
        """Take over the other version in place, without new memory. Call it between batches.

        Raises:
            VersionRefused: the tensors differ in shape; nothing was changed.
        """
        if not self.fits(other):
            raise VersionRefused(
                "shape",
                f"{other.name} {other.version} not copied: its {other.info.architecture} differs from {self.info.architecture}; "
                f"still serving {self.version}",
            )
        with torch.inference_mode():
            mine = self.detectors.tensors()
            for name, tensor in other.detectors.tensors().items():
                mine[name].copy_(tensor)
        self.info, self._sha256, self._row = other.info, other._sha256, dict(other._row)
        self._good_share = other._good_share.copy()
        self.faults = other.faults


def _run(at: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Positions that follow each other as a slice: what is taken by it is no copy."""
    return slice(int(at[0]), int(at[-1]) + 1) if (np.diff(at) == 1).all() else at

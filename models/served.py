"""A version that serves: any number of windows in, `Scores` out, the same bits for a row whatever stands beside it.

In:   windows in channel units from the stream or from `models.evaluate`.
Out:  `models.port.Scores`.

Rows go through the network in chunks of one fixed, padded shape (CHUNK rows), so every row meets the same kernels with
the same sizes; results are rounded to 5 significant digits before anyone compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.detectors import Detectors, Layout, contributions
from models.network import Architecture
from models.port import LEARNING, Scores, VersionRefused
from models.windows import calendar, good_cells

CHUNK = 64
DIGITS = 5
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
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

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
            }
        )


class ServedModel:
    """One loaded version; implements `models.port.Served`."""

    def __init__(self, info: VersionInfo, detectors: Detectors, *, sha256: str, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.info = info
        self.detectors = detectors.to(self.device).eval().requires_grad_(False)
        self._sha256 = sha256
        self._row = {asset: row for row, asset in enumerate(info.assets)}

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

    def rows(self, assets: Sequence[str]) -> NDArray[np.int64]:
        """Row of each asset in the per-twin tensors, LEARNING for one this version does not know."""
        return np.fromiter((self._row.get(asset, LEARNING) for asset in assets), np.int64, len(assets))

    def score(
        self,
        rows: NDArray[np.int64],
        windows: NDArray[np.float32],
        quality: NDArray[np.uint8],
        time_ns: NDArray[np.int64],
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
        scores = Scores(
            expected=np.full((n, channels), np.nan, np.float32),
            spread=np.full((n, channels), np.nan, np.float32),
            before=np.full((n, channels), np.nan, np.float32),
            before_spread=np.full((n, channels), np.nan, np.float32),
            contribution=np.zeros((n, channels), np.float32),
            score=np.zeros(n, np.float32),
            p_value=np.ones(n, np.float32),
        )
        known = np.flatnonzero(rows != LEARNING)
        for start in range(0, len(known), CHUNK):
            at = known[start : start + CHUNK]
            found = self._chunk(rows[at], windows[at], quality[at], time_ns[at])
            for name, array in found.items():
                getattr(scores, name)[at] = rounded(array)
            scores.p_value[at] = rounded(10.0 ** -scores.score[at].astype(np.float64))
        return scores

    def _chunk(
        self, rows: NDArray[np.int64], windows: NDArray[np.float32], quality: NDArray[np.uint8], time_ns: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Up to CHUNK rows, padded to CHUNK with copies of the first."""
        n = len(rows)
        fill = np.concatenate([np.arange(n), np.zeros(CHUNK - n, np.int64)])
        rows, windows, quality, time_ns = rows[fill], windows[fill], quality[fill], time_ns[fill]
        good = good_cells(windows, quality)
        tensors = [torch.from_numpy(array).to(self.device) for array in (rows, windows, good, *self.calendars(time_ns))]
        with torch.inference_mode():
            found = self.detectors.statistics(*tensors)
            surprises = self.detectors.surprises(tensors[0], found)
            fused = self.detectors.fused(tensors[0], surprises)
            share = contributions(surprises, found)
            loc, scale = self.detectors.loc[tensors[0]], self.detectors.scale[tensors[0]]
            results = {
                "expected": found.expected * scale + loc,
                "spread": found.spread * scale,
                "before": found.before * scale + loc,
                "before_spread": found.before_spread * scale,
                "contribution": share,
                "score": fused,
            }
            return {name: result.cpu().numpy()[:n] for name, result in results.items()}

    def calendars(self, time_ns: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Calendar features of the scored step and of the first step of the shift detector's forecast."""
        earlier = (self.info.architecture.horizons - 1) * self.info.period_ns
        return self._calendar(time_ns), self._calendar(time_ns - earlier)

    def _calendar(self, time_ns: NDArray[np.int64]) -> NDArray[np.float32]:
        return calendar(time_ns, day=self.info.calendar_day, week=self.info.calendar_week)

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
            mine = self.detectors.state_dict()
            for name, tensor in other.detectors.state_dict().items():
                mine[name].copy_(tensor)
        self.info, self._sha256, self._row = other.info, other._sha256, dict(other._row)


def rounded(x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """To DIGITS significant digits, float32.

    >>> rounded(np.array([123.45678, 0.0, -0.000123456789], np.float32)).tolist()
    [123.45999908447266, 0.0, -0.0001234600058523938]
    """
    wide = x.astype(np.float64)
    size = np.abs(wide)
    exponent = np.floor(np.log10(np.where((size > 0) & np.isfinite(size), size, 1.0)))
    unit = 10.0 ** (DIGITS - 1 - exponent)
    return np.asarray(np.round(wide * unit) / unit, np.float32)

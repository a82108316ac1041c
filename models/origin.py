"""Where a version comes from: what it was trained on, how it is built, by which software, at what cost.

In:   the header of a weight file; the process that trains.
Out:  `Origin` and `Compute`, plain values that travel with the version's record and fill its model card.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.served import VersionInfo

ASSETS_TOLD = 50  # of a larger fleet the weight file has all
_ROOT = Path(__file__).parent.parent
_GIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Origin:
    """What a version was trained on, and how it is built. Times are event times."""

    data_from_ns: int
    data_to_ns: int
    period_ns: int
    twins: int
    assets: tuple[str, ...]  # the first ASSETS_TOLD
    channels: tuple[str, ...]
    seed: int
    structure: dict[str, float | bool] = field(default_factory=dict)  # architecture and layout, by name


@dataclass(frozen=True, slots=True)
class Energy:
    """What some work took, by codecarbon, in watt hours; and the greenhouse gas of that electricity."""

    cpu_wh: float
    ram_wh: float
    gpu_wh: float
    carbon_g: float  # CO2 equivalents
    measured: bool  # by counters of the machine; else estimated from time
    source: str  # how, in words
    grid: str  # whose electricity mix: ISO 3166 alpha-3, or "world average"

    @property
    def wh(self) -> float:
        return self.cpu_wh + self.ram_wh + self.gpu_wh


@dataclass(frozen=True, slots=True)
class Compute:
    """What training and gate of one version took, and on what. `energy` None: not known."""

    wall_s: float
    cpu_s: float  # of the process and those it started
    device: str
    software: dict[str, str]
    energy: Energy | None = None


def origin_of(info: VersionInfo) -> Origin:
    """What the header of a weight file tells."""
    structure = {**asdict(info.architecture), **asdict(info.layout)}
    structure |= {"calendar_day": info.calendar_day, "calendar_week": info.calendar_week}
    return Origin(
        data_from_ns=info.trained_from_ns,
        data_to_ns=info.trained_to_ns,
        period_ns=info.period_ns,
        twins=len(info.assets),
        assets=info.assets[:ASSETS_TOLD],
        channels=info.channels,
        seed=info.seed,
        structure={
            name: value if isinstance(value, bool) else float(value)
            for name, value in structure.items()
            if isinstance(value, int | float)
        },
    )


@functools.cache
def software() -> dict[str, str]:
    """Versions of what trains: livetwin with its commit where it runs from a checkout, Python, torch, numpy."""
    found = {"python": platform.python_version()}
    for name in ("livetwin", "torch", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = _commit(_ROOT)
    return found | ({"commit": commit} if commit else {})


def _commit(root: Path) -> str | None:
    """The checkout's commit, with `-dirty` when files differ from it; None where `root` is no checkout, or there is no git."""
    if not (root / ".git").exists():
        return None  # a folder of packages may lie inside some other repository
    try:
        told = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty"],
            capture_output=True,
            text=True,
            timeout=_GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None

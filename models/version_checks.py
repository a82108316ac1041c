"""What a version must be before it serves, whoever announced it: whole, of one piece, and able to tell a fault.

In:   the header and the detectors of a file that was read; a warmed-up model.
Out:  nothing, or VersionRefused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from models.calibration import SURPRISE_MAX
from models.detectors import DETECTORS, Detectors
from models.passes import CHUNK
from models.port import VersionRefused
from models.served import ServedModel, VersionInfo
from twin.types import TwinType

KEEPS = "the version before keeps serving"
ALARM_P_RANGE = (10.0**-SURPRISE_MAX, 0.1)  # no p-value is smaller; beyond the other end normal steps would be alarms
PEAK_SIZES = (0.01, 10.0)  # decades
GROSS = 1e4  # spreads by which a step is off that every version must find strange
STRANGE = 2.0  # surprise that such a step must have at least: one in a hundred
SEEING = 0.5  # share of the twins on which it does


def of_one_piece(info: VersionInfo, *, origin: str) -> None:
    """The header agrees with itself. Raises VersionRefused (shape)."""
    a = info.architecture
    repeated = len(info.assets) - len(set(info.assets))
    found = ""
    if len(info.channels) != a.channels or len(set(info.channels)) != len(info.channels):
        found = f"it names the channels {', '.join(info.channels)}, its tensors expect {a.channels} different ones"
    elif len(info.assets) != a.twins or not info.assets:
        found = f"it names {len(info.assets)} twins, its tensors expect {a.twins}"
    elif repeated:
        found = f"{repeated} of its {len(info.assets)} twins are named twice, expected each once"
    elif info.period_ns <= 0:
        found = f"its steps are {info.period_ns} ns long, expected more than none"
    elif not 0 <= info.trained_from_ns <= info.trained_to_ns:
        found = f"it was trained from {info.trained_from_ns} to {info.trained_to_ns} ns, expected a period since 1970"
    if found:
        raise VersionRefused("shape", f"{origin} not served: {info.version}: {found}; {KEEPS}")


def of_type(info: VersionInfo, kind: TwinType, *, origin: str) -> None:
    """The header agrees with the twin type it is to serve. Raises VersionRefused (contract)."""
    found = ""
    if info.contract != kind.contract:
        found = f"was trained for contract {info.contract}, expected {kind.contract}"
    elif info.channels != kind.channel_names:
        found = f"has the channels {', '.join(info.channels)}, expected {', '.join(kind.channel_names)} in this order"
    elif info.period_ns != kind.period_ns:
        found = f"has steps of {info.period_ns / 1e9:g} s, expected {kind.period_ns / 1e9:g} s"
    if found:
        raise VersionRefused("contract", f"{origin} not served: {info.version} {found}; {KEEPS}")


def sound(info: VersionInfo, tensors: Mapping[str, Tensor], detectors: Detectors, *, origin: str) -> None:
    """Tensors of the right kind, finite, spreads above none, tables that rise. Raises VersionRefused (shape, non-finite)."""

    def refuse(reason: str, found: str) -> VersionRefused:
        return VersionRefused(reason, f"{origin} not served: {info.version}: {found}; {KEEPS}")

    for name, own in detectors.state_dict().items():
        if tensors[name].dtype != own.dtype:
            raise refuse("shape", f"{name} is {tensors[name].dtype}, expected {own.dtype}")
        if not bool(torch.isfinite(own).all()):
            bad = int((~torch.isfinite(own)).sum())
            raise refuse("non-finite", f"{name} holds {bad} values that are not finite, expected none")
    for name, spread in (("scale", detectors.scale), ("network.step", detectors.network.step)):
        if not bool((spread > 0).all()):
            raise refuse("shape", f"{name} holds {int((spread <= 0).sum())} values of 0 or less, expected spreads")
    for name in (*DETECTORS, "fused"):
        falling = int((detectors.table(name).diff(dim=-1) < 0).sum())
        if falling:
            raise refuse("shape", f"table_{name} falls at {falling} places, expected quantiles that rise")
    if not bool(((detectors.good_share >= 0) & (detectors.good_share <= 1)).all()):
        raise refuse("shape", "good_share holds values outside of 0 to 1: no window of those twins could ever raise an alarm")
    low, high = ALARM_P_RANGE
    if not low <= info.alarm_p <= high:
        raise refuse("non-finite", f"alarm_p is {info.alarm_p}, expected between {low:g} and {high:g}")
    if not PEAK_SIZES[0] <= info.peak_size <= PEAK_SIZES[1]:
        raise refuse("non-finite", f"peak_size is {info.peak_size}, expected between {PEAK_SIZES[0]:g} and {PEAK_SIZES[1]:g}")
    if not 0 < info.alarms_per_twin_day < float("inf"):
        raise refuse("non-finite", f"alarms_per_twin_day is {info.alarms_per_twin_day}, expected a number above 0")


def sees_a_gross_fault(model: ServedModel, *, origin: str) -> None:
    """A step GROSS spreads off is strange for most twins. Raises VersionRefused (blind)."""
    rows = np.arange(CHUNK, dtype=np.int64) % len(model.info.assets)
    loc, scale = (one.cpu().numpy()[rows] for one in (model.detectors.loc, model.detectors.scale))
    windows = np.repeat(loc[:, None, :], model.window, axis=1).astype(np.float32)
    windows[:, -1] += GROSS * scale
    times = np.full(CHUNK, model.info.trained_to_ns, np.int64)
    found = model.score(rows, windows, np.zeros(windows.shape, np.uint8), times)
    seeing = float((found.score >= STRANGE).mean())
    if seeing < SEEING:
        raise VersionRefused(
            "blind",
            f"{origin} not served: {model.info.version} finds a step {GROSS:.0f} spreads off strange "
            f"(surprise of {STRANGE:g}) for {seeing:.0%} of the twins, {SEEING:.0%} at least expected; {KEEPS}",
        )

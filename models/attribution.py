"""Which channel the detectors speak of: contributions that name the channel at fault, not those it drags along.

In:   what the detectors computed of a step, their surprises, directions made once from a version's weights.
Out:  `Attribution`: share of each channel and of each detector in the score; per channel the detector that leads and how far
      that one finds it off.

A channel that is off pulls others with it: components share a residual out over all channels, and a level is judged by the
levels of the others. Reconstruction tells them apart: a channel is at fault as far as a change of it alone would explain what
is seen. For a linear detector with residual r, to which a change of channel c adds the direction d_c, that is
(d_c . r)^2 / (d_c . d_c). Forecasts are not linear; the one made before all of the last steps no fault has touched yet.

A row depends on its own window and its twin's tensors only.

Source: Alcala and Qin, Reconstruction-based contribution for process monitoring, Automatica 45, 2009.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models import calibration

PATTERNS = 4  # a change that has lasted for all of the steps looked at, half of them, a quarter, one
LEAST_LEFT = 0.02  # share of a change that the components must leave unexplained to be told by it
_USUAL = calibration.LEVELS.tolist().index(1.0)  # knot of a table that one normal step in ten lies beyond


class Attribution(NamedTuple):
    contribution: Tensor  # (N, C) share of each channel in the score; rows sum to 1 or 0
    off: Tensor  # (N, C) scaled, as the leading detector of the channel sees it
    leading: Tensor  # (N, C) place of that detector in DETECTORS
    mix: Tensor  # (N, D) share of each detector in the score, in the order of DETECTORS; rows sum to 1 or 0


def lasted(span: int) -> list[int]:
    """Steps that each of PATTERNS changes has been on, up to the newest.

    >>> lasted(12)
    [12, 6, 3, 1]
    """
    return [span, max(1, span // 2), max(1, span // 4), 1]


def left_of_change(basis: Tensor, channels: int) -> Tensor:
    """How much of a change of one channel alone the components can't rebuild: (A, F, K) → (A, PATTERNS, C) squared length."""
    twins, features, components = basis.shape
    span = features // channels
    by_channel = basis.reshape(twins, span, channels, components)
    explained = torch.stack([by_channel[:, -steps:].sum(dim=1).square().sum(dim=2) for steps in lasted(span)], dim=1)
    whole = torch.tensor(lasted(span)).to(basis)[None, :, None]
    return (whole - explained).maximum(LEAST_LEFT * whole)


def level_directions(weights: Tensor, tables: Tensor) -> Tensor:
    """What to weigh the levels' residuals with to see a lasting change of each channel: (A, C, C), residual by changed channel.

    Residuals count in units of what is usual of each; what a change does to all of them has length 1.

    Args:
        weights: (A, C, FEATURES) of `models.level`.
        tables: (A, C, Q) of the level detector. A channel that is not judged says nothing.
    """
    channels = weights.shape[1]
    own = weights.shape[2] - 2 * channels
    drags = weights[:, :, own : own + channels] + weights[:, :, own + channels :]
    usual = tables[..., _USUAL]
    per_usual = torch.where(usual < calibration.MUTE, 1 / usual.clamp(min=1e-6), torch.zeros_like(usual))[:, :, None]
    change = (torch.eye(channels).to(weights) - drags) * per_usual
    return per_usual * change / change.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-6)


def shape_fault(rest: Tensor, left: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """How well a change of each channel alone explains what the components can't rebuild, and its size: (N, C) each.

    Args:
        rest: (N, span, C).
        left: (N, PATTERNS, C) from `left_of_change`.
    """
    along = torch.stack([rest[:, -steps:].sum(dim=1) for steps in lasted(span)], dim=1)  # (N, PATTERNS, C)
    sizes = along / left
    best = (along * sizes).max(dim=1)
    size = torch.gather(sizes, 1, best.indices[:, None])[:, 0]
    return best.values, size


def level_fault(residual: Tensor, directions: Tensor) -> Tensor:
    """How well a lasting change of each channel explains the residuals (N, C) of all levels: (N, C)."""
    return (residual[:, :, None] * directions).sum(dim=1).square()


def attributed(loud: Tensor, by_channel: tuple[Tensor, ...], offsets: Tensor) -> Attribution:
    """Put the detectors together: each speaks as loud as it is surprised.

    Args:
        loud: surprise of each detector, (N, D).
        by_channel: what each detector says of each channel, (N, C), of any size.
        offsets: how far each channel is off as each detector sees it, (N, D, C), scaled, with sign.
    """
    mix = loud / loud.sum(dim=1, keepdim=True).clamp(min=1e-30)
    shares = torch.stack([one / one.sum(dim=1, keepdim=True).clamp(min=1e-30) for one in by_channel], dim=1)  # (N, D, C)
    weight = mix[:, :, None] * shares
    leading = weight.argmax(dim=1)  # (N, C)
    total = weight.sum(dim=1)
    off = torch.gather(offsets, 1, leading[:, None])[:, 0]
    return Attribution(total / total.sum(dim=1, keepdim=True).clamp(min=1e-30), off, leading.to(total.dtype), mix)

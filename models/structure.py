"""Structure: the same forecaster with adapters of another rank.

In:   a trained forecaster.
Out:  one whose adapters are the nearest ones of the wanted rank; with more rank than before it forecasts the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from models.network import Forecaster


def with_rank(network: Forecaster, rank: int) -> Forecaster:
    """A copy with adapters of `rank`. Each twin's map down @ up is cut to its largest singular values, or has room added.

    What is added starts as adapters do: `down` random (from torch's generator), `up` zero, so that it changes no forecast yet.
    """
    a = network.architecture
    changed = Forecaster(replace(a, rank=rank))
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    down, up = state["down"], state["up"]  # (A, hidden, rank), (A, rank, hidden)
    if rank < a.rank:
        down, up = _cut(down, up, rank)
    elif rank > a.rank:
        fresh = torch.randn(a.twins, a.hidden, rank - a.rank) / math.sqrt(a.hidden)
        down = torch.cat([down, fresh], dim=2)
        up = torch.cat([up, torch.zeros(a.twins, rank - a.rank, a.hidden)], dim=1)
    changed.load_state_dict({**state, "down": down, "up": up})
    return changed


def _cut(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Best factors of down @ up of a lower rank (Eckart and Young), by QR of both so that nothing of hidden × hidden is built."""
    left, r_left = torch.linalg.qr(down.double())
    right, r_right = torch.linalg.qr(up.double().transpose(1, 2))
    u, s, v = torch.linalg.svd(r_left @ r_right.transpose(1, 2))
    root = s[:, :rank].sqrt()
    return (
        (left @ u[:, :, :rank] * root[:, None]).float().contiguous(),
        (root[:, :, None] * (v[:, :rank] @ right.transpose(1, 2))).float().contiguous(),
    )

"""Losses that a forecaster can be trained by. Each is told by a mean and a log-scale, so that any of them teaches both.

The weights that are kept, and all figures, are chosen and told by `student`, whichever taught them: versions stay comparable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from models.network import TO_DEVIATION, student_nll
from models.update import LossName

# quantiles of a Student-t with `network.FREEDOM` degrees of freedom, by level
QUANTILES: Final = {0.05: -2.131847, 0.25: -0.740697, 0.5: 0.0, 0.75: 0.740697, 0.95: 2.131847}


def gaussian_nll(mean: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood under a normal distribution whose deviation is that of the Student-t, elementwise, in nats.

    Without the constant. Source: Nix and Weigend, ICNN 1994.

    >>> round(gaussian_nll(torch.zeros(1), torch.zeros(1), torch.tensor([2.0])).item(), 4)
    1.3466
    """
    log_deviation = log_scale + math.log(TO_DEVIATION)
    return log_deviation + 0.5 * ((target - mean) * torch.exp(-log_deviation)) ** 2


def pinball(mean: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Quantile loss over the levels of QUANTILES, elementwise, their sum. In units of the target: no likelihood.

    Source: Koenker and Bassett, Econometrica 1978.

    >>> round(pinball(torch.zeros(1), torch.full((1,), -50.0), torch.tensor([2.0])).item(), 6)
    5.0
    """
    loss = torch.zeros_like(mean)
    scale = torch.exp(log_scale)
    for level, place in QUANTILES.items():
        error = target - (mean + place * scale)
        loss = loss + torch.maximum(level * error, (level - 1) * error)
    return loss


LOSSES: Final[Mapping[LossName, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "student": student_nll,
    "gaussian": gaussian_nll,
    "quantile": pinball,
}

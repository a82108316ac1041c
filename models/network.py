"""The forecaster: a causal dilated convolution over the window, one backbone a type, a small adapter a twin.

In:   scaled values and their good-mask of past steps, calendar features of the next step, the twin's row.
      A step is seen as it stands (against the twin's centre) and against the newest good value, in units of the twin's
      usual change from step to step (`step`): levels and small moves both have size one.
Out:  mean and log-scale of the next `horizons` steps of every channel, Student-t with `FREEDOM` degrees of freedom.

Behind the convolution stand as many residual blocks as an update has found to be of use, none at first (`models/structure.py`).

Each level joins two neighbouring steps into one (kernel 2, stride 2). For the newest output that is the same sum as
a dilated causal convolution with dilations 1, 2, 4, …, without computing the outputs nobody reads, so a window
of 64 costs 63 small products instead of 384.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import List, Optional, Union  # noqa: UP035 - for TorchScript

import torch
from torch import Tensor, nn

from models.row_products import by_component, rows_along, rows_times
from models.scripted import either
from models.windows import CALENDAR_FEATURES

FREEDOM = 4.0  # Student-t: outliers in training cost little; variance is scale² * FREEDOM / (FREEDOM - 2)
TO_DEVIATION = math.sqrt(FREEDOM / (FREEDOM - 2))  # from a Student's scale
LOG_SCALE_RANGE = (-3.5, 6.0)  # in units of `step`: no channel claims to be known better than 3 % of its usual change


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that shapes the tensors of a version. `past` is a power of two: the number of steps the backbone reads."""

    twins: int
    channels: int
    past: int = 64
    horizons: int = 8
    width: int = 16
    hidden: int = 96
    rank: int = 4
    recent: int = 8  # newest steps that also go straight to the head
    dropout: float = 0.05
    blocks: int = 0  # residual blocks behind the convolution

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class ResidualBlock(nn.Module):
    """h + leave(GELU(enter(h))), which is h bit for bit until `leave` has learnt something.

    Source: He et al., Deep residual learning, CVPR 2016; begun at zero as by Zhang et al., Fixup initialization, ICLR 2019.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, h: Tensor) -> Tensor:
        left: Tensor = self.leave(_gelu_of(self.enter, h))
        return h + left


class Forecaster(nn.Module):
    """Forecast the next steps of N twins in one pass; a row depends on its own window and its twin's adapter only."""

    step: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        a = architecture
        levels = int(math.log2(a.past))
        widths = [3 * a.channels] + [min(a.width * 2 ** (level // 2), a.hidden) for level in range(levels)]
        self.levels = nn.ModuleList(nn.Linear(2 * inner, outer) for inner, outer in itertools.pairwise(widths))
        self.join = nn.Linear(widths[-1] + CALENDAR_FEATURES + a.recent * 3 * a.channels, a.hidden)
        self.drop = nn.Dropout(a.dropout)
        # adapters, one slice a twin: h + (h @ down) @ up, then an affine map of the forecast
        # a component's numbers lie beside each other in memory, which serving reads twice as fast
        self.down = nn.Parameter(by_component(torch.randn(a.twins, a.hidden, a.rank) / math.sqrt(a.hidden)))
        self.up = nn.Parameter(torch.zeros(a.twins, a.rank, a.hidden))
        self.head = nn.Linear(a.hidden, a.horizons * a.channels * 2)
        self.bias = nn.Parameter(torch.zeros(a.twins, a.horizons * a.channels * 2))
        self.register_buffer("step", torch.ones(a.twins, a.channels))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.blocks = nn.ModuleList(ResidualBlock(a.hidden) for _ in range(a.blocks))

    def forward(self, rows: Tensor, x: Tensor, good: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        """Forecast the steps after the window.

        Args:
            rows: (N,) int64, the twin of each row.
            x: (N, past, C) scaled, 0 where not good.
            good: (N, past, C) 1 where x counts.
            calendar: (N, CALENDAR_FEATURES) of the first step to forecast.

        Returns:
            mean and log-scale, (N, horizons, C) each, scaled.
        """
        a = self.architecture
        n = x.shape[0]
        last = either(last_good)(x, good)[:, None]  # (N, 1, C)
        step = self.step.index_select(0, rows)[:, None]
        moves = _asinh((x - last) / step) * good
        steps = torch.cat([x.clamp(-8, 8), moves, good], dim=-1)  # (N, past, 3C)
        h = steps
        for level in self.levels:
            h = _gelu_of(level, h.reshape(n, h.shape[1] // 2, -1))
        newest = steps[:, -a.recent :].reshape(n, -1)
        h = _gelu_of(self.join, torch.cat([h[:, 0], calendar, newest], dim=-1))
        h = self.drop(h)  # (N, hidden)
        for block in self.blocks:
            h = block(h)
        h = h + rows_times(rows_along(h, self.down, rows), self.up.index_select(0, rows))
        out = (self.head(h) + self.bias.index_select(0, rows)).reshape(n, a.horizons, a.channels, 2)
        # a change against the newest good value, in units of `step`
        log_scale = out[..., 1].clamp(*LOG_SCALE_RANGE) + step.log()
        return last + step * out[..., 0], log_scale


def _asinh(x: Tensor) -> Tensor:
    """Outside of learning by a formula ten times as fast as `torch.asinh`, exact to 1e-7 of a step where moves are small.

    >>> moves = torch.tensor([-3e7, 0.0, 1e-3, 2.0])
    >>> with torch.inference_mode():
    ...     torch.allclose(_asinh(moves), torch.asinh(moves), atol=3e-7)
    True
    """
    if not torch.is_inference_mode_enabled():
        return torch.asinh(x)
    size = x.abs()
    return torch.copysign(torch.log(size + torch.sqrt(size * size + 1)), x)


def _gelu_of(layer: nn.Module, x: Tensor) -> Tensor:
    """GELU of a linear layer, in one pass over its output where a CPU's kernel for both is there."""
    if _FUSED and x.device.type == "cpu" and torch.is_inference_mode_enabled():
        return either(_fused_gelu)(x, layer.get_parameter("weight"), layer.get_parameter("bias"))
    return torch.nn.functional.gelu(layer(x), approximate="tanh")


def _fused_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    none: List[Optional[Union[int, float, complex]]] = []  # noqa: UP006, UP007, UP045 - TorchScript knows these names only
    fused: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", none, "tanh")
    return fused


def _fused_works() -> bool:
    """Whether oneDNN's linear layer with GELU is there and gives what the two operations give."""
    x, weight = torch.linspace(-2, 2, 64 * 24).reshape(64, 24), torch.linspace(-0.5, 0.5, 32 * 24).reshape(32, 24)
    try:
        with torch.inference_mode():
            found = torch.ops.mkldnn._linear_pointwise(x, weight, weight[:, 0].clone(), "gelu", [], "tanh")
            expected = torch.nn.functional.gelu(x @ weight.T + weight[:, 0], approximate="tanh")
            return bool(torch.allclose(found, expected, atol=1e-4))
    except (AttributeError, RuntimeError):
        return False  # an operation of torch's own compiler: not on every platform


_FUSED = _fused_works()


def last_good(x: Tensor, good: Tensor) -> Tensor:
    """The newest good value of each channel, 0 (the twin's centre) where there is none: (N, C)."""
    if x.device.type == "cpu" and bool((good[:, -1] == 1).all()):
        return x[:, -1]  # nearly always; on another device the question costs more than it saves
    past = x.shape[1]
    place = torch.arange(1, past + 1, device=x.device, dtype=x.dtype)[None, :, None]
    newest = (good * place).amax(dim=1, keepdim=True)  # counted from 1; 0 where there is none
    return torch.gather(x, 1, (newest - 1).clamp(min=0).long())[:, 0] * (newest[:, 0] > 0)


def student_nll(mean: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of `target` under a Student-t, elementwise, in nats, without the normalising constant.

    >>> zero = torch.zeros(1)
    >>> student_nll(zero, zero, zero).item()
    0.0
    """
    z = (target - mean) * torch.exp(-log_scale)
    return log_scale + 0.5 * (FREEDOM + 1) * torch.log1p(z * z / FREEDOM)

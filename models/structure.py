"""Structure of a forecaster: the rank of its adapters and its residual blocks, and how one is made into another.

In:   a forecaster, the structure wanted.
Out:  a copy of that structure. What is added changes no forecast before it is trained; what is taken away is what matters least.

Bounds: RANKS, and BLOCKS_MAX blocks. Which structure is tried and which is taken: `models/structure_trial.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.network import Architecture, Forecaster

RANKS = (0, 2, 4, 8, 16)
BLOCKS_MAX = 4


@dataclass(frozen=True, slots=True)
class Structure:
    """What may differ between versions of a type."""

    rank: int
    blocks: int

    @classmethod
    def of(cls, architecture: Architecture) -> Structure:
        return cls(architecture.rank, architecture.blocks)

    def __str__(self) -> str:
        return f"rank {self.rank} and {self.blocks} residual blocks"

    def within(self, other: Structure) -> bool:
        """Whether the other has at least as much of everything."""
        return self.rank <= other.rank and self.blocks <= other.blocks

    def neighbours(self) -> tuple[Structure, ...]:
        """One step away: more rank, one block more, less rank, one block less, as far as the bounds allow.

        >>> [str(one) for one in Structure(4, 0).neighbours()][1:]
        ['rank 4 and 1 residual blocks', 'rank 2 and 0 residual blocks']
        """
        more, less = [rank for rank in RANKS if rank > self.rank], [rank for rank in RANKS if rank < self.rank]
        found = [replace(self, rank=more[0])] if more else []
        found += [replace(self, blocks=self.blocks + 1)] if self.blocks < BLOCKS_MAX else []
        found += [replace(self, rank=less[-1])] if less else []
        return (*found, *([replace(self, blocks=self.blocks - 1)] if self.blocks else []))


def restructured(network: Forecaster, wanted: Structure, cost: Callable[[Forecaster], float]) -> Forecaster:
    """A copy of the wanted structure; the network itself where that is its own.

    Args:
        cost: what a network without one of its blocks costs; the block whose loss costs least goes.
    """
    while network.architecture.blocks > wanted.blocks:
        smaller = [without_block(network, which) for which in range(network.architecture.blocks)]
        network = min(smaller, key=cost)
    while network.architecture.blocks < wanted.blocks:
        network = with_block(network)
    return network if network.architecture.rank == wanted.rank else with_rank(network, wanted.rank)


def with_block(network: Forecaster) -> Forecaster:
    """A copy with one residual block more, behind the others; it begins as the identity (from torch's generator)."""
    grown = Forecaster(replace(network.architecture, blocks=network.architecture.blocks + 1))
    grown.load_state_dict({**grown.state_dict(), **_copied(network)})
    return grown


def without_block(network: Forecaster, which: int) -> Forecaster:
    """A copy without its residual block number `which`."""
    smaller = Forecaster(replace(network.architecture, blocks=network.architecture.blocks - 1))
    state = {}
    for name, tensor in _copied(network).items():
        room, _, rest = name.partition(".")
        if room != "blocks":
            state[name] = tensor
            continue
        number, _, rest = rest.partition(".")
        if int(number) != which:
            state[f"blocks.{int(number) - (int(number) > which)}.{rest}"] = tensor
    smaller.load_state_dict(state)
    return smaller


def with_rank(network: Forecaster, rank: int) -> Forecaster:
    """A copy with adapters of `rank`. Each twin's map down @ up is cut to its largest singular values, or has room added.

    What is added starts as adapters do: `down` random (from torch's generator), `up` zero.
    """
    a = network.architecture
    changed = Forecaster(replace(a, rank=rank))
    state = _copied(network)
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
    """Best factors of down @ up of a lower rank, by QR of both, so that nothing of hidden × hidden is built.

    Source: Eckart and Young, The approximation of one matrix by another of lower rank, Psychometrika 1936.
    """
    left, r_left = torch.linalg.qr(down.double())
    right, r_right = torch.linalg.qr(up.double().transpose(1, 2))
    u, s, v = torch.linalg.svd(r_left @ r_right.transpose(1, 2))
    root = s[:, :rank].sqrt()
    return (
        (left @ u[:, :, :rank] * root[:, None]).float(),
        (root[:, :, None] * (v[:, :rank] @ right.transpose(1, 2))).float(),
    )


def _copied(network: Forecaster) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

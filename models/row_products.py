"""Each row times its own matrix, the same bits wherever the row stands in the batch.

A batched matrix product picks its kernel by how each slice lies in memory, so the last bits of a row would depend on its place
(seen with slices whose size is no multiple of 64 bytes). Products and a sum have one order; at these sizes they cost as much.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rows_times(rows: Tensor, matrices: Tensor) -> Tensor:
    """(N, F) times (N, F, K) → (N, K).

    >>> import torch
    >>> rows_times(torch.tensor([[1.0, 2.0]]), torch.tensor([[[3.0], [4.0]]])).tolist()
    [[11.0]]
    """
    return (rows[:, :, None] * matrices).sum(dim=1)


def by_component(matrices: Tensor) -> Tensor:
    """The same matrices (A, F, K), laid out in memory as (A, K, F)."""
    return matrices.transpose(1, 2).contiguous().transpose(1, 2)


def rows_along(rows: Tensor, matrices: Tensor, which: Tensor) -> Tensor:
    """(N, F) times those `which` (N,) of (A, F, K) → (N, K), twice as fast where the matrices are laid out `by_component`.

    Outside of learning the sum is taken along a component, else as `rows_times` takes it: the last bits differ.

    >>> matrices = by_component(torch.tensor([[[3.0], [4.0]]]))
    >>> rows_along(torch.tensor([[1.0, 2.0]]), matrices, torch.tensor([0])).tolist()
    [[11.0]]
    """
    if not torch.is_inference_mode_enabled():
        return rows_times(rows, matrices.index_select(0, which))
    return (rows[:, None, :] * matrices.transpose(1, 2).index_select(0, which)).sum(dim=2)

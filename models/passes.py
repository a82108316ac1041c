"""Passes: rows go through a version a fixed, padded number at a time, so that a row's bits depend on nothing but the row.

In:   how many rows there are.
Out:  passes over them, and the rows of a pass, filled up.

A matrix kernel is chosen by the sizes of its operands, so contexts go through the network in passes of CONTEXTS rows, and
of FEW or WIDE where those were seen, when the version was loaded, to give every row the same bits. What follows the network has
no matrix products: chunks of MANY rows, then one of the smallest power of two that holds the rest, CHUNK at least.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.detectors import Detectors
from models.windows import CALENDAR_FEATURES

CONTEXTS = 128  # contexts in one pass of the network
FEW, WIDE = 32, 256  # the same for the few of a live step and for a backlog, where that changes no bit
CHUNK, MANY = 64, 512  # fewest and most rows compared with their forecasts at once


def pass_size(left: int, widths: list[int], contexts: int) -> int:
    """Rows of the next pass of the network: the widest while there are as many, then the narrowest that holds the rest.

    >>> [pass_size(left, [32, 128, 256], 128) for left in (400, 144, 16)]
    [256, 128, 32]
    """
    if left >= widths[-1]:
        return widths[-1]
    for width in widths:
        if left <= width and width <= contexts:
            return width
    return contexts


def chunk_size(left: int, fewest: int, most: int) -> int:
    """Rows of the next chunk.

    >>> [chunk_size(left, 64, 512) for left in (700, 188, 3)]
    [512, 256, 64]
    """
    size = fewest
    while size < left and size < most:
        size = 2 * size
    return size


def filled(of: Tensor, start: int, count: int, size: int) -> Tensor:
    """`count` rows from `start` on, filled up to `size` with the first row, again and again."""
    found = of[start : start + count]
    if count == size:
        return found
    return torch.cat([found, of[:1].repeat_interleave(size - count, dim=0)])


def same_widths(detectors: Detectors) -> tuple[int, ...]:
    """CONTEXTS, and those of FEW and WIDE that give every row the bits of a pass of CONTEXTS, on this machine, for these sizes.

    A kernel is chosen by the sizes of its operands, never by what they hold, so random rows tell; another order of one sum
    would change the last bits of some of the thousands of numbers compared.
    """
    a = detectors.architecture
    draw = torch.Generator().manual_seed(0)
    device = detectors.loc.device
    reach = min(a.past, detectors.layout.window - a.horizons)
    with torch.inference_mode():
        inputs = [
            torch.randint(a.twins, (WIDE,), generator=draw),
            torch.randn(WIDE, reach, a.channels, generator=draw),
            torch.rand(WIDE, reach, a.channels, generator=draw) > 0.02,
            torch.randn(WIDE, CALENDAR_FEATURES, generator=draw),
        ]
        inputs = [one.to(device) for one in inputs]

        def bits(width: int) -> list[bytes]:
            made = [detectors.forecasts(*(one[at : at + width] for one in inputs)) for at in range(0, WIDE, width)]
            return [torch.cat(part).cpu().numpy().tobytes() for part in zip(*made, strict=True)]

        expected = bits(CONTEXTS)
        return tuple(width for width in (FEW, CONTEXTS, WIDE) if width == CONTEXTS or bits(width) == expected)

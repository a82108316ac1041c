"""Passes: rows go through a version a fixed, padded number at a time, so that a row's bits depend on nothing but the row.

In:   how many rows there are.
Out:  passes over them, and the rows of a pass, filled up.

A matrix kernel is chosen by the sizes of its operands, so contexts go through the network in passes of CONTEXTS rows, and
of FEW or WIDE where those were seen, when the version was loaded, to give every row the same bits. What follows the network has
no matrix products: chunks of CHUNK rows or, where there are many, of MANY.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.detectors import Detectors
from models.windows import CALENDAR_FEATURES

CONTEXTS = 128  # contexts in one pass of the network
FEW, WIDE = 32, 256  # the same for the few of a live step and for a backlog, where that changes no bit
CHUNK, MANY = 64, 512  # rows compared with their forecasts at once


@dataclass(frozen=True, slots=True)
class Pass:
    start: int
    count: int  # rows
    size: int  # rows with the filling: the first one, again and again


def chunks(count: int) -> Iterator[Pass]:
    """Chunks of MANY while there are as many, then of CHUNK; the last one is filled up.

    >>> [(one.start, one.count, one.size) for one in chunks(600)]
    [(0, 512, 512), (512, 64, 64), (576, 24, 64)]
    """
    start = 0
    while start < count:
        size = MANY if count - start >= MANY else CHUNK
        yield Pass(start, min(size, count - start), size)
        start += size


def passes(count: int, widths: Sequence[int]) -> Iterator[Pass]:
    """Passes of the widest width while there are as many, then of the narrowest that holds the rest or of CONTEXTS.

    >>> [(one.start, one.count, one.size) for one in passes(400, (32, 128, 256))]
    [(0, 256, 256), (256, 128, 128), (384, 16, 32)]
    """
    start = 0
    while start < count:
        left = count - start
        size = widths[-1] if left >= widths[-1] else next((width for width in widths if left <= width <= CONTEXTS), CONTEXTS)
        yield Pass(start, min(size, left), size)
        start += size


def rows_of(of: Tensor, at: Pass) -> Tensor:
    """The rows of a chunk, its filling included."""
    found = of[at.start : at.start + at.count]
    return found if at.count == at.size else torch.cat([found, of[:1].expand(at.size - at.count, *of.shape[1:])])


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

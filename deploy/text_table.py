"""Tables on a terminal: columns as wide as their widest cell. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def aligned(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Lines of a table; `right`: columns of numbers. The last column is never padded.

    >>> print(aligned(["name", "loss"], [["a", "1.5"], ["long", "10"]], right=[1]))
    name  loss
    a      1.5
    long    10
    """
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

"""Figures of injected faults as people read them: a row a kind of fault.

In:   figures named `water, <kind>, <what>`, as `fault_figures` makes them.
Out:  a table, for the terminal; the figures that are none of a kind, for another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from deploy.bench.figures import Figure
from deploy.eval.water_faults import KINDS

# column → what the figure is called, how it is written
COLUMNS = {
    "faults": ("faults", "{:.0f}"),
    "1 h": ("found within 1 h", "{:.0%}"),
    "3 h": ("found within 3 h", "{:.0%}"),
    "12 h": ("found within 12 h", "{:.0%}"),
    "p50, min": ("delay, p50", "{:.0f}"),
    "p90, min": ("delay, p90", "{:.0f}"),
    "by model": ("by the model", "{:.0%}"),
    "by condition": ("by a condition", "{:.0%}"),
    "located": ("located (own or next to it)", "{:.0%}"),
    "by deviation": ("located by deviation", "{:.0%}"),
    "top channel": ("top channel is the injected one", "{:.0%}"),
    "an hour later": ("top channel is the injected one, an hour later", "{:.0%}"),
    "marked": ("marked by quality", "{:.0%}"),
    "VUS-PR": ("VUS-PR", "{:.3f}"),
}


def by_kind(figures: Sequence[Figure]) -> tuple[Table, list[Figure]]:
    """The table, and what does not stand in it."""
    names = {f"water, {kind}, {what}": (kind, column) for kind in (*KINDS, "all") for column, (what, _) in COLUMNS.items()}
    cells = {names[one.measure]: one.value for one in figures if one.measure in names}
    table = Table("water, injected", *COLUMNS)
    for kind in (*KINDS, "all"):
        if any(of == kind for of, _ in cells):
            written = [
                wording.format(cells[kind, column]) if (kind, column) in cells else "" for column, (_, wording) in COLUMNS.items()
            ]
            table.add_row(kind, *written)
    return table, [one for one in figures if one.measure not in names]

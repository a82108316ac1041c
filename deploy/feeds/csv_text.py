"""CSV as it comes: delimiter, encoding, with or without a header.

In:   the first bytes of a file.
Out:  `CsvLayout`, how it is to be read.
A first line of numbers is no header: its columns are called c1, c2, …. Columns may be set apart by any amount of blanks.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class CsvLayout:
    names: list[str]
    delimiter: str
    encoding: str
    header: bool  # the first line names the columns
    blanks: bool  # set apart by blanks: each run of them is one delimiter


def layout(sample: bytes) -> CsvLayout | None:
    """How a CSV that begins so is laid out; None where nothing is in it.

    >>> layout(b"  1.5e+00   2\\n  3 4\\n").names, layout(b"a b\\n1 2\\n").delimiter, layout(b"0,1\\n2.5,7\\n").header
    (['c1', 'c2'], ' ', True)
    """
    encoding = _encoding(sample)
    lines = sample.decode(encoding, "replace").splitlines()
    if not lines:
        return None
    first = lines[0].lstrip("\ufeff")
    second = lines[1] if len(lines) > 1 else ""
    blanks = not any(one in first for one in DELIMITERS) and _set_apart_by_blanks(first, second)
    delimiter = " " if blanks else max(DELIMITERS, key=first.count)
    cells = first.split() if blanks else next(csv.reader([first], delimiter=delimiter))
    header = not all(_number(cell, delimiter) for cell in cells) or _counts_columns(cells, second)
    names = cells if header else [f"c{place}" for place in range(1, len(cells) + 1)]
    return CsvLayout(names, delimiter, encoding, header, blanks)


def _set_apart_by_blanks(first: str, second: str) -> bool:
    cells = second.split() if second.strip() else first.split()
    return (len(cells) > 1 or first[:1].isspace()) and len(cells) == len(first.split()) and all(map(_number, cells))


def _number(cell: str, delimiter: str = "") -> bool:
    try:
        float(cell.strip().replace(",", ".") if delimiter == ";" else cell)
    except ValueError:
        return False
    return any(sign.isdigit() for sign in cell)


def _counts_columns(cells: list[str], second: str) -> bool:
    """Whether they are 0, 1, 2, …, which is what data frames call columns that have no name."""
    return cells == [str(place) for place in range(len(cells))] and (len(cells) > 1 or "." in second)


def _encoding(sample: bytes) -> str:
    try:
        sample[: max(0, len(sample) - 4)].decode("utf8")  # the sample's last character may be cut
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 8:
            return "latin-1"
    return "utf8"

"""Make readings of a file's columns: which is the time, which the asset, which are channels.

In:   `FileTable`.
Out:  `FileReadings`: rows sorted by event time, numbers only; what was left out, renamed or rejected is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from deploy.feeds.file_table import TIME_NAMES, FileRefused, FileTable
from deploy.feeds.wall_clock import read_wall_clock
from twin.errors import ReadingRefused
from twin.infer import channel_names
from twin.time import parse_time, parse_times

ASSET_NAMES = ("asset", "asset_id", "device", "device_id", "machine", "machine_id", "id")
_NUMBERS_AT_LEAST = 0.5  # share of a text column's cells that must be numbers for it to be a channel
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class FileReadings:
    """N readings of a file, by event time; NaN where a cell is empty. `renamed` maps column → channel where they differ."""

    time_ns: NDArray[np.int64]
    row: NDArray[np.int64]  # of the file's table
    asset: NDArray[np.object_]
    channels: dict[str, NDArray[np.float64]]
    time_column: str
    asset_column: str | None
    renamed: dict[str, str]
    left_out: tuple[str, ...]
    repeated: int
    backwards: int


def to_readings(
    source: FileTable,
    stem: str,
    time_column: str | None = None,
    asset_column: str | None = None,
    *,
    empty_rows: bool = False,
) -> FileReadings:
    """Sort out the columns. Rows without time, asset or any number are counted in `source.rejected`.

    Args:
        empty_rows: rows without any number are kept.

    Raises:
        FileRefused: a named column is not there, no time column can be guessed, or nothing is left.
    """
    table = source.table
    names: list[str] = table.column_names
    time_name = _choose(names, time_column, TIME_NAMES, "time")
    if time_name is None:
        raise FileRefused(
            f"no time column among {', '.join(names)}; expected one of {', '.join(TIME_NAMES)} or --time-column; it was not used"
        )
    asset_name = _choose([name for name in names if name != time_name], asset_column, ASSET_NAMES, "asset")
    if asset_column is None and asset_name is not None and _counts_rows(table.column(asset_name)):
        source.notes.append(f"column {asset_name!r} differs in every row, so it is taken as a row number, not as the asset")
        asset_name = None
    time_ns, good = _times(source, table.column(time_name))
    asset = _assets(source, table, asset_name, stem, good)
    numbers: dict[str, NDArray[np.float64]] = {}
    left_out = []
    for name in names:
        if name in (time_name, asset_name):
            continue
        values = _numbers(source, name, table.column(name))
        if values is None:
            left_out.append(name)
        else:
            numbers[name] = values
    if not numbers:
        raise FileRefused(f"no column of numbers among {', '.join(names)}, expected at least one channel; it was not used")
    some = ~np.all([np.isnan(values) for values in numbers.values()], axis=0)
    if empty_rows and some.any():
        some[:] = True
    if count := int((good & ~some).sum()):
        source.reject("empty", f"{_where(source, good & ~some)}: no channel has a number", count)
    keep = np.flatnonzero(good & some)
    if len(keep) == 0:
        raise FileRefused(f"no row has a time and a number ({'; '.join(source.first_rejected.values())}); it was not used")
    backwards = int((np.diff(time_ns[keep]) < 0).sum()) if asset_name is None else _backwards(time_ns[keep], asset[keep])
    keep = keep[np.argsort(time_ns[keep], kind="stable")]
    renaming = channel_names(numbers)
    return FileReadings(
        time_ns=time_ns[keep],
        row=keep,
        asset=asset[keep],
        channels={renaming[name]: values[keep] for name, values in numbers.items()},
        time_column=time_name,
        asset_column=asset_name,
        renamed={name: channel for name, channel in renaming.items() if name != channel},
        left_out=tuple(left_out),
        repeated=_repeated(time_ns[keep], asset[keep]),
        backwards=backwards,
    )


def _choose(names: Sequence[str], told: str | None, usual: Sequence[str], what: str) -> str | None:
    if told is not None:
        if told not in names:
            raise FileRefused(f"{what} column {told!r} is not in the file, found {', '.join(names)}; it was not used")
        return told
    lower = {name.strip().lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)


def _counts_rows(column: pa.ChunkedArray) -> bool:
    return len(column) > 20 and pc.count_distinct(column).as_py() == len(column)


def _times(source: FileTable, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Event times, and which rows have one."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_timestamp(kind) and kind.tz is None:
            source.notes.append("times have no time zone; taken as UTC")
        good = pc.is_valid(column).to_numpy()
        time_ns = pc.fill_null(column.cast(pa.timestamp("ns"), safe=False).cast(pa.int64()), 0).to_numpy()
        good &= time_ns >= 0
    else:
        time_ns, good = _parsed_times(source, _cells(column))
    if count := int((~good).sum()):
        cell = str(column[int(np.argmin(good))].as_py())[:40]
        source.reject("time", f"{_where(source, ~good)}: time is {cell!r}, expected RFC 3339 or an epoch number", count)
    return np.asarray(time_ns, np.int64), np.asarray(good)


def _parsed_times(source: FileTable, cells: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    try:
        return parse_times(cells), np.ones(len(cells), bool)
    except ReadingRefused:
        pass
    time_ns = np.zeros(len(cells), np.int64)
    good = np.ones(len(cells), bool)
    without_zone = False
    for row, cell in enumerate(cells):
        found = _time(cell)
        if found is None:  # a wall-clock text such as 2014-02-14 14:30:00
            found = _time(f"{cell}Z" if ":" in str(cell) else f"{cell}T00:00Z")
            without_zone |= found is not None
        good[row] = found is not None
        time_ns[row] = found or 0
    if not good.any():
        time_ns, good = read_wall_clock(cells)
        without_zone = bool(good.any())
    if without_zone:
        source.notes.append("times have no time zone; taken as UTC")
    return time_ns, good


def _time(cell: Any) -> int | None:
    """A time as the contract has it, also where a number is written as text; None for what is none."""
    if isinstance(cell, str) and re.fullmatch(r"\s*\d+(\.\d*)?\s*", cell):
        cell = float(cell) if "." in cell else int(cell)
    try:
        return parse_time(cell.strip() if isinstance(cell, str) else cell)
    except ReadingRefused:
        return None


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Python cells; numbers written as text become numbers."""
    if pa.types.is_string(column.type):
        for kind in (pa.int64(), pa.float64()):
            try:
                return list(column.cast(kind).to_pylist())
            except pa.ArrowInvalid:
                continue
    return list(column.to_pylist())


def _assets(source: FileTable, table: pa.Table, name: str | None, stem: str, good: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Asset id of each row; rows without one are taken out of `good`."""
    if name is None:
        return np.full(table.num_rows, stem[:256] or "asset", dtype=object)
    column = table.column(name)
    text = pc.fill_null(pc.utf8_trim_whitespace(column.cast(pa.string())), "")
    asset = np.asarray(text.to_numpy(zero_copy_only=False), object)
    none = np.array([not 0 < len(cell) <= 256 for cell in asset]) & good
    if count := int(none.sum()):
        source.reject("asset", f"{_where(source, none)}: column {name!r} names no asset of 1 to 256 characters", count)
        good &= ~none
    return asset


def _numbers(source: FileTable, name: str, column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """A column as numbers, None where it is none. Cells that are no finite number become NaN and are counted."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers_of_text(source, name, column)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    return _finite(source, name, np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy(), np.float64))


def _numbers_of_text(source: FileTable, name: str, column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    text = pc.utf8_trim_whitespace(column)
    if source.decimal_comma:
        text = pc.replace_substring(text, ",", ".")
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    if text.null_count == len(text):
        return None
    try:
        return _finite(source, name, np.asarray(pc.fill_null(text.cast(pa.float64()), np.nan).to_numpy(), np.float64))
    except pa.ArrowInvalid:
        pass
    values = np.full(len(text), np.nan)
    bad = np.zeros(len(text), bool)
    for row, cell in enumerate(text.to_pylist()):
        if cell is not None:
            try:
                values[row] = float(cell)
            except ValueError:
                bad[row] = True
    if bad.sum() > (1 - _NUMBERS_AT_LEAST) * (len(text) - text.null_count):
        return None
    cell = str(column[int(np.argmax(bad))].as_py())[:40]
    source.reject("cell", f"{_where(source, bad)}: {name} is {cell!r}, expected a number", int(bad.sum()))
    return _finite(source, name, values)


def _finite(source: FileTable, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    bad = np.abs(values) > _LARGEST  # infinity as well
    if bad.any():
        source.reject("cell", f"{_where(source, bad)}: {name} is too large for a channel", int(bad.sum()))
        values = np.where(bad, np.nan, values)
    return values


def _where(source: FileTable, mask: NDArray[np.bool_]) -> str:
    """The first row of a mask, as people find it."""
    return f"line {source.line(int(np.argmax(mask)))}"


def _backwards(time_ns: NDArray[np.int64], asset: NDArray[np.object_]) -> int:
    codes = np.unique(asset.astype(str), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    return int(((np.diff(time_ns[order]) < 0) & (np.diff(codes[order]) == 0)).sum())


def _repeated(time_ns: NDArray[np.int64], asset: NDArray[np.object_]) -> int:
    codes = np.unique(asset.astype(str), return_inverse=True)[1]
    order = np.lexsort((time_ns, codes))
    return int(((np.diff(time_ns[order]) == 0) & (np.diff(codes[order]) == 0)).sum())

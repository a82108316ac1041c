"""What `livetwin score` makes of a file before it is folded: which column is the time, if any, and what is no channel.

In:   a file's table (`deploy.feeds.file_table`).
Out:  `Input`: a row for each row of the file that has a time, and the readings as they are folded.

The stream refuses what has no time. A file has an order, so here its rows then count as one a second; as one a step where times
do not tell the rows apart. What tells the answer (a column of labels) is left out, as is what only counts the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from deploy.feeds.file_columns import FileReadings, to_readings
from deploy.feeds.file_table import TIME_NAMES, FileTable, read_table
from twin.infer import infer_period

LABELS = frozenset({"label", "labels", "anomaly", "anomalies", "attack", "outlier", "groundtruth", "changepoint"})
LABEL_VALUES_MAX = 3
TIME_WORDS = frozenset({*TIME_NAMES, "timestamps", "times", "dates"})
UNITS_S = {
    "ms": 1e-3,
    "s": 1,
    "sec": 1,
    "seconds": 1,
    "min": 60,
    "minutes": 60,
    "h": 3600,
    "hours": 3600,
    "d": 86_400,
    "days": 86_400,
}
SHARED_MAX = 0.1  # share of rows that come in the step of another
NEAR, NEAR_LEAST = 0.2, 0.5  # distances within so much of the usual one, and how many of them are regular
HELD = 1e-2  # of a channel's usual change: what float32 may lose


@dataclass(frozen=True, slots=True)
class Input:
    """N rows of the file that have a time, in order of time; `readings.row` is each one's place in the file."""

    time_ns: NDArray[np.int64]  # as the file has it
    readings: FileReadings  # their times are those of the steps that rows are folded into
    notes: tuple[str, ...]


def read_input(path: Path, *, time_column: str | None, asset_column: str | None) -> Input:
    """Read a file for scoring.

    Raises:
        FileRefused: not there, not readable, a named column is not there, or there is no channel.
    """
    source = read_table(path, time_column)
    _leave_out_labels(source)
    time_name = time_column if time_column is not None else _find_time(source)
    if time_name is None:
        time_name = _count_rows(source)
    readings = to_readings(source, path.name.split(".")[0], time_name, asset_column, empty_rows=True)
    told = readings.time_ns
    readings = replace(readings, time_ns=_told_apart(source, readings), channels=_held_by_float32(readings.channels))
    notes = [
        *source.notes,
        *(f"{count:,} × {reason}: {source.first_rejected[reason]}" for reason, count in source.rejected.items()),
    ]
    if readings.left_out:
        notes.append(f"not numbers, so left out: {', '.join(map(repr, readings.left_out))}")
    return Input(told, readings, tuple(notes))


def _leave_out_labels(source: FileTable) -> None:
    for name in source.table.column_names:
        words = set(re.findall(r"[a-z]+", name.lower())) | {re.sub(r"[^a-z]", "", name.lower())}
        if words & LABELS and pc.count_distinct(source.table.column(name)).as_py() <= LABEL_VALUES_MAX:
            if source.table.num_columns == 1:
                return
            source.table = source.table.drop_columns([name])
            source.notes.append(f"column {name!r} holds labels by its name, so it is left out")


def _find_time(source: FileTable) -> str | None:
    """A column that is called as times are and holds some; numbers under a longer name must rise."""
    names: list[str] = source.table.column_names
    called = {name: re.findall(r"[a-z]+", name.lower()) for name in names}
    usual = [name for wanted in TIME_NAMES for name in names if name.strip().lower() == wanted]
    others = [name for name in names if called[name] and called[name][0] in TIME_WORDS and name not in usual]
    for name in [*usual, *others]:
        column = source.table.column(name)
        numbers = _as_numbers(column)
        if numbers is None:
            if _first_is_time(column):
                return name
            continue
        if name in usual and numbers.min() >= 0:
            return name
        if not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any() or numbers[0] == numbers[-1]:
            continue
        unit = next((UNITS_S[word] for word in called[name][1:] if word in UNITS_S), 1.0)
        if unit != 1.0 or numbers[0] < 0:
            numbers = (numbers - min(numbers[0], 0.0)) * unit
        place = names.index(name)
        source.table = source.table.set_column(place, name, pa.array(numbers))
        return name
    return None


def _first_is_time(column: pa.ChunkedArray) -> bool:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return True
    first = next((cell for cell in column.slice(0, 100).to_pylist() if cell not in (None, "")), None)
    return isinstance(first, str) and re.search(r"\d+[-/.]\d+[-/.]\d+", first) is not None


def _as_numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """None where a cell is no number. A cell that is empty is NaN."""
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    try:
        return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy(), np.float64)
    except pa.ArrowInvalid:
        return None


def _count_rows(source: FileTable) -> str:
    """A column of times beside the others: a row a second. A column that does nothing but count the rows goes."""
    table = source.table
    for name in table.column_names:
        numbers = _as_numbers(table.column(name))
        if numbers is not None and len(numbers) > 1 and (np.diff(numbers) == 1).all() and table.num_columns > 1:
            table = table.drop_columns([name])
            source.notes.append(f"column {name!r} counts the rows, so it is no channel")
    name = "time"
    while name in table.column_names:
        name = f"row {name}"
    source.table = table.append_column(name, pa.array(np.arange(table.num_rows)))
    source.notes.append("no column of times was found: rows count as one a second, without hours and days")
    return name


def _told_apart(source: FileTable, readings: FileReadings) -> NDArray[np.int64]:
    """Times to fold by: the file's own, unless many rows share a step of the grid or come at random."""
    time_ns = readings.time_ns
    codes = np.unique(readings.asset.astype(str), return_inverse=True)[1]
    order = np.lexsort((time_ns, codes))
    same = np.diff(codes[order]) == 0
    distance = np.diff(time_ns[order])[same]
    if not len(distance):
        return time_ns
    period = infer_period(time_ns, readings.asset)
    shared = float((np.diff(time_ns[order] // period)[same] == 0).mean())
    usual = float(np.median(distance[distance > 0])) if (distance > 0).any() else 1.0
    regular = float((np.abs(distance - usual) <= NEAR * usual).mean())
    if shared <= SHARED_MAX and regular >= NEAR_LEAST:
        return time_ns
    starts = np.flatnonzero(np.append(True, ~same))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    counted = np.empty(len(order), np.int64)
    counted[order] = (int(time_ns.min()) // period + place) * period
    source.notes.append("times are too irregular, or too coarse, to tell rows apart: rows count as one a step")
    return counted


def _held_by_float32(channels: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Steps are float32: a channel that changes too little beside its size is told from its first value on.

    >>> _held_by_float32({"a": np.array([1.6e9, 1.6e9 + 0.5])})["a"].tolist()
    [0.0, 0.5]
    """
    found = {}
    for name, values in channels.items():
        known = values[np.isfinite(values)]
        change = np.abs(np.diff(known))
        moved = change[change > 0]
        largest = float(np.abs(known).max(initial=0.0))
        lost = len(moved) > 0 and largest * np.finfo(np.float32).eps > HELD * float(np.median(moved))
        found[name] = values - known[0] if lost else values
    return found

"""A file of telemetry as columns of text or numbers: CSV, Parquet, Arrow, NumPy, JSON lines, compressed or not.

In:   a path. A line of JSON may hold many readings in columns, as a record of `telemetry` may: where its time is a list.
Out:  an Arrow table with the file's own column names, and the rows that could not be read, with the reason.
CSV cells stay text here: what is a number is decided cell by cell (`deploy.feeds.file_columns`), so that one bad cell
does not turn a column of numbers into text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from deploy.feeds import csv_text
from twin.errors import LivetwinError

_SAMPLE_BYTES = 1 << 16
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")  # what Arrow detects by the name's end
FORMATS = (
    "CSV (.csv, .tsv, .txt, .dat, .out) or JSON lines (.jsonl, .ndjson, .json), both also .gz, .bz2, .zst, .lz4, "
    "or Parquet (.parquet, .pq), Arrow (.arrow, .ipc, .feather) or NumPy (.npy)"
)
TIME_NAMES = ("time", "timestamp", "ts", "datetime", "date_time", "date", "event_time")


class FileRefused(LivetwinError):
    """A file that can't be fed: not there, another format, no time column, no channel."""


@dataclass(slots=True)
class FileTable:
    """What a file holds. `rejected` counts rows by reason; `first_rejected` tells the first of each in words.

    `first_line` is the line of the table's first row; `skipped` are lines between that are no row of it. `lines`: of each row,
    where a line holds several.
    """

    table: pa.Table
    decimal_comma: bool = False
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    first_line: int = 1
    skipped: list[int] = field(default_factory=list)
    lines: list[int] | None = None

    def line(self, row: int) -> int:
        """The line of a row of the table, for people who look for it.

        >>> FileTable(pa.table({}), first_line=2, skipped=[3]).line(1)
        4
        """
        if self.lines is not None:
            return self.lines[row]
        line = row + self.first_line
        for skipped in self.skipped:
            line += skipped <= line
        return line

    def reject(self, reason: str, wording: str, count: int = 1) -> None:
        self.rejected[reason] += count
        self.first_rejected.setdefault(reason, wording)


def read_table(path: Path, time_column: str | None = None) -> FileTable:
    """Read a whole file; it must fit into memory.

    Args:
        time_column: what a line of JSON calls its times; None: one of TIME_NAMES.

    Raises:
        FileRefused: not there, not readable, empty, or of another format.
    """
    if not path.is_file():
        raise FileRefused(f"{path}: no such file; it was not used")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED else (suffixes or [""])[-1]
    try:
        if kind in (".parquet", ".pq"):
            found = FileTable(_plain(pyarrow.parquet.read_table(path)))
        elif kind in (".arrow", ".ipc", ".feather"):
            found = FileTable(_plain(_read_arrow(path)))
        elif kind in (".jsonl", ".ndjson", ".json"):
            found = _read_json_lines(path, time_column)
        elif kind in (".csv", ".tsv", ".txt", ".dat", ".out"):
            found = _read_csv(path)
        elif kind == ".npy":
            found = _read_numpy(path)
        else:
            raise FileRefused(f"{path}: format {kind or 'without suffix'!r} is not known, expected {FORMATS}; it was not used")
    except (pa.ArrowException, OSError, EOFError) as error:
        raise FileRefused(f"{path}: could not be read ({str(error).splitlines()[0]}); it was not used") from error
    if found.table.num_rows == 0:
        raise FileRefused(f"{path}: no row could be read, expected at least one ({_reasons(found)}); it was not used")
    return found


def _read_csv(path: Path) -> FileTable:
    with pa.input_stream(str(path)) as file:
        sample: bytes = file.read(_SAMPLE_BYTES)
    laid_out = csv_text.layout(sample)
    if laid_out is None:
        raise FileRefused(f"{path}: the file is empty, expected a header and rows; it was not used")
    names = laid_out.names
    if len(set(names)) != len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise FileRefused(f"{path}: columns {twice} stand more than once in the header, expected each once; it was not used")
    found = FileTable(pa.table({}), decimal_comma=laid_out.delimiter == ";", first_line=1 + laid_out.header)
    if laid_out.encoding != "utf8":
        found.notes.append("the text is not UTF-8; read as Latin-1")
    if not laid_out.header:
        found.notes.append(f"no header: columns are called {', '.join(names[:3])}{', …' if len(names) > 3 else ''}")

    def wrong_width(row: Any) -> str:
        found.skipped.append(row.number)
        cells = f"{row.actual_columns} cells, expected {row.expected_columns}"
        found.reject("columns", f"line {row.number}: {cells}: {str(row.text)[:60]!r}")
        return "skip"

    source: Any = str(path)
    if laid_out.blanks:
        with pa.input_stream(str(path)) as file:
            source = pa.BufferReader(b"\n".join(b" ".join(line.split()) for line in file.read().splitlines()))
    found.table = pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(
            encoding=laid_out.encoding, use_threads=False, column_names=None if laid_out.header else names
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter=laid_out.delimiter, invalid_row_handler=wrong_width),
        convert_options=pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=True),
    )
    return found


def _read_numpy(path: Path) -> FileTable:
    """An array (rows,) or (rows, columns) of numbers; columns are called c1, c2, …."""
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise FileRefused(f"{path}: could not be read ({error}); it was not used") from error
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2) or array.dtype.kind not in "fiub":
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise FileRefused(f"{path}: found {found}, expected an array of numbers, a row a reading; it was not used")
    columns = array[:, None] if array.ndim == 1 else array
    table = pa.table({f"c{place + 1}": np.ascontiguousarray(columns[:, place]) for place in range(columns.shape[1])})
    return FileTable(table)


def _read_arrow(path: Path) -> pa.Table:
    """An IPC file (Feather 2) or an IPC stream, told apart by how they begin."""
    with pa.memory_map(str(path)) as file:
        as_file = file.read(6) == b"ARROW1"
        file.seek(0)
        return (pa.ipc.open_file(file) if as_file else pa.ipc.open_stream(file)).read_all()


def _plain(table: pa.Table) -> pa.Table:
    """Text as text, however it is laid out: dictionaries (of categories), large and viewed strings."""
    for position, one in enumerate(table.schema):
        kind = one.type.value_type if pa.types.is_dictionary(one.type) else one.type
        kind = pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
        if kind != one.type:
            table = table.set_column(position, one.name, table.column(position).cast(kind))
    return table


def _read_json_lines(path: Path, time_column: str | None) -> FileTable:
    found = FileTable(pa.table({}), lines=[])
    with pa.input_stream(str(path)) as file:
        text: bytes = file.read()
    rows: list[dict[str, Any]] = []
    lines = found.lines = []
    for number, row in _json_rows(text, found):
        if not isinstance(row, dict):
            found.reject("shape", f"line {number}: a JSON {type(row).__name__}, expected an object")
            continue
        readings = _readings(row, number, time_column, found)
        rows += readings
        lines += [number] * len(readings)
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for row in rows for name in row}
    for position, row in enumerate(rows):
        for name, value in row.items():
            columns[name][position] = value
    found.table = pa.table({name: _json_column(values) for name, values in columns.items()})
    return found


def _readings(row: dict[str, Any], line: int, time_column: str | None, found: FileTable) -> list[dict[str, Any]]:
    """One reading, or, where the time is a list, one of each time: lists hold a cell of each, what is no list holds for all."""
    lists = {name for name, cells in row.items() if isinstance(cells, list)} if len(row) > 1 else set()
    named = [time_column] if time_column is not None else [name for name in row if name.strip().lower() in TIME_NAMES]
    time = next((name for name in named if name in lists), None)
    if time is None:
        return [row]
    count = len(row[time])
    if wrong := next((name for name in row if name in lists and len(row[name]) != count), None):
        found.reject("shape", f"line {line}: {wrong} holds {len(row[wrong])} cells, expected {count} as {time} does")
        return []
    return [{name: cells[at] if name in lists else cells for name, cells in row.items()} for at in range(count)]


def _json_rows(text: bytes, found: FileTable) -> Iterator[tuple[int, Any]]:
    """Lines of JSON; or one JSON array, or one object over several lines, as some tools write it."""
    if text.lstrip()[:1] in (b"[", b"{"):
        try:
            whole = orjson.loads(text)
            yield from enumerate(whole, 1) if isinstance(whole, list) else [(1, whole)]
            return
        except orjson.JSONDecodeError:
            pass
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                yield number, orjson.loads(line)
        except orjson.JSONDecodeError as error:
            found.reject("json", f"line {number}: {error}")


def _json_column(values: list[Any]) -> pa.Array:
    """Numbers stay numbers; a column of mixed kinds becomes text, cell by cell."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values])


def _reasons(found: FileTable) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in found.rejected.items()) or "the file has none"

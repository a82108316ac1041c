"""A file of telemetry as columns of text or numbers: CSV, Parquet, JSON lines, compressed or not.

In:   a path.
Out:  an Arrow table with the file's own column names, and the rows that could not be read, with the reason.
CSV cells stay text here: what is a number is decided cell by cell (`deploy.feeds.file_columns`), so that one bad cell
does not turn a column of numbers into text.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from twin.errors import LivetwinError

_DELIMITERS = ",;\t|"
_SAMPLE_BYTES = 1 << 16
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")  # what Arrow detects by the name's end
FORMATS = (
    "CSV (.csv, .tsv, .txt) or JSON lines (.jsonl, .ndjson, .json), both also .gz, .bz2, .zst, .lz4, or Parquet (.parquet, .pq)"
)


class FileRefused(LivetwinError):
    """A file that can't be fed: not there, another format, no time column, no channel."""


@dataclass(slots=True)
class FileTable:
    """What a file holds. `rejected` counts rows by reason; `first_rejected` tells the first of each in words.

    `first_line` is the line of the table's first row; `skipped` are lines between that are no row of it.
    """

    table: pa.Table
    decimal_comma: bool = False
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    first_line: int = 1
    skipped: list[int] = field(default_factory=list)

    def line(self, row: int) -> int:
        """The line of a row of the table, for people who look for it.

        >>> FileTable(pa.table({}), first_line=2, skipped=[3]).line(1)
        4
        """
        line = row + self.first_line
        for skipped in self.skipped:
            line += skipped <= line
        return line

    def reject(self, reason: str, wording: str, count: int = 1) -> None:
        self.rejected[reason] += count
        self.first_rejected.setdefault(reason, wording)


def read_table(path: Path) -> FileTable:
    """Read a whole file; it must fit into memory.

    Raises:
        FileRefused: not there, not readable, empty, or of another format.
    """
    if not path.is_file():
        raise FileRefused(f"{path}: no such file; nothing was sent")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED else (suffixes or [""])[-1]
    try:
        if kind in (".parquet", ".pq"):
            found = FileTable(pyarrow.parquet.read_table(path))
        elif kind in (".jsonl", ".ndjson", ".json"):
            found = _read_json_lines(path)
        elif kind in (".csv", ".tsv", ".txt"):
            found = _read_csv(path)
        else:
            raise FileRefused(f"{path}: format {kind or 'without suffix'!r} is not known, expected {FORMATS}; nothing was sent")
    except (pa.ArrowException, OSError, EOFError) as error:
        raise FileRefused(f"{path}: could not be read ({str(error).splitlines()[0]}); nothing was sent") from error
    if found.table.num_rows == 0:
        raise FileRefused(f"{path}: no row could be read, expected at least one ({_reasons(found)}); nothing was sent")
    return found


def _read_csv(path: Path) -> FileTable:
    with pa.input_stream(str(path)) as file:
        sample: bytes = file.read(_SAMPLE_BYTES)
    encoding = _encoding(sample)
    lines = sample.decode(encoding, "replace").splitlines()
    if not lines:
        raise FileRefused(f"{path}: the file is empty, expected a header and rows; nothing was sent")
    delimiter = max(_DELIMITERS, key=lines[0].count)
    header = next(csv.reader([lines[0].lstrip("\ufeff")], delimiter=delimiter))
    if len(set(header)) != len(header):
        twice = sorted(name for name, count in Counter(header).items() if count > 1)
        raise FileRefused(f"{path}: columns {twice} stand more than once in the header, expected each once; nothing was sent")
    found = FileTable(pa.table({}), decimal_comma=delimiter == ";", first_line=2)
    if encoding != "utf8":
        found.notes.append("the text is not UTF-8; read as Latin-1")

    def wrong_width(row: Any) -> str:
        found.skipped.append(row.number)
        cells = f"{row.actual_columns} cells, expected {row.expected_columns}"
        found.reject("columns", f"line {row.number}: {cells}: {str(row.text)[:60]!r}")
        return "skip"

    as_text = {name: pa.string() for name in header}
    found.table = pyarrow.csv.read_csv(
        str(path),
        read_options=pyarrow.csv.ReadOptions(encoding=encoding, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=wrong_width),
        convert_options=pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True),
    )
    return found


def _encoding(sample: bytes) -> str:
    try:
        sample[: max(0, len(sample) - 4)].decode("utf8")  # the sample's last character may be cut
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 8:
            return "latin-1"
    return "utf8"


def _read_json_lines(path: Path) -> FileTable:
    found = FileTable(pa.table({}))
    with pa.input_stream(str(path)) as file:
        text: bytes = file.read()
    rows: list[dict[str, Any]] = []
    for number, row in _json_rows(text, found):
        if isinstance(row, dict):
            rows.append(row)
        else:
            found.skipped.append(number)
            found.reject("shape", f"line {number}: a JSON {type(row).__name__}, expected an object")
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for row in rows for name in row}
    for position, row in enumerate(rows):
        for name, value in row.items():
            columns[name][position] = value
    found.table = pa.table({name: _json_column(values) for name, values in columns.items()})
    return found


def _json_rows(text: bytes, found: FileTable) -> Iterator[tuple[int, Any]]:
    """Lines of JSON; or one JSON array, as some tools write it."""
    if text.lstrip()[:1] == b"[":
        try:
            yield from enumerate(orjson.loads(text), 1)
            return
        except orjson.JSONDecodeError:
            pass
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                yield number, orjson.loads(line)
            else:
                found.skipped.append(number)
        except orjson.JSONDecodeError as error:
            found.skipped.append(number)
            found.reject("json", f"line {number}: {error}")


def _json_column(values: list[Any]) -> pa.Array:
    """Numbers stay numbers; a column of mixed kinds becomes text, cell by cell."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values])


def _reasons(found: FileTable) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in found.rejected.items()) or "the file has none"

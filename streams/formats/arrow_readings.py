"""Arrow IPC streams: readings of many assets in one record, read column by column.

In:   a stream with columns `asset` (text or dictionary of text), `time` (timestamp of any unit, integer, text) and one column
      of numbers a channel: integers, floats of 16 to 64 bits, decimals, booleans. Null and NaN are empty cells.
Out:  `TelemetryTable`. A row without a usable asset or time, a value too large for a float32 and a column that holds no numbers
      are left out and named as flaws; a stream that can't be read at all raises ReadingRefused.
      A column's field metadata `unit` is the unit that it states.
Timestamps without a time zone are taken as UTC.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.formats.arrow_claims import check_claims
from streams.formats.asset_names import asset_names
from streams.formats.readings import LARGEST, Flaw, TelemetryTable, check_size, checked_asset
from twin.errors import ReadingRefused
from twin.time import LATEST_NS, epoch_ns, parse_time

_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAMAGED = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError, NotImplementedError)


def from_arrow(stream: bytes, asset: str | None = None, time: object = None) -> TelemetryTable:
    """The readings of one record.

    Args:
        asset, time: taken where the stream has no such column.

    Raises:
        ReadingRefused: reason `arrow` | `asset` | `time` | `size`.
    """
    check_claims(stream)
    try:
        table, others = _numbers_only(stream)
    except _DAMAGED as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ReadingRefused("arrow", f"not a readable Arrow IPC stream ({first[:300]}); kept in dead-letter") from error
    names = [name for name in table.column_names if name not in ("asset", "time")]
    check_size(table.num_rows, len(names))
    flaws: list[Flaw] = []
    assets, code = _assets(table, asset)
    time_ns, timely = _times(table, time)
    values = np.empty((len(names), table.num_rows))
    for row, name in zip(values, names, strict=True):
        row[:] = _values(table.column(name))
    nameless = code < 0
    if nameless.any() or not timely.all():
        _name_bad_rows(flaws, nameless, timely)
        good = timely & ~nameless
        code, time_ns, values = code[good], time_ns[good], values[:, good]
    too_large = np.abs(values) > LARGEST  # infinity as well
    if too_large.any():
        values[too_large] = np.nan
        for name, count in zip(names, too_large.sum(axis=1).tolist(), strict=True):
            if count:
                flaws.append(Flaw("not-a-number", f"{name}: {count} values, expected finite numbers; the rest was used"))
    for name, kind in others:
        flaws.append(Flaw("not-a-number", f"column {name!r} is {kind}, expected numbers; the rest of the record was used"))
    if not len(code):
        raise ReadingRefused(flaws[0].reason, flaws[0].message.replace("the rest was used", "kept in dead-letter"))
    assets, code = _with_rows(assets, code)
    channels = dict(zip(names, values, strict=True))
    return TelemetryTable(assets, code, time_ns, channels, tuple(flaws), _units(table.schema, names))


def _units(schema: pa.Schema, names: list[str]) -> dict[str, str]:
    """What columns state, by channel."""
    stated = {name: (schema.field(name).metadata or {}).get(b"unit", b"").decode("utf-8", "replace") for name in names}
    return {name: unit for name, unit in stated.items() if unit}


def _numbers_only(stream: bytes) -> tuple[pa.Table, list[tuple[str, str]]]:
    """The columns that are used, validated, and names and types of the others, which are not even read."""
    reader = pa.ipc.open_stream(stream)
    schema = reader.schema
    if len(set(schema.names)) != len(schema.names):
        raise ValueError(f"column names repeat: {sorted(schema.names)[:20]}")
    wanted, others = [], []
    for position, field in enumerate(schema):
        if field.name in ("asset", "time") or _is_number(field.type):
            wanted.append(position)
        else:
            others.append((field.name, str(field.type)[:60]))
    check_size(1, len(wanted))
    if not wanted:
        raise ValueError("no column asset, time or of numbers")
    if others:
        reader = pa.ipc.open_stream(stream, options=pa.ipc.IpcReadOptions(included_fields=wanted))
    table = reader.read_all()
    table.validate(full=True)  # a damaged index would be read out of bounds
    return table, others


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _assets(table: pa.Table, asset: str | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of assets, and (N,) which one each row is of: -1 where it names none. Loops over distinct names only."""
    if "asset" not in table.column_names:
        return (checked_asset(asset),), np.zeros(table.num_rows, np.int64)
    column = table.column("asset")
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not _is_text(kind):
        raise ReadingRefused("asset", f"column asset is {str(column.type)[:60]}, expected text; kept in dead-letter")
    parts = [_chunk_assets(chunk) for chunk in column.chunks]
    if len(parts) == 1:
        return parts[0]
    number_of: dict[str, int] = {}
    codes = [np.empty(0, np.int64)]
    for names, code in parts:
        numbers = np.array([number_of.setdefault(name, len(number_of)) for name in names] + [-1], np.int64)
        codes.append(numbers[code])
    return tuple(number_of), np.concatenate(codes)


def _chunk_assets(chunk: pa.Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    names, numbers = asset_names(encoded.dictionary)
    indices = encoded.indices
    if indices.null_count:
        indices = pc.fill_null(indices.cast(pa.int64()), -1)  # where the -1 stands
    return names, numbers[np.asarray(indices.to_numpy(), np.int64)]


def _with_rows(assets: tuple[str, ...], code: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Without the assets that no row is of."""
    some = np.bincount(code, minlength=len(assets)) > 0
    if some.all():
        return assets, code
    return tuple(assets[at] for at in np.flatnonzero(some).tolist()), (np.cumsum(some) - 1)[code]


def _times(table: pa.Table, time: object) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Event times, (N,) nanoseconds, and which rows have one."""
    if "time" not in table.column_names:
        return np.full(table.num_rows, parse_time(time), np.int64), np.ones(table.num_rows, np.bool_)
    column = table.column("time")
    kind = column.type
    if pa.types.is_timestamp(kind):
        ticks = column.cast(pa.int64())
        raw = np.asarray((pc.fill_null(ticks, -1) if column.null_count else ticks).to_numpy(), np.int64)
        scale = _NS[kind.unit]
        good = (raw >= 0) & (raw <= LATEST_NS // scale)
        return (raw if good.all() else np.where(good, raw, 0)) * scale, good
    known = np.asarray(column.is_valid().to_numpy(), np.bool_)
    if pa.types.is_integer(kind):
        raw = np.asarray(pc.fill_null(column, 0).to_numpy())
        time_ns, good = epoch_ns(raw)
        return time_ns, good & known
    if _is_text(kind):
        return _text_times(column)
    raise ReadingRefused(
        "time", f"column time is {str(kind)[:60]}, expected a timestamp, integers or RFC 3339 text; kept in dead-letter"
    )


def _text_times(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Each distinct text is parsed once, in one go where all are plain."""
    encoded = column.combine_chunks().dictionary_encode()
    texts = encoded.dictionary
    try:
        found = np.asarray(texts.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
        good = found >= 0
    except pa.ArrowException:
        parsed = [_parsed(text) for text in texts.to_pylist()]
        found, good = np.array(parsed, np.int64), np.array(parsed, np.int64) >= 0
    index = np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), len(found)).to_numpy(zero_copy_only=False), np.int64)
    return np.append(np.where(good, found, 0), 0)[index], np.append(good, False)[index]


def _parsed(text: str) -> int:
    try:
        return parse_time(text)
    except ReadingRefused:
        return -1


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column as numbers of any kind, NaN where a cell is empty."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    values = column.to_numpy()
    if column.null_count and values.dtype.kind not in "f":
        values = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy()
    elif column.null_count:
        values = np.where(column.is_valid().to_numpy(), values, np.nan)
    return np.asarray(values)


def _name_bad_rows(flaws: list[Flaw], without_asset: NDArray[np.bool_], timely: NDArray[np.bool_]) -> None:
    nameless, timeless = np.flatnonzero(without_asset), np.flatnonzero(~timely)
    if len(nameless):
        flaws.append(Flaw("asset", f"{len(nameless)} rows name no asset, the first is row {nameless[0]}; the rest was used"))
    if len(timeless):
        flaws.append(Flaw("time", f"{len(timeless)} rows have no usable time, the first is row {timeless[0]}; the rest was used"))

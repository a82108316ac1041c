"""Line protocol from columns: a history block's steps as lines without a loop over them; records as single lines.

In:   `HistoryBlock`, and the key of each channel's fields in its measurement.
Out:  request bodies of line protocol, times in nanoseconds.
Pure: no clock, no I/O.

A step is one line: `<measurement>,asset=<asset> <fields> <end of the step>`. A field that has no finite number can't be written,
and leaving it out would leave an earlier write of the same step in place. So every line names the fields that it means to be
absent (`absent`) and says how many it has (`fields`): a reader knows a step that is not fully there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.history import HistoryBlock

LINES_A_REQUEST = 5000  # what InfluxDB's documentation asks for
KINDS = ("", "__expected", "__spread")  # the three fields of a channel that may be absent
QUALITY = "__quality"
STEP_FIELDS = ("risk", "score", "version", "fields", "absent")
LONE_FIELDS = 3  # version, absent, fields: in every line, beside quality and numbers
RESERVED = frozenset({*STEP_FIELDS, "asset", "time", ""})
_ODD = frozenset(map(chr, [*range(32), 127])) | {"\\", "%"}


def plain(name: str) -> str:
    """A name as it can stand in line protocol: control characters, backslash and % as %XX; an empty one is %.

    >>> plain("tank 1"), plain("50%"), plain("a" + chr(10)), plain("")
    ('tank 1', '50%25', 'a%0A', '%')
    """
    if not name:
        return "%"
    if _ODD.isdisjoint(name):
        return name
    return "".join(quote(letter, safe="") if letter in _ODD else letter for letter in name)


def original(name: str) -> str:
    """The name that `plain` was given.

    >>> [original(plain(name)) for name in ("tank 1", "50%", "100%25", "", "%")]
    ['tank 1', '50%', '100%25', '', '%']
    """
    return "" if name == "%" else unquote(name) if "%" in name else name


def key(name: str) -> str:
    """A plain tag key, tag value or field key, escaped."""
    return name.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def measurement(name: str) -> str:
    return name.replace(",", "\\,").replace(" ", "\\ ")


def text(value: str) -> str:
    """A string field."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def line(name: str, tags: Mapping[str, str], fields: Mapping[str, str | float | int | bool | None], time_ns: int) -> bytes:
    """One point; None is left out."""
    head = measurement(name) + "".join(f",{key(tag)}={key(plain(value))}" for tag, value in tags.items())
    parts = [f"{key(field)}={_value(value)}" for field, value in fields.items() if value is not None]
    return f"{head} {','.join(parts)} {time_ns}".encode()


def _value(value: str | float | int | bool) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value}i"
        case float():
            return repr(value)
        case str():
            return text(value)


def together(blocks: Sequence[HistoryBlock]) -> list[HistoryBlock]:
    """Blocks of one type that follow each other with the same channels, as one: fewer and larger requests.

    The order of different types is not kept: they are different measurements.
    """
    runs: dict[str, list[list[HistoryBlock]]] = {}
    for block in blocks:
        own = runs.setdefault(block.type, [])
        if own and own[-1][0].channels == block.channels:
            own[-1].append(block)
        else:
            own.append([block])
    return [_joined_blocks(run) for own in runs.values() for run in own]


def _joined_blocks(run: list[HistoryBlock]) -> HistoryBlock:
    if len(run) == 1:
        return run[0]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(block, name) for block in run])
        for name in ("time_ns", "values", "quality", "expected", "spread", "score", "risk")
    }
    names: dict[str, Any] = {
        name: tuple(chain.from_iterable(getattr(block, name) for block in run)) for name in ("asset", "version")
    }
    return replace(run[0], **arrays, **names)


def step_bodies(block: HistoryBlock, name: str, keys: Mapping[str, str]) -> Iterator[memoryview]:
    """Bodies of at most LINES_A_REQUEST lines, in the block's order.

    Args:
        name: the measurement.
        keys: of each of the block's channels, the key of its fields.
    """
    for start in range(0, len(block), LINES_A_REQUEST):
        yield _body(block, slice(start, start + LINES_A_REQUEST), name, [keys[channel] for channel in block.channels])


def _body(block: HistoryBlock, rows: slice, name: str, keys: list[str]) -> memoryview:
    time_ns = block.time_ns[rows]
    risk, score = block.risk[rows], block.score[rows]
    per_kind = [np.ascontiguousarray(matrix[rows]) for matrix in (block.values, block.expected, block.spread)]
    finite = [np.isfinite(matrix) for matrix in per_kind]
    parts: list[pa.Array] = []
    for suffix, matrix, there in zip(KINDS, per_kind, finite, strict=True):
        for nth, field in enumerate(keys):
            if there[:, nth].any():
                parts.append(_numbers(f"{key(field + suffix)}=", matrix[:, nth], there[:, nth]))
    quality = block.quality[rows]
    for nth, field in enumerate(keys):
        parts.append(_joined(f"{key(field + QUALITY)}=", pc.cast(pa.array(quality[:, nth]), pa.string()), "i"))
    lone = [np.isfinite(risk), np.isfinite(score)]
    parts += [_numbers("risk=", risk, lone[0]), _numbers("score=", score, lone[1])]
    parts.append(_of_few(block.version[rows], lambda version: f"version={text(version)}"))
    absent, patterns = _absent(finite, lone, keys)
    parts.append(pa.DictionaryArray.from_arrays(pa.array(absent), pa.array([f"absent={text(found)}" for found in patterns])))
    counts = len(keys) + LONE_FIELDS + sum(there.sum(axis=1) for there in finite) + sum(np.int64(there) for there in lone)
    parts.append(_joined("fields=", pc.cast(pa.array(counts), pa.string()), "i"))
    parts = [pc.cast(part, pa.string()) if pa.types.is_dictionary(part.type) else part for part in parts]
    fields = pc.binary_join_element_wise(*parts, ",", null_handling="skip")
    head = f"{measurement(name)},asset="
    assets = _of_few(block.asset[rows], lambda asset: head + key(plain(asset)))
    lines = pc.binary_join_element_wise(pc.cast(assets, pa.string()), fields, _joined("", _texts(time_ns), "\n"), " ")
    return _buffer(lines)


def _numbers(prefix: str, values: NDArray[np.float32], there: NDArray[np.bool_]) -> pa.Array:
    """`prefix` and the shortest decimal that is this float32; null where there is none."""
    return _joined(prefix, _texts(pa.array(values, mask=~there)), "")


def _texts(numbers: pa.Array | NDArray[np.int64]) -> pa.Array:
    return pc.cast(pa.array(numbers) if isinstance(numbers, np.ndarray) else numbers, pa.string())


def _joined(prefix: str, texts: pa.Array, suffix: str) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(prefix), texts, pa.scalar(suffix), "", null_handling="emit_null")


def _of_few(names: tuple[str, ...], write: Callable[[str], str]) -> pa.Array:
    """`write` of each name, called once a different name."""
    coded = pa.array(names, pa.string()).dictionary_encode()
    written = [write(name) for name in coded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(written, pa.string()))


def _absent(
    finite: list[NDArray[np.bool_]], lone: list[NDArray[np.bool_]], keys: list[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Which fields each row lacks: an index into the patterns, and the patterns' words; `*` stands for all channels."""
    there = np.column_stack([*finite, *lone])
    if there.all():
        return np.zeros(len(there), np.int64), [""]
    packed = np.ascontiguousarray(np.packbits(there, axis=1))
    _, first, index = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    patterns = []
    for row in first:
        words: list[str] = []
        for suffix, matrix in zip(KINDS, finite, strict=True):
            missing = np.flatnonzero(~matrix[row])
            words += ["*" + suffix] if len(missing) == len(keys) > 1 else [keys[nth] + suffix for nth in missing]
        words += [name for name, matrix in zip(("risk", "score"), lone, strict=True) if not matrix[row]]
        patterns.append("\t".join(words))
    return np.asarray(index, np.int64).ravel(), patterns


def _buffer(lines: pa.Array) -> memoryview:
    """The bytes of all lines, as they lie in memory one after another."""
    lines = lines.combine_chunks() if isinstance(lines, pa.ChunkedArray) else lines
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[int(offsets[0]) : int(offsets[-1])]

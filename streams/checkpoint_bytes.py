"""Checkpoints as bytes: a JSON header and plain arrays, compressed, with a schema number that older ones are migrated from.

In:   a header and named arrays.
Out:  bytes, and both back to the bit; checkpoints of older schemas come back in the newest one's words.

    b"LTCP" | schema, 2 bytes | size of what follows, 4 bytes | zstd of: header's length, 4 bytes | header, JSON | arrays

Schema 1 was a safetensors file of whole rings; schema 2 had no alarm threshold of the twin's own, schema 3 no counts of its
alarms; in schema 4 peaks began elsewhere; schema 5 did not tell since when a version serves. A new schema: raise SCHEMA, and add
to MIGRATIONS what leads from the one before to it; checkpoints go through the table step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from models.alarm_counts import AlarmCounts
from models.online_threshold import OnlineThresholds
from twin.errors import CheckpointRefused
from twin.plausible import recent_of
from twin.row_state import from_rings

SCHEMA = 6
WAY_OUT = "its partition is folded again from the beginning of the log"
_MAGIC = b"LTCP"
_MOST_BYTES = 1 << 28  # unpacked: a claim beyond it is damage

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The same header and arrays give the same bytes."""
    described = dict(header, arrays=[[name, array.dtype.str, array.shape] for name, array in arrays.items()])
    text = orjson.dumps(described, option=orjson.OPT_SORT_KEYS)
    raw = b"".join([len(text).to_bytes(4, "little"), text, *(array.tobytes() for array in arrays.values())])
    packed = pa.compress(raw, codec="zstd", asbytes=True)
    return b"".join([_MAGIC, SCHEMA.to_bytes(2, "little"), len(raw).to_bytes(4, "little"), packed])


def unpack(value: bytes) -> tuple[Header, Arrays, int]:
    """Header and arrays in the words of SCHEMA, and the schema it was written in.

    Raises:
        CheckpointRefused: damaged, or of a schema nobody can migrate.
    """
    try:
        schema, header, arrays = _read_packed(value) if value[:4] == _MAGIC else _read_safetensors(value)
    except (pa.ArrowException, OSError, SafetensorError, orjson.JSONDecodeError, KeyError, ValueError, TypeError) as error:
        raise CheckpointRefused(f"a checkpoint of {len(value)} bytes is not readable ({error}); {WAY_OUT}") from error
    written = schema
    while schema != SCHEMA:
        if schema not in MIGRATIONS:
            raise CheckpointRefused(
                f"checkpoint of {header.get('asset')!r} has schema {schema}, expected {SCHEMA} or one of {sorted(MIGRATIONS)}; "
                f"{WAY_OUT}. To go on from it instead, start the version of livetwin that wrote it"
            )
        try:
            header, arrays = MIGRATIONS[schema](header, arrays)
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointRefused(
                f"checkpoint of {header.get('asset')!r} in schema {schema} is not whole ({error!r}); {WAY_OUT}"
            ) from error
        schema += 1
    return header, arrays, written


def _read_packed(value: bytes) -> tuple[int, Header, Arrays]:
    schema, size = int.from_bytes(value[4:6], "little"), int.from_bytes(value[6:10], "little")
    if schema != SCHEMA and schema not in MIGRATIONS:
        return schema, {}, {}  # what follows may be laid out in any way
    if size > _MOST_BYTES:
        raise ValueError(f"{size} bytes unpacked, expected {_MOST_BYTES} at most")
    raw = pa.decompress(value[10:], decompressed_size=size, codec="zstd", asbytes=True)
    at = 4 + int.from_bytes(raw[:4], "little")
    header = orjson.loads(raw[4:at])
    arrays: Arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        count = prod(shape)
        arrays[name] = np.frombuffer(raw, np.dtype(dtype), count, at).reshape(shape)
        at += arrays[name].nbytes
    return schema, header, arrays


def _read_safetensors(value: bytes) -> tuple[int, Header, Arrays]:
    length = int.from_bytes(value[:8], "little")
    header = orjson.loads(orjson.loads(value[8 : 8 + length])["__metadata__"]["livetwin"])
    return int(header.pop("schema")), header, load(value)


def _from_1(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """Rings become the window and the open steps; the recent values are read off the window."""
    window, next_step = int(header["window"]), int(arrays["next_step"][0])
    rings = {name: arrays[name] for name in ("values", "quality", "cell_time", "slot_offset")}
    kept = {name: array for name, array in arrays.items() if name not in rings and not name.startswith("carry.")}
    kept |= {name: array[0] for name, array in arrays.items() if name.startswith("carry.")}
    kept |= from_rings(next_step, window, rings)
    first = next_step - len(kept["window.values"])
    recent = recent_of(kept["window.values"], kept["window.quality"], first)
    kept |= {"carry.recent_value": recent.value, "carry.recent_step": recent.step}
    return header, kept


def _from_2(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """The twin begins at the threshold its version promises; an alarm that is on stays on until new steps say otherwise."""
    kept = {name: array for name, array in arrays.items() if name != "risk.strength"}
    strength = np.asarray(arrays["risk.strength"], np.float32)  # in units of a threshold that no checkpoint held
    fresh = {f"threshold.{name}": np.atleast_1d(array) for name, array in OnlineThresholds(1).export(0).items()}
    return header, kept | {"risk.surprise": strength} | fresh


def _from_3(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """Alarms are counted from here on."""
    fresh = {f"counts.{name}": np.atleast_1d(array) for name, array in AlarmCounts(1).export(0).items()}
    return header, arrays | fresh


def _from_4(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """Peaks begin elsewhere now: the twin begins at the threshold its version promises."""
    kept = {name: array for name, array in arrays.items() if not name.startswith("threshold.")}
    fresh = {f"threshold.{name}": np.atleast_1d(array) for name, array in OnlineThresholds(1).export(0).items()}
    return header, kept | fresh


def _from_5(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """The version in force is taken to have served for long, and to have promised the threshold that is in force."""
    added = {"threshold.since": np.zeros(1, np.int64), "threshold.promised": np.atleast_1d(arrays["threshold.threshold"])}
    return header, added | arrays


MIGRATIONS: dict[int, Callable[[Header, Arrays], tuple[Header, Arrays]]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
    5: _from_5,
}

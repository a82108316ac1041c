"""`twin.checkpoint`: what a new owner of a partition needs to go on exactly where the old one was.

In:   one twin's arrays: window, open cells, carry, risk, conditions, and the input offset they stand for.
Out:  bytes for the compacted topic (safetensors with a JSON header), and the same arrays back, to the bit.

Beside the twins, each partition has a mark under the key `partition/<p>`: the offset from which to fold again. A twin whose
own offset is further skips what it has folded already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from streams.scoring import TypeScorer
from twin.arena import Arena
from twin.closing import Carry
from twin.errors import CheckpointRefused

SCHEMA = "1"
TWIN_PREFIX = b"twin/"
MARK_PREFIX = b"partition/"
_HEADER = "livetwin"

_SCALARS = ("next_step", "max_time", "next_offset")
_RINGS = ("values", "quality", "cell_time", "slot_offset")
_CARRY = ("good_value", "good_step", "seen_value", "equal_run", "data_step")


@dataclass(frozen=True, slots=True)
class Saved:
    """One twin's checkpoint, read but not yet put into an arena."""

    asset: str
    type: str
    contract: str
    window: int
    arrays: Mapping[str, NDArray[Any]]


def twin_key(asset: str) -> bytes:
    return TWIN_PREFIX + asset.encode()


def mark_key(partition: int) -> bytes:
    return MARK_PREFIX + str(partition).encode()


def mark_value(offset: int, epoch: int) -> bytes:
    return orjson.dumps({"schema": SCHEMA, "offset": offset, "epoch": epoch})


def read_mark(value: bytes) -> tuple[int, int]:
    """Offset to fold from, and the epoch of the owner who wrote it."""
    found = orjson.loads(value)
    return int(found["offset"]), int(found["epoch"])


def export_twin(arena: Arena, scorer: TypeScorer, row: int) -> bytes:
    """All state of one twin."""
    arrays: dict[str, NDArray[Any]] = {name: np.array([getattr(arena, name)[row]]) for name in _SCALARS}
    for name in _RINGS:
        arrays[name] = getattr(arena, name)[row]
    for name in _CARRY:
        arrays[f"carry.{name}"] = getattr(arena.carry, name)[row : row + 1]
    for name, array in scorer.risk.export(row).items():
        arrays[f"risk.{name}"] = np.atleast_1d(array)
    arrays["conditions.onset"] = scorer.conditions.onset[row]
    arrays["conditions.last_on"] = scorer.conditions.last_on[row]
    header = {
        "schema": SCHEMA,
        "asset": arena.asset_of[row] or "",
        "type": arena.type.id,
        "contract": arena.type.contract,
        "window": arena.window,
        "conditions": scorer.conditions.names,
    }
    written = orjson.dumps(header, option=orjson.OPT_SORT_KEYS).decode()  # under one key: safetensors keeps no order of several
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata={_HEADER: written})


def read_twin(value: bytes) -> Saved:
    """Raises CheckpointRefused: not safetensors, or of another schema."""
    try:
        length = int.from_bytes(value[:8], "little")
        header = orjson.loads(orjson.loads(value[8 : 8 + length])["__metadata__"][_HEADER])
        arrays = load(value)
    except (SafetensorError, orjson.JSONDecodeError, KeyError, ValueError) as error:
        raise CheckpointRefused(
            f"a checkpoint of {len(value)} bytes is not readable ({error}); its twin is folded from the log again"
        ) from error
    if header.get("schema") != SCHEMA:
        raise CheckpointRefused(
            f"checkpoint of {header.get('asset')!r} has schema {header.get('schema')!r}, expected {SCHEMA!r}; "
            f"its twin is folded from the log again"
        )
    return Saved(header["asset"], header["type"], header["contract"], header["window"], arrays)


def restore_twin(saved: Saved, arena: Arena, scorer: TypeScorer, row: int) -> None:
    """Put a twin's state into a row. Raises CheckpointRefused and leaves the row fresh when it does not fit."""
    if saved.contract != arena.type.contract or saved.window != arena.window:
        raise CheckpointRefused(
            f"checkpoint of {saved.asset!r} was written for contract {saved.contract} and window {saved.window}, "
            f"expected {arena.type.contract} and {arena.window}; its twin is folded from the log again"
        )
    arrays = saved.arrays
    shapes = {name: getattr(arena, name)[row].shape for name in _RINGS}
    shapes["conditions.onset"] = scorer.conditions.onset[row].shape
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            found = arrays[name].shape if name in arrays else None
            raise CheckpointRefused(
                f"checkpoint of {saved.asset!r}: {name} has shape {found}, expected {shape}; "
                f"its twin is folded from the log again"
            )
    risk = {
        name: arrays[f"risk.{name}"].reshape(array.shape[1:])
        for name, array in scorer.risk.arrays.items()
        if f"risk.{name}" in arrays and arrays[f"risk.{name}"].size == array[0].size
    }
    try:
        scorer.risk.restore(row, risk)
    except ValueError as error:
        raise CheckpointRefused(f"checkpoint of {saved.asset!r}: {error}; its twin is folded from the log again") from error
    for name in _SCALARS:
        getattr(arena, name)[row] = arrays[name][0]
    for name in _RINGS:
        getattr(arena, name)[row] = arrays[name]
    arena.carry.put(slice(row, row + 1), Carry(*(arrays[f"carry.{name}"] for name in _CARRY)))
    scorer.conditions.onset[row] = arrays["conditions.onset"]
    scorer.conditions.last_on[row] = arrays["conditions.last_on"]

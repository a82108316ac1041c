"""`twin.checkpoint`: what a new owner of a partition needs to go on exactly where the old one was.

In:   one twin's state: window, open cells, carry, risk, alarm threshold, conditions, and the input offset they stand for.
Out:  bytes for the compacted topic (`streams.checkpoint_bytes`), and the same state back, to the bit.

Beside the twins, each partition has a mark under the key `partition/<p>`: the offset from which to fold again. A twin whose
own offset is further skips what it has folded already.

Before a new owner reads a partition's checkpoints it writes a record under `owner/<its name>`, and its name goes with all that it
writes (header `writer`). So a reader can tell what a former owner, woken up too late, wrote over an owner's twins: it stands
behind the record of who wrote the newest mark, under another name. Such a twin is an older state, and true; folding begins at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from streams import checkpoint_bytes
from streams.scoring import TypeScorer
from twin.arena import Arena
from twin.errors import CheckpointRefused
from twin.row_state import export_row, restore_row

TWIN_PREFIX = b"twin/"
MARK_PREFIX = b"partition/"
OWNER_PREFIX = b"owner/"
WRITER_HEADER = "writer"


@dataclass(frozen=True, slots=True)
class Saved:
    """One twin's checkpoint, read but not yet put into an arena."""

    asset: str
    type: str
    contract: str
    window: int
    conditions: tuple[str, ...]
    next_offset: int  # it stands for what is before
    arrays: Mapping[str, NDArray[Any]]
    schema: int  # in which it was written
    units: Mapping[str, str] | None  # in which its source sent, where they are not the type's; None: not told


def twin_key(asset: str) -> bytes:
    return TWIN_PREFIX + asset.encode()


def mark_key(partition: int) -> bytes:
    return MARK_PREFIX + str(partition).encode()


def owner_key(writer: str) -> bytes:
    return OWNER_PREFIX + writer.encode()


def mark_value(offset: int, epoch: int) -> bytes:
    return orjson.dumps({"schema": checkpoint_bytes.SCHEMA, "offset": offset, "epoch": epoch})


def read_mark(value: bytes) -> tuple[int, int]:
    """Offset to fold from, and the epoch of the owner who wrote it. Raises CheckpointRefused: no mark, or a newer schema's."""
    try:
        found = orjson.loads(value)
        schema, offset, epoch = int(found["schema"]), int(found["offset"]), int(found["epoch"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointRefused(
            f"a mark of {len(value)} bytes is not readable ({error!r}); {checkpoint_bytes.WAY_OUT}"
        ) from error
    if schema > checkpoint_bytes.SCHEMA:
        raise CheckpointRefused(
            f"a mark has schema {schema}, expected {checkpoint_bytes.SCHEMA} at most; {checkpoint_bytes.WAY_OUT}. "
            "To go on from it instead, start the version of livetwin that wrote it"
        )
    if offset < 0:
        raise CheckpointRefused(f"a mark stands at offset {offset}, expected 0 or more; {checkpoint_bytes.WAY_OUT}")
    return offset, epoch


def export_twin(arena: Arena, scorer: TypeScorer, row: int, units: Mapping[str, str] | None = None) -> bytes:
    """All state of one twin. `units`: in which its source sends, where they are not the type's; None: nobody asks."""
    scorer.fit()  # it may have been met and never scored
    arrays = export_row(arena, arena.window, row)
    for kind, state in scorer.learnt.items():
        arrays |= {f"{kind}.{name}": np.atleast_1d(array) for name, array in state.export(row).items()}
    conditions, arrays["conditions.onset"], arrays["conditions.last_on"] = scorer.conditions.export(row)
    header = {
        "asset": arena.asset_of[row] or "",
        "type": arena.type.id,
        "contract": arena.type.contract,
        "window": arena.window,
        "conditions": conditions,
        **({} if units is None else {"units": dict(units)}),
    }
    return checkpoint_bytes.pack(header, arrays)


def read_twin(value: bytes) -> Saved:
    """Raises CheckpointRefused: no checkpoint, or of a schema that can't be read here."""
    header, arrays, schema = checkpoint_bytes.unpack(value)
    try:
        window, conditions = int(header["window"]), tuple(header["conditions"])
        asset, kind, contract = str(header["asset"]), str(header["type"]), str(header["contract"])
        units = None if header.get("units") is None else {str(name): str(unit) for name, unit in header["units"].items()}
        return Saved(asset, kind, contract, window, conditions, int(arrays["next_offset"][0]), arrays, schema, units)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointRefused(f"a checkpoint lacks {error}; {checkpoint_bytes.WAY_OUT}") from error


def restore_twin(saved: Saved, arena: Arena, scorer: TypeScorer, row: int) -> None:
    """Put a twin's state into a fresh row. Raises CheckpointRefused and leaves the row fresh when it does not fit."""
    if saved.contract != arena.type.contract or saved.window != arena.window:
        raise CheckpointRefused(
            f"checkpoint of {saved.asset!r} was written for contract {saved.contract} and window {saved.window}, "
            f"expected {arena.type.contract} and {arena.window}; {checkpoint_bytes.WAY_OUT}"
        )
    arrays = saved.arrays
    try:
        learnt = {
            kind: {
                name: arrays[f"{kind}.{name}"].reshape(array.shape[1:])
                for name, array in state.arrays.items()
                if f"{kind}.{name}" in arrays and arrays[f"{kind}.{name}"].size == array[0].size
            }
            for kind, state in scorer.learnt.items()
        }
        onset, last_on = arrays["conditions.onset"], arrays["conditions.last_on"]
        if not len(saved.conditions) == len(onset) == len(last_on):
            raise CheckpointRefused(f"{len(saved.conditions)} conditions have {len(onset)} onsets and {len(last_on)} ends")
        restore_row(arena, arena.window, row, arrays)
        for kind, state in scorer.learnt.items():
            state.restore(row, learnt[kind])
    except (CheckpointRefused, ValueError, KeyError) as error:
        arena.clear(row)
        raise CheckpointRefused(f"checkpoint of {saved.asset!r}: {error}; {checkpoint_bytes.WAY_OUT}") from error
    scorer.conditions.restore(row, saved.conditions, onset, last_on)

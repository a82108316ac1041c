"""The asset ids of an Arrow dictionary, looked at once: a source sends the same dictionary with every record.

In:   the dictionary of an asset column.
Out:  its usable names, each once, and which of them each entry is.
Pure: what is kept saves time only; its size is bounded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.formats.readings import is_asset

_MOST_KEPT = 128  # dictionaries
_LARGEST_KEPT = 64 * 1024  # bytes
Named = tuple[tuple[str, ...], NDArray[np.int64]]


def asset_names(dictionary: pa.Array) -> Named:
    """K names, and the number of each entry among them; one number more at the end: -1 for a row without an entry.

    Entries that can be no asset's id are -1 too.

    >>> names, numbers = asset_names(pa.array(["p1", "", "p2", "p1", None]))
    >>> names, numbers.tolist()
    (('p1', 'p2'), [0, -1, 1, 0, -1, -1])
    """
    held = dictionary.buffers()
    plain = pa.types.is_string(dictionary.type) or pa.types.is_large_string(dictionary.type)
    if not plain or sum(buffer.size for buffer in held if buffer is not None) > _LARGEST_KEPT:
        return _named(dictionary.to_pylist())
    buffers = tuple(None if buffer is None else buffer.to_pybytes() for buffer in held)
    return _kept(str(dictionary.type), len(dictionary), dictionary.offset, buffers)


@lru_cache(_MOST_KEPT)
def _kept(kind: str, length: int, offset: int, buffers: tuple[bytes | None, ...]) -> Named:
    held = [None if one is None else pa.py_buffer(one) for one in buffers]
    found = pa.Array.from_buffers(pa.type_for_alias(kind), length, held, offset=offset)
    return _named(found.to_pylist())


def _named(entries: list[Any]) -> Named:
    number_of: dict[str, int] = {}
    numbers = [number_of.setdefault(name, len(number_of)) if is_asset(name) else -1 for name in entries]
    found = np.array([*numbers, -1], np.int64)
    found.flags.writeable = False  # it may be kept
    return tuple(number_of), found

"""Files of twin types: read them, check them, say what is wrong with each.

In:   JSON files of one interface or a list of them, or folders of such files.
Out:  `TypeSet`; a file that is no JSON is a finding like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from twin.errors import TypeInvalid
from twin.findings import Finding
from twin.type_sets import TypeSet, compile_set

MOST_BYTES = 16 << 20  # of one file


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the .json files under them.

    Raises:
        TypeInvalid: a path is not there, or a folder holds no .json file.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not inside or not path.exists():
            what = "no .json file in it" if path.exists() else "no such file or folder"
            raise TypeInvalid(f"{path}: {what}, expected DTDL interfaces as JSON; nothing was checked")
        found += inside
    return found


def read_types(files: Iterable[Path]) -> TypeSet:
    """Compile all files as one set: they may refer to each other."""
    documents: list[tuple[str | None, object]] = []
    unreadable: list[Finding] = []
    for file in files:
        try:
            if file.stat().st_size > MOST_BYTES:
                raise ValueError(f"{file.stat().st_size} bytes, expected {MOST_BYTES} at most")
            documents.append((str(file), orjson.loads(file.read_bytes())))
        except (OSError, ValueError) as error:
            unreadable.append(Finding("error", "?", "", f"no JSON ({error})", "a DTDL interface, or a list of them", str(file)))
    found = compile_set(documents)
    found.findings[:0] = unreadable
    return found

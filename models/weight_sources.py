"""Weights that were announced on another machine: looked for in several places, and told by their hash, wherever they lie.

In:   the address and the sha256 that `models` names.
Out:  the bytes of the file, and where they lay.

Looked at are the address itself, where it is a `file://` of this machine or http(s); `<home>/models`; and `elsewhere`, a folder
or an http(s) address with `<model>/<version>.safetensors` below it, as `<home>/models` has them. What came over the network is
kept under `<home>/weights`, so that a restart needs nobody.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from models.port import VersionRefused
from models.weights import SUFFIX

_FETCH_S = 10.0  # without a byte
MOST_BYTES = 1 << 28
_KEPT = 64  # fetched files, newest


class WeightSources:
    """Where one process looks. Calls block.

    Args:
        home: the data folder of this process; None: nothing is looked for there, and nothing is kept.
        elsewhere: a folder, `file://`, `http://` or `https://`; empty: none.
    """

    def __init__(self, home: Path | None = None, elsewhere: str = "") -> None:
        self._home = home
        self._elsewhere = elsewhere.rstrip("/")

    def read(self, uri: str, sha256: str) -> tuple[bytes, str]:
        """The file with this hash, and where it lay; a file that lies there with another hash where there is none.

        Raises:
            VersionRefused: missing, with all the places that were looked at.
        """
        kept = self._home / "weights" / f"{sha256}{SUFFIX}" if self._home is not None else None
        other: tuple[bytes, str] | None = None
        tried: list[str] = []
        for place in dict.fromkeys(self._places(uri, kept)):
            try:
                found = _fetched(place) if place.startswith("http") else Path(place).read_bytes()
            except (OSError, ValueError) as error:
                tried.append(f"{place} ({_why(error)})")
                continue
            if hashlib.sha256(found).hexdigest() == sha256:
                if kept is not None and place.startswith("http"):
                    _keep(kept, found)
                return found, place
            other = other or (found, place)
        if other is not None:
            return other
        raise VersionRefused(
            "missing",
            f"weights {uri} are not here, looked at: {', '.join(tried) or 'nothing'}; share the folder `models` of the trainer's "
            "LIVETWIN_HOME, or name it, or an http address of it, in LIVETWIN_WEIGHTS",
        )

    def _places(self, uri: str, kept: Path | None) -> Iterator[str]:
        parts = urlsplit(uri)
        below = "/".join(unquote(parts.path).split("/")[-2:])  # <model>/<version>.safetensors
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            yield unquote(parts.path)
        if kept is not None and kept.exists():
            yield str(kept)
        if self._home is not None:
            yield str(self._home / "models" / below)
        if self._elsewhere.startswith(("http://", "https://")):
            yield f"{self._elsewhere}/{quote(below)}"
        elif self._elsewhere:
            folder = unquote(urlsplit(self._elsewhere).path) if self._elsewhere.startswith("file:") else self._elsewhere
            yield str(Path(folder).expanduser() / below)
        if parts.scheme in ("http", "https"):
            yield uri


def _fetched(address: str) -> bytes:
    """Raises OSError: nobody answers, or not with a file; ValueError: no address, or more than a version can be."""
    with urllib.request.urlopen(address, timeout=_FETCH_S) as answer:
        found: bytes = answer.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return found


def _keep(path: Path, payload: bytes) -> None:
    """Best effort: a disk that is full only costs another fetch."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(payload)
        os.replace(temporary, path)
        for old in sorted(path.parent.glob(f"[!.]*{SUFFIX}"), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        temporary.unlink(missing_ok=True)


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return getattr(error, "strerror", None) or str(error)

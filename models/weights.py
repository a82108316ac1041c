"""Weight files: one safetensors file a version, under `<home>/models/<name>/<version>.safetensors`, its model card beside it.

In:   the name and id of a version, or a URI and sha256 that were announced.
Out:  its path; the file, only if it is there and is what was announced.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

from models.port import VersionRefused

SUFFIX = ".safetensors"
CUT_OFF_S = 3600.0  # a temporary file that nobody has written to for so long is what a crash left
CARDS = (".card.json", ".card.md")  # beside a version's weights: its model card
_NUMBERED = re.compile(r"^(\d+)(?:-|$)")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_number(version: str) -> int:
    """The running number a version id starts with; 0 where it has none.

    >>> version_number("0012-9f3a77c1"), version_number("by-hand")
    (12, 0)
    """
    found = _NUMBERED.match(version)
    return int(found[1]) if found else 0


def path_of(uri: str) -> Path:
    """The local path of a `file://` URI.

    Raises:
        VersionRefused: (missing) any other scheme; whoever is to load it must fetch it first.

    >>> path_of("file:///tmp/a%20b.safetensors").as_posix()
    '/tmp/a b.safetensors'
    """
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise VersionRefused(
            "missing", f"weights at {uri!r} not read: expected a file:// URI of this machine; nothing was loaded"
        )
    return Path(unquote(parts.path))


def _verified(path: Path, sha256: str) -> Path:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise VersionRefused(
            "missing", f"weights {path} not read: {error.strerror or error}; the version is not served"
        ) from error
    if found != sha256:
        raise VersionRefused(
            "hash", f"weights {path}: sha256 is {found[:12]}…, expected {sha256[:12]}…; the version is not served"
        )
    return path


class WeightFiles:
    """The weight files of one home folder."""

    def __init__(self, home: Path) -> None:
        self.root = (home / "models").absolute()

    def path(self, name: str, version: str) -> Path:
        """Where the weights of a version belong; `models.version.save` writes them there whole or not at all."""
        return self.root / name / f"{version}{SUFFIX}"

    def verify(self, uri: str, sha256: str) -> Path:
        """The file that was announced, where it was announced, or here by its name: a home folder may have moved.

        Raises:
            VersionRefused: missing, or hash.
        """
        announced = path_of(uri)
        here = self.root / announced.parent.name / announced.name
        return _verified(here if not announced.is_file() and here.is_file() else announced, sha256)

    def hold(self, uri: str, sha256: str) -> bool:
        """Whether weights are here as they were announced."""
        try:
            self.verify(uri, sha256)
        except VersionRefused:
            return False
        return True

    def versions(self, name: str) -> list[str]:
        """Versions whose file is there, by number."""
        found = [path.name.removesuffix(SUFFIX) for path in (self.root / name).glob(f"[!.]*{SUFFIX}")]
        return sorted(found, key=lambda version: (version_number(version), version))

    def prune(self, name: str, *, keep: int, protect: Collection[str]) -> list[str]:
        """Delete all but the newest `keep` files and those in `protect`, and what crashes left; which versions went."""
        gone: list[str] = []
        for path in (self.root / name).glob(".*.tmp"):
            if time.time() - path.stat().st_mtime > CUT_OFF_S:
                path.unlink(missing_ok=True)  # whoever wrote it was killed
        for version in self.versions(name)[:-keep] if keep else self.versions(name):
            if version not in protect:
                for suffix in (SUFFIX, *CARDS):
                    (self.root / name / f"{version}{suffix}").unlink(missing_ok=True)
                gone.append(version)
        return gone

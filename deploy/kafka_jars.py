"""Apache Kafka's jars: pinned by coordinates and sha256 in `kafka_jars.lock`, fetched once, checked at every start.

In:   the lock file beside this one.
Out:  a folder of jars under the user's cache, shared by every run of this version.
Promise: no byte that is not pinned is run. The folder appears whole or not at all (written aside, then renamed); two first
starts at once fetch once.

A new version is pinned by `python -m deploy.kafka_jars VERSION`, which resolves it through Maven Central.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from deploy.kafka_errors import ANOTHER_BROKER, CacheDamaged, DiskFull, DownloadFailed, StartAbandoned
from deploy.lock import LockFile

LOCK = Path(__file__).with_suffix(".lock")
_KAFKA = "org.apache.kafka:kafka_2.13"
_LOG_API, _LOG_ADAPTER = "log4j-api", "log4j-slf4j-impl"  # without the adapter Kafka logs nothing
_LINES_AT_ONCE = 8
_FREE_BYTES = 200 * 2**20

Progress = Callable[[int, int, str], None]  # jars done, jars in all, the newest


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned artifact."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def pinned() -> list[Jar]:
    """What the lock file names."""
    jars = []
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def kafka_version() -> str:
    return next(jar.version for jar in pinned() if f"{jar.group}:{jar.artifact}" == _KAFKA)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/livetwin/kafka/<version>`, `~/.cache` where that is unset."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "livetwin" / "kafka" / kafka_version()


def ready_jars(folder: Path, progress: Progress | None = None) -> list[Path]:
    """The jars in `folder`, fetched if the folder is not there yet, each checked.

    Raises:
        DownloadFailed: not in the cache, and Maven Central does not answer.
        CacheDamaged: a jar in the cache differs from the pinned one.
        DiskFull: no room for them.
    """
    jars = pinned()
    if not folder.exists():
        lock = LockFile(folder.parent / f".{folder.name}.lock", wait_s=600)
        try:
            if not folder.exists():
                _fetch(jars, folder, progress)
        finally:
            lock.release()
    with ThreadPoolExecutor(2) as pool:
        sums = list(pool.map(_sha256, (folder / jar.file_name for jar in jars)))
    for jar, found in zip(jars, sums, strict=True):
        if found != jar.sha256:
            raise CacheDamaged(
                f"{folder / jar.file_name}: {'is missing' if found is None else f'sha256 is {found}'}, expected {jar.sha256}; "
                f"Kafka was not started. Delete the folder {folder}, the next start fetches it again, {ANOTHER_BROKER}"
            )
    return [folder / jar.file_name for jar in jars]


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _fetch(jars: Sequence[Jar], folder: Path, progress: Progress | None) -> None:
    """Fetch into a folder beside `folder`, check, rename."""
    free = shutil.disk_usage(folder.parent).free
    if free < _FREE_BYTES:
        raise DiskFull(
            f"{folder.parent}: {free // 2**20} MiB free, expected {_FREE_BYTES // 2**20} MiB for Kafka's jars; nothing was "
            f"fetched. Free some space or set XDG_CACHE_HOME to a folder on another disk"
        )
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        whole = aside / "jars"
        whole.mkdir()
        try:
            _through_jgo(jars, aside / "repository", whole, progress)
        except StartAbandoned:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise DiskFull(
                    f"{folder.parent}: no space left while fetching Kafka's jars; nothing was kept. Free some space, start again"
                ) from error
            _through_mvn(jars, aside, whole, error)
        for jar in jars:
            found = _sha256(whole / jar.file_name)
            if found != jar.sha256:
                raise DownloadFailed(
                    f"{jar.coordinates}: what was fetched has sha256 {found}, expected {jar.sha256}; nothing was kept. Something "
                    f"between this machine and Maven Central changes files: fetch it elsewhere into {folder}, {ANOTHER_BROKER}"
                )
        whole.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _through_jgo(jars: Sequence[Jar], repository: Path, into: Path, progress: Progress | None) -> None:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=repository, timeout=20)

    def fetch(jar: Jar) -> Jar:
        path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        path.rename(into / jar.file_name)
        return jar

    with ThreadPoolExecutor(_LINES_AT_ONCE) as pool:
        running = [pool.submit(fetch, jar) for jar in jars]
        try:
            for done, future in enumerate(as_completed(running), 1):
                jar = future.result()
                if progress:
                    progress(done, len(jars), jar.file_name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _through_mvn(jars: Iterable[Jar], aside: Path, into: Path, cause: Exception) -> None:
    """The other way, for machines that reach Maven Central only through a mirror in mvn's settings."""
    why = f"Kafka's jars: Maven Central does not answer ({_first_line(cause)})"
    then = (
        f"nothing was fetched. The first start needs the network once (44 MB): connect and start again, copy {cache_folder()} "
        f"from a machine that has it, {ANOTHER_BROKER}"
    )
    mvn = shutil.which("mvn")
    if mvn is None:
        raise DownloadFailed(f"{why}, and mvn is not installed; {then}") from cause
    project = ElementTree.Element("project")
    for key, value in {"modelVersion": "4.0.0", "groupId": "livetwin", "artifactId": "kafka", "version": "1"}.items():
        ElementTree.SubElement(project, key).text = value
    wanted = ElementTree.SubElement(project, "dependencies")
    for jar in jars:
        dependency = ElementTree.SubElement(wanted, "dependency")
        for key, value in {"groupId": jar.group, "artifactId": jar.artifact, "version": jar.version}.items():
            ElementTree.SubElement(dependency, key).text = value
        everything = ElementTree.SubElement(ElementTree.SubElement(dependency, "exclusions"), "exclusion")
        ElementTree.SubElement(everything, "groupId").text = "*"
        ElementTree.SubElement(everything, "artifactId").text = "*"
    ElementTree.ElementTree(project).write(aside / "pom.xml")
    copied = subprocess.run(
        [mvn, "-q", "-B", "-f", str(aside / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={into}"],
        capture_output=True,
        text=True,
    )
    if copied.returncode != 0:
        raise DownloadFailed(f"{why}, and mvn failed too ({_first_line(copied.stdout or copied.stderr)}); {then}") from cause


def _first_line(text: object) -> str:
    return next(iter(str(text).strip().splitlines()), type(text).__name__)[:200]


def pin(version: str) -> list[Jar]:
    """Resolve a Kafka version with all it needs to run, fetch it, and write the lock file."""
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        inputs, needed = context.resolver.resolve([context.create_dependency(f"{_KAFKA}:{version}")])
        artifacts = [dependency.artifact for dependency in [*inputs, *needed]]
        api = next(artifact for artifact in artifacts if artifact.artifactId == _LOG_API)
        artifacts.append(context.project(api.groupId, _LOG_ADAPTER).at_version(api.version).artifact())
        jars = [Jar(found.groupId, found.artifactId, found.version, _sha256(found.resolve()) or "") for found in artifacts]
    jars.sort(key=lambda jar: jar.coordinates)
    lines = [f"{jar.coordinates} {jar.sha256}" for jar in jars]
    LOCK.write_text("# written by `python -m deploy.kafka_jars VERSION`\n" + "\n".join(lines) + "\n")
    return jars


if __name__ == "__main__":
    sys.stdout.write(f"{len(pin(sys.argv[1]))} jars pinned\n")

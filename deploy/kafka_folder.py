"""The data folder of the embedded broker: taken by one, on a disk with room, of our own cluster, formatted once.

`<home>/kafka` holds `lock` (the broker's pid), `cluster.json` (cluster id, newest Kafka that wrote here), `data` (Kafka's own).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from deploy.kafka_config import NODE_ID
from deploy.kafka_errors import ANOTHER_BROKER, BrokerDidNotStart, DataFolderRefused, DiskFull
from deploy.kafka_java import Java
from deploy.lock import LockFile, LockHeld


def take_folder(folder: Path, *, wait_s: float) -> LockFile:
    """The lock of the folder, held until the broker's last process ended.

    Raises:
        DataFolderRefused: a broker has it, also after `wait_s`.
    """
    try:
        return LockFile(folder / "lock", wait_s=wait_s)
    except LockHeld as held:
        raise DataFolderRefused(
            f"{folder}: in use by the broker with pid {held.pid}; Kafka was not started. Stop that one, choose another "
            f"LIVETWIN_HOME, {ANOTHER_BROKER}"
        ) from held


def refuse_full_disk(folder: Path, min_free_mib: int) -> None:
    free_mib = shutil.disk_usage(folder).free // 2**20
    if free_mib < min_free_mib:
        raise DiskFull(
            f"{folder}: {free_mib} MiB free, expected at least {min_free_mib} MiB; Kafka was not started. "
            f"Free some space, choose a LIVETWIN_HOME on another disk, {ANOTHER_BROKER}"
        )


def disk_full(folder: Path) -> DiskFull:
    """The error for a disk that filled up under a broker."""
    free_mib = shutil.disk_usage(folder).free // 2**20
    return DiskFull(
        f"{folder}: no space left on the disk ({free_mib} MiB free now); Kafka stopped, what was acknowledged is kept. "
        f"Free some space and start again, choose a LIVETWIN_HOME on another disk, {ANOTHER_BROKER}"
    )


def format_once(folder: Path, *, java: Java, classpath: str, properties: Path, version: str) -> None:
    """Make `folder/data` a data folder of our cluster, unless it is one.

    Raises:
        DataFolderRefused: it belongs to another cluster, or a newer Kafka wrote to it; nothing was changed.
        DiskFull: no room to format it.
    """
    card, meta = folder / "cluster.json", folder / "data" / "meta.properties"
    ours = json.loads(card.read_text()) if card.exists() else None
    if meta.exists():
        _refuse_foreign(meta, ours, version)
    cluster_id = ours["cluster_id"] if ours else urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if not ours or ours["kafka_version"] != version:
        card.write_text(json.dumps({"cluster_id": cluster_id, "kafka_version": version}) + "\n")
    if meta.exists():
        return
    tool: list[str | Path] = [
        java.path,
        "-Xmx64m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        classpath,
        "kafka.tools.StorageTool",
    ]
    formatted = subprocess.run(
        [*tool, "format", f"--cluster-id={cluster_id}", "--config", properties, "--ignore-formatted"],
        capture_output=True,
        text=True,
    )
    if formatted.returncode != 0:
        said = formatted.stdout + formatted.stderr
        if "No space left" in said:
            raise disk_full(folder)
        raise BrokerDidNotStart(f"{folder}: could not be formatted: {said.strip()[-500:]}; Kafka was not started")


def _refuse_foreign(meta: Path, ours: dict[str, str] | None, version: str) -> None:
    found = dict(line.split("=", 1) for line in meta.read_text().splitlines() if "=" in line)
    cluster, node = found.get("cluster.id"), found.get("node.id")
    if ours is None or cluster != ours["cluster_id"] or node != str(NODE_ID):
        expected = ours["cluster_id"] if ours else "one that livetwin made"
        raise DataFolderRefused(
            f"{meta.parent}: belongs to cluster {cluster}, node {node}; expected cluster {expected}, node {NODE_ID}; nothing was "
            f"changed. Move that folder away, choose another LIVETWIN_HOME, {ANOTHER_BROKER}"
        )
    if _numbers(ours["kafka_version"]) > _numbers(version):
        raise DataFolderRefused(
            f"{meta.parent}: written by Kafka {ours['kafka_version']}, this is {version}, which can't go back; nothing was "
            f"changed. Use the newer livetwin, choose another LIVETWIN_HOME, {ANOTHER_BROKER}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))

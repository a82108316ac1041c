"""Apache Kafka itself as a supervised child: KRaft mode, one node, 127.0.0.1 only.

In:   a home folder (data under `<home>/kafka`, logs under `<home>/logs`) and a port, 0 for any free one.
Out:  `bootstrap`, once a metadata request was answered.
Promises: data survives restarts; `stop` is clean; no Java process outlives this one, kill -9 included (see `deploy.guard`).
Topics are not created on first use: see `deploy.topics`.

    with EmbeddedKafka(home, port=0) as kafka:
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType

import psutil

from deploy.guard import Guarded
from deploy.kafka_config import HOST, NODE_ID, jvm_options, log4j2_properties, server_properties
from deploy.kafka_errors import ANOTHER_BROKER, BrokerDidNotStart, DataFolderRefused, DiskFull, PortTaken
from deploy.kafka_jars import Progress, cache_folder, kafka_version, ready_jars
from deploy.kafka_java import Java, find_java
from deploy.kafka_probe import answers
from deploy.lock import LockFile, LockHeld

_STOP_S = 20.0


class EmbeddedKafka:
    """One broker. Start and stop block; from a running event loop call them through `asyncio.to_thread`."""

    def __init__(
        self,
        home: Path,
        *,
        port: int = 9092,
        heap_mib: int = 384,
        min_free_mib: int = 256,
        start_timeout_s: float = 90.0,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            port: of the broker on 127.0.0.1; 0: any free one.
            min_free_mib: free space below which it does not start.
            cache: folder of the jars; None: the user's cache.
            progress: called with each jar fetched on a first start.
        """
        self.folder = home.absolute() / "kafka"
        self.log = home.absolute() / "logs" / "kafka.log"
        self._console = home.absolute() / "logs" / "kafka.console.log"
        self._port = port
        self._heap_mib = heap_mib
        self._min_free_mib = min_free_mib
        self._start_timeout_s = start_timeout_s
        self._cache = cache
        self._progress = progress
        self._process: Guarded | None = None
        self._lock: LockFile | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """HOST:PORT for clients."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the Java process."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or was never started."""
        return self._process.exit_code if self._process else None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            KafkaUnavailable: one of its kinds, saying what to do; nothing is left running.
        """
        java = find_java()
        self._lock = self._take_folder()
        try:
            self._refuse_full_disk()
            self._refuse_taken_port()
            jars = ready_jars(self._cache or cache_folder(), self._progress)
            self._process = self._run(java, jars)
            self._lock.write_pid(self._process.pid)
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self, grace_s: float = _STOP_S) -> None:
        """SIGTERM, after the grace SIGKILL. Safe to call twice."""
        if self._process:
            self._process.stop(grace_s)
            self._process = None
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> EmbeddedKafka:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # ── before it starts ────────────────────────────────────────────────────────────────────────────────────────────

    def _take_folder(self) -> LockFile:
        try:
            return LockFile(self.folder / "lock", wait_s=_STOP_S)  # one that lost its parent needs seconds to stop
        except LockHeld as held:
            raise DataFolderRefused(
                f"{self.folder}: in use by the broker with pid {held.pid}; Kafka was not started. Stop that one, choose another "
                f"LIVETWIN_HOME, {ANOTHER_BROKER}"
            ) from held

    def _refuse_full_disk(self) -> None:
        free_mib = shutil.disk_usage(self.folder).free // 2**20
        if free_mib < self._min_free_mib:
            raise DiskFull(
                f"{self.folder}: {free_mib} MiB free, expected at least {self._min_free_mib} MiB; Kafka was not started. "
                f"Free some space, choose a LIVETWIN_HOME on another disk, {ANOTHER_BROKER}"
            )

    def _refuse_taken_port(self) -> None:
        if self._port == 0:
            self._port = _free_port()
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a broker just stopped left in TIME_WAIT is free
            try:
                probe.bind((HOST, self._port))
            except OSError as error:
                raise PortTaken(
                    f"port {self._port} on {HOST}: {error.strerror or error} ({_listener(self._port)}); Kafka was not started. "
                    f"Stop that process, choose another port by LIVETWIN_KAFKA_PORT, {ANOTHER_BROKER}"
                ) from error

    def _cluster_id(self, java: Java, classpath: str, properties: Path, data: Path) -> None:
        """Format the data folder once; refuse one that is not ours."""
        card = self.folder / "cluster.json"
        meta = data / "meta.properties"
        version = kafka_version()
        ours = json.loads(card.read_text()) if card.exists() else None
        if meta.exists():
            found = dict(line.split("=", 1) for line in meta.read_text().splitlines() if "=" in line)
            expected = ours["cluster_id"] if ours else "one made by livetwin"
            if ours is None or found.get("cluster.id") != expected or found.get("node.id") != str(NODE_ID):
                raise DataFolderRefused(
                    f"{data}: belongs to cluster {found.get('cluster.id')}, node {found.get('node.id')}; expected {expected}, node "
                    f"{NODE_ID}; nothing was changed. Choose another LIVETWIN_HOME, move that folder away, {ANOTHER_BROKER}"
                )
            if _numbers(ours["kafka_version"]) > _numbers(version):
                raise DataFolderRefused(
                    f"{data}: written by Kafka {ours['kafka_version']}, this is {version}, and going back is not possible; nothing was "
                    f"changed. Use the newer livetwin, choose another LIVETWIN_HOME, {ANOTHER_BROKER}"
                )
        cluster_id = ours["cluster_id"] if ours else urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not ours or ours["kafka_version"] != version:
            card.write_text(json.dumps({"cluster_id": cluster_id, "kafka_version": version}) + "\n")
        if meta.exists():
            return
        formatted = subprocess.run(
            [
                *(java.path, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "kafka.tools.StorageTool"),
                *("format", "--cluster-id", cluster_id, "--config", properties, "--ignore-formatted"),
            ],
            capture_output=True,
            text=True,
        )
        if formatted.returncode != 0:
            said = formatted.stdout + formatted.stderr
            if "No space left" in said:
                raise self._disk_full()
            raise BrokerDidNotStart(f"{data}: could not be formatted: {said.strip()[-500:]}; Kafka was not started")

    # ── starting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, java: Java, jars: list[Path]) -> Guarded:
        data = self.folder / "data"
        properties, log4j2 = self.folder / "server.properties", self.folder / "log4j2.properties"
        properties.write_text(server_properties(port=self._port, controller_port=_free_port(), data=data))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log4j2.write_text(log4j2_properties(self.log))
        classpath = ":".join(map(str, jars))
        self._cluster_id(java, classpath, properties, data)
        options = jvm_options(java_major=java.major, heap_mib=self._heap_mib, log4j2=log4j2)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        assert self._lock is not None
        with self._console.open("wb") as console:
            return Guarded(
                [str(java.path), *options, "-cp", classpath, "kafka.Kafka", str(properties)],
                grace_s=_STOP_S,
                output=console,
                keep_open=[self._lock.fd],
                folder=self.folder,
            )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not answers(self.bootstrap):
            if self.exit_code is not None:
                raise self.why_it_ended()
            if time.monotonic() > deadline:
                raise BrokerDidNotStart(
                    f"Kafka on {self.bootstrap}: no answer to a metadata request within {self._start_timeout_s:.0f} s; it was stopped. "
                    f"Its log is {self.log}"
                )
            time.sleep(0.05)

    # ── when it ended by itself ─────────────────────────────────────────────────────────────────────────────────────

    def why_it_ended(self) -> BrokerDidNotStart | DiskFull | PortTaken | DataFolderRefused:
        """The reason, as its log of this start tells it."""
        told = self._told()
        if "No space left on device" in told:
            return self._disk_full()
        if "Address already in use" in told:
            return PortTaken(
                f"port {self._port} on {HOST}: taken while Kafka started ({_listener(self._port)}); Kafka stopped. Start again, {ANOTHER_BROKER}"
            )
        if "Failed to acquire lock on file .lock" in told:
            return DataFolderRefused(
                f"{self.folder}: in use by another Kafka; this one stopped. Stop the other, choose another LIVETWIN_HOME, {ANOTHER_BROKER}"
            )
        last = " | ".join(line.strip()[:300] for line in told.splitlines() if "ERROR" in line or "FATAL" in line or "Error" in line)
        return BrokerDidNotStart(
            f"Kafka on {self.bootstrap}: ended with status {self.exit_code}: {last[-900:] or 'it said nothing'}. Its log is {self.log}"
        )

    def _told(self) -> str:
        text = ""
        for path, start in ((self.log, self._log_start), (self._console, 0)):
            if path.exists():
                size = path.stat().st_size
                with path.open("rb") as file:
                    file.seek(start if size >= start else 0)
                    text += file.read().decode(errors="replace")
        return text

    def _disk_full(self) -> DiskFull:
        free_mib = shutil.disk_usage(self.folder).free // 2**20
        return DiskFull(
            f"{self.folder}: no space left on the disk ({free_mib} MiB free); Kafka stopped, what was acknowledged is kept. "
            f"Free some space and start again, choose a LIVETWIN_HOME on another disk, {ANOTHER_BROKER}"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _listener(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                if connection.pid is None:
                    break
                return f"held by process {connection.pid}, {psutil.Process(connection.pid).name()}"
    except (psutil.Error, OSError):
        pass
    return "held by a process this user can't see"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))

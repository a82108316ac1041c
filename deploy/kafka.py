"""Apache Kafka itself as a supervised child: KRaft mode, one node, 127.0.0.1 only.

In:   a home folder (data under `<home>/kafka`, logs under `<home>/logs`) and a port, 0 for any free one.
Out:  `bootstrap`, once a metadata request was answered.
Promises: data survives restarts; `stop` is clean; no Java process outlives this one, kill -9 included (see `deploy.guard`).
Topics are not created on first use: see `deploy.topics`.

    with EmbeddedKafka(home, port=0) as kafka:
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from deploy.guard import Guarded
from deploy.kafka_config import jvm_options, log4j2_properties, server_properties
from deploy.kafka_errors import ANOTHER_BROKER, BrokerDidNotStart, DataFolderRefused, KafkaUnavailable, PortTaken, StartAbandoned
from deploy.kafka_folder import disk_full, format_once, refuse_full_disk, take_folder
from deploy.kafka_jars import Progress, cache_folder, kafka_version, ready_jars
from deploy.kafka_java import Java, find_java
from deploy.kafka_probe import answers
from deploy.lock import LockFile
from deploy.ports import HOST, free_port, listener, why_taken

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
        folder_wait_s: float = _STOP_S,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            port: of the broker on 127.0.0.1; 0: any free one.
            min_free_mib: free space below which it does not start.
            folder_wait_s: how long a broker that lost its parent may take to stop and let go of the folder.
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
        self._folder_wait_s = folder_wait_s
        self._cache = cache
        self._progress = progress
        self._process: Guarded | None = None
        self._lock: LockFile | None = None
        self._log_start = 0
        self._abandoned = False

    @property
    def bootstrap(self) -> str:
        """HOST:PORT for clients."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the Java process; None when it was not started or was stopped."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """Of a broker that ended by itself; None while it runs."""
        return self._process.exit_code if self._process else None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            KafkaUnavailable: one of its kinds, saying what to do; nothing is left running.
        """
        self._abandoned = False
        java = find_java()
        self._lock = take_folder(self.folder, wait_s=self._folder_wait_s)
        try:
            refuse_full_disk(self.folder, self._min_free_mib)
            self._choose_port()
            jars = ready_jars(self._cache or cache_folder(), self._tell)
            self._process = self._run(self._lock, java, jars)
            self._lock.write_pid(self._process.pid)
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self, grace_s: float = _STOP_S) -> None:
        """SIGTERM, after the grace SIGKILL. Safe to call twice; a `start` under way in another thread raises StartAbandoned."""
        self._abandoned = True
        if self._process:
            self._process.stop(grace_s)
            self._process = None
        if self._lock:
            self._lock.release()
            self._lock = None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until it ended; its exit status, or None when it still runs after `timeout_s` or was never started."""
        return self._process.wait(timeout_s) if self._process else None

    def kill(self) -> None:
        """End it now, also while it starts: `start` then raises StartAbandoned."""
        self._abandoned = True
        if self._process:
            self._process.kill()

    def __enter__(self) -> EmbeddedKafka:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _tell(self, done: int, of: int, newest: str) -> None:
        self._refuse_abandoned()
        if self._progress:
            self._progress(done, of, newest)

    def _refuse_abandoned(self) -> None:
        if self._abandoned:
            raise StartAbandoned(f"Kafka on {self.bootstrap}: told to end while it started; it does not run")

    def _choose_port(self) -> None:
        if self._port == 0:
            self._port = free_port()
            return
        reason = why_taken(self._port)
        if reason:
            raise PortTaken(
                f"port {self._port} on {HOST}: {reason}; Kafka was not started. "
                f"Stop that process, choose another port by LIVETWIN_KAFKA_PORT, {ANOTHER_BROKER}"
            )

    def _run(self, lock: LockFile, java: Java, jars: list[Path]) -> Guarded:
        properties, log4j2 = self.folder / "server.properties", self.folder / "log4j2.properties"
        properties.write_text(server_properties(port=self._port, controller_port=free_port(), data=self.folder / "data"))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log4j2.write_text(log4j2_properties(self.log))
        classpath = ":".join(map(str, jars))
        format_once(self.folder, java=java, classpath=classpath, properties=properties, version=kafka_version())
        options = jvm_options(java_major=java.major, heap_mib=self._heap_mib, log4j2=log4j2)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self._console.open("wb") as console:
            return Guarded(
                [str(java.path), *options, "-cp", classpath, "kafka.Kafka", str(properties)],
                grace_s=_STOP_S,
                output=console,
                keep_open=[lock.fd],
                folder=self.folder,
            )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not answers(self.bootstrap):
            self._refuse_abandoned()
            if self.exit_code is not None:
                raise self.why_it_ended()
            if time.monotonic() > deadline:
                raise BrokerDidNotStart(
                    f"Kafka on {self.bootstrap}: no answer to a metadata request within {self._start_timeout_s:.0f} s; it was "
                    f"stopped. Its log is {self.log}"
                )
            time.sleep(0.05)

    def why_it_ended(self) -> KafkaUnavailable:
        """The reason that the log of this start gives."""
        told = self._told()
        if "No space left on device" in told:
            return disk_full(self.folder)
        if "Address already in use" in told:
            return PortTaken(
                f"port {self._port} on {HOST}: taken while Kafka started ({listener(self._port)}); Kafka stopped. "
                f"Start again, {ANOTHER_BROKER}"
            )
        if "Failed to acquire lock on file .lock" in told:
            return DataFolderRefused(
                f"{self.folder}: in use by another Kafka; this one stopped. Stop the other, choose another LIVETWIN_HOME, "
                f"{ANOTHER_BROKER}"
            )
        last = [line.strip()[:300] for line in told.splitlines() if any(word in line for word in ("ERROR", "FATAL", "Error"))]
        return BrokerDidNotStart(
            f"Kafka on {self.bootstrap}: ended with status {self.exit_code}: {' | '.join(last[-3:]) or 'it said nothing'}. "
            f"Its log is {self.log}"
        )

    def _told(self) -> str:
        text = ""
        for path, start in ((self.log, self._log_start), (self._console, 0)):
            if path.exists():
                with path.open("rb") as file:
                    file.seek(start if path.stat().st_size >= start else 0)  # it may have been rotated
                    text += file.read().decode(errors="replace")
        return text

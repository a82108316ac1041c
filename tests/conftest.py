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

from deploy.kafka import EmbeddedKafka
from deploy.kafka_errors import KafkaUnavailable
from tests.influxdb_server import ORG, TOKEN, InfluxDbAddress, InfluxDbServer

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
    """A real `influxd`, built once a machine by `deploy/influxd_build.sh`; without it the test is skipped, in CI it fails."""
    script = Path(__file__).parents[1] / "deploy" / "influxd_build.sh"
    in_ci = os.environ.get("CI") == "true"
    built = subprocess.run([str(script), *([] if in_ci else ["--cached"])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if built.returncode != 0:
        reason = built.stderr.strip().splitlines()[-1]
        if in_ci:
            pytest.fail(f"no influxd: {reason}")
        pytest.skip(f"no influxd: {reason}; `deploy/influxd_build.sh` builds one")
    return Path(built.stdout.strip())


@pytest.fixture(scope="session")
def influxdb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDbAddress]:
    """A real InfluxDB 2, one for the whole run, its organisation and a token that may do everything in it.

    From LIVETWIN_TEST_INFLUXDB (URL) with LIVETWIN_TEST_INFLUXDB_TOKEN and _ORG, else a built `influxd`, else Docker.
    """
    url = os.environ.get("LIVETWIN_TEST_INFLUXDB")
    if url:
        org = os.environ.get("LIVETWIN_TEST_INFLUXDB_ORG", ORG)
        yield InfluxDbAddress(url, os.environ.get("LIVETWIN_TEST_INFLUXDB_TOKEN", TOKEN), org)
        return
    if _docker_answers():
        from testcontainers.influxdb2 import InfluxDb2Container

        with InfluxDb2Container("influxdb:2.7.12", org_name=ORG, init_mode="setup", admin_token=TOKEN, bucket="tests") as container:
            yield InfluxDbAddress(container.get_url(), TOKEN, ORG)
        return
    server = InfluxDbServer(request.getfixturevalue("influxdb_binary"), tmp_path_factory.mktemp("influxdb"))
    try:
        yield server.onboarded()
    finally:
        server.stop()

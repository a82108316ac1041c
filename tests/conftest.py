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

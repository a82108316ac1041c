"""One gateway for the room's tests: the real app as its own process, a real broker with a plant's records, a DuckDB store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.topics import ensure_topics
from streams.topics import Topics
from tests.streams.gateway import plant

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Running:
    """A gateway that answers."""

    url: str
    bootstrap: str
    topics: Topics
    plant: plant.Plant
    home: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gateway_process(bootstrap: str, prefix: str, home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start it as the wiring does; stop it with SIGTERM at the end."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.streams.gateway.plant", bootstrap, prefix, str(port), str(home)]
    # without this pytest's own variables NiceGUI would think that it is under test
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | {"OMP_NUM_THREADS": "1"}
    with (home / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def await_answer(url: str, *, status: int, within_s: float = 120.0) -> httpx.Response:
    """The first answer with this status; the last one seen when it does not come."""
    deadline = time.monotonic() + within_s
    seen = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, timeout=5)
            if answer.status_code == status:
                return answer
            seen = f"{answer.status_code} {answer.text[:200]}"
        except httpx.TransportError as error:
            seen = repr(error)
        time.sleep(0.3)
    raise AssertionError(f"{url}: {seen}, expected {status} within {within_s} s")


@contextlib.contextmanager
def filled_gateway(kafka: str, home: Path) -> Iterator[Running]:
    """A gateway on topics of its own, whose views are caught up and whose historian has written the plant's history."""
    topics = Topics(f"g{uuid.uuid4().hex[:10]}.")
    made = plant.make()

    async def fill() -> None:
        await ensure_topics(kafka, topics, plant.PARTITIONS)
        await plant.publish(kafka, topics, made)

    asyncio.run(fill())
    with gateway_process(kafka, topics.prefix, home) as (url, process):
        await_answer(f"{url}/readyz", status=200)
        steps = sum(len(block) for block in made.blocks)
        deadline = time.monotonic() + 120
        while not _written(httpx.get(f"{url}/v1/system", timeout=10).json(), steps, topics.history):
            assert time.monotonic() < deadline, "the gateway did not tell within 120 s that the plant's history is written"
            time.sleep(0.3)
        yield Running(url, kafka, topics, made, home, process)


def _written(system: dict[str, Any], steps: int, topic: str) -> bool:
    """So many steps are in the store, and the broker knows it."""
    if system["historian"] is None or system["lag"] is None or system["historian"]["rows_written"] < steps:
        return False
    return bool(system["lag"]["historian"]["records"][topic] == 0)


@pytest.fixture(scope="session")
def running(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests that leave the plant's records as they are."""
    with filled_gateway(kafka, tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium, or a skip that says so; in CI it must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium found, expected one in CI: apt-get install chromium")
        pytest.skip("no Chromium found: the page is not tried in a browser")
    return found

"""Without a broker the gateway is up, says what it waits for, and ends when told to."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import httpx

from tests.streams.gateway.conftest import await_answer, free_port, gateway_process


def test_without_a_broker_it_answers_with_what_it_waits_for_and_stops_cleanly(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with gateway_process(nobody, "none.", tmp_path) as (url, process):
        await_answer(f"{url}/healthz", status=200)
        for path in ("/readyz", "/v1/twins", "/v1/alerts", "/v1/models", "/v1/demo/faults"):
            answer = httpx.get(url + path, timeout=5)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
            assert nobody in answer.json()["detail"]
        sent = httpx.post(f"{url}/v1/telemetry", json={"asset": "p1", "time": 1, "flow": 1}, timeout=30)
        assert sent.status_code == 503
        assert "sending them again is safe" in sent.json()["detail"]
        page = httpx.get(f"{url}/", timeout=10)
        assert page.status_code == 200
        assert "does not" in page.text
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 15


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    import subprocess
    import sys

    from tests.streams.gateway.conftest import ROOT

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tests.streams.gateway.plant", "127.0.0.1:9", "none.", str(port), str(tmp_path)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert f"127.0.0.1:{port}, taken" in ended.stderr
    assert "LIVETWIN_GATEWAY_PORT" in ended.stderr

"""The gateway serves the weights of its data folder to processors on other machines, and nothing else of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from models.port import VersionRefused
from models.weight_sources import WeightSources

from .conftest import Running

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WEIGHTS = b"weights of a version"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def test_a_processor_elsewhere_finds_weights_at_the_gateway(http: httpx.Client, running: Running, tmp_path: Path) -> None:
    path = running.home / "models" / "water.tank" / "0001-aa.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(WEIGHTS)
    sources = WeightSources(tmp_path, f"{running.url}/weights")
    announced = "file:///gone/models/water.tank/0001-aa.safetensors"
    assert sources.read(announced, SHA256) == (WEIGHTS, f"{running.url}/weights/water.tank/0001-aa.safetensors")
    with pytest.raises(VersionRefused, match="HTTP 404"):
        sources.read(announced.replace("0001-aa", "0002-bb"), "0" * 64)
    (running.home / "secret.txt").write_text("not for others")
    for outside in ("/weights/../secret.txt", "/weights/%2e%2e/secret.txt", "/weights/"):
        assert b"not for others" not in http.get(outside).content

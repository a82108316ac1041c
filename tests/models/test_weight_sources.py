"""Weights that were announced on another machine are found by their hash, wherever they lie; or it is told where they are not."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.port import VersionRefused
from models.weight_sources import WeightSources

NAME = "water.tank/0001-a b.safetensors"
WEIGHTS = b"weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The file as another machine has it, in its folder `models`."""
    path = tmp_path / "another machine" / "models" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    return path


@pytest.fixture
def served(there: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(there.parents[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def announced(folder: Path) -> str:
    """As it was named by a machine whose folder is not here."""
    return (folder / "gone" / "models" / NAME).as_uri()


def test_a_file_that_lies_where_it_was_announced_is_read_there(there: Path) -> None:
    assert WeightSources().read(there.as_uri(), SHA256) == (WEIGHTS, str(there))


def test_a_shared_folder_may_be_mounted_anywhere(tmp_path: Path, there: Path) -> None:
    for elsewhere in (str(there.parents[1]), there.parents[1].as_uri() + "/"):
        assert WeightSources(tmp_path / "home", elsewhere).read(announced(tmp_path), SHA256) == (WEIGHTS, str(there))
    assert WeightSources(there.parents[2]).read(announced(tmp_path), SHA256) == (WEIGHTS, str(there)), "<home>/models"


def test_what_came_over_the_network_is_kept(tmp_path: Path, there: Path, served: str) -> None:
    sources = WeightSources(tmp_path / "home", served)
    payload, origin = sources.read(announced(tmp_path), SHA256)
    assert (payload, origin) == (WEIGHTS, f"{served}/water.tank/0001-a%20b.safetensors")
    there.unlink()
    assert sources.read(announced(tmp_path), SHA256)[0] == WEIGHTS
    with pytest.raises(VersionRefused, match="HTTP 404"):
        WeightSources(tmp_path / "another home", served).read(announced(tmp_path), SHA256)


def test_a_file_with_another_hash_yields_to_one_with_the_right(tmp_path: Path, there: Path) -> None:
    wrong = tmp_path / "home" / "models" / NAME
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"weigh")
    assert WeightSources(tmp_path / "home", str(there.parents[1])).read(announced(tmp_path), SHA256)[0] == WEIGHTS
    assert WeightSources(tmp_path / "home").read(announced(tmp_path), SHA256) == (b"weigh", str(wrong)), (
        "whoever loads it refuses it"
    )


@pytest.mark.parametrize("uri", ["file:///gone/models/m/1.safetensors", "s3://bucket/m/1.safetensors", "", "m/1.safetensors"])
def test_what_is_nowhere_is_refused_with_the_places_and_the_way_out(tmp_path: Path, uri: str) -> None:
    with pytest.raises(VersionRefused) as refused:
        WeightSources(tmp_path, "http://127.0.0.1:9").read(uri, SHA256)
    assert refused.value.reason == "missing"
    for part in (uri, str(tmp_path / "models"), "http://127.0.0.1:9", "LIVETWIN_WEIGHTS"):
        assert part in str(refused.value)

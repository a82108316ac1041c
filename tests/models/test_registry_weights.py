"""Weight files: whole or not there, and only what was announced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.port import VersionRefused
from models.weights import WeightFiles, path_of


def placed(files: WeightFiles, number: int, weights: bytes = b"weights") -> tuple[str, str]:
    path = files.path("water.tank", f"{number:04d}-aa")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    return path.as_uri(), hashlib.sha256(weights).hexdigest()


def test_an_announced_file_is_found_by_its_uri(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path / "a home with spaces")
    uri, sha256 = placed(files, 1)
    assert files.verify(uri, sha256).read_bytes() == b"weights"


def test_a_home_that_has_moved_has_its_files_all_the_same(tmp_path: Path) -> None:
    uri, sha256 = placed(WeightFiles(tmp_path / "before"), 1)
    (tmp_path / "before").rename(tmp_path / "after")
    assert WeightFiles(tmp_path / "after").verify(uri, sha256).is_relative_to(tmp_path / "after")
    with pytest.raises(VersionRefused, match="before/models"):
        WeightFiles(tmp_path / "elsewhere").verify(uri, sha256)


def test_changed_truncated_or_missing_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path)
    uri, sha256 = placed(files, 1)
    path_of(uri).write_bytes(b"weigh")
    with pytest.raises(VersionRefused, match=r"sha256 is .* expected") as changed:
        files.verify(uri, sha256)
    path_of(uri).unlink()
    with pytest.raises(VersionRefused, match="No such file") as missing:
        files.verify(uri, sha256)
    with pytest.raises(VersionRefused, match="expected a file:// URI") as elsewhere:
        files.verify("s3://bucket/weights", sha256)
    assert [raised.value.reason for raised in (changed, missing, elsewhere)] == ["hash", "missing", "missing"]


def test_a_file_that_is_still_being_written_is_no_version(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path)
    placed(files, 1)
    files.path("water.tank", "0001-aa").with_name(".0002-bb.safetensors.17.tmp").write_bytes(b"half a fi")
    assert files.versions("water.tank") == ["0001-aa"]


def test_pruning_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path)
    for number in (1, 2, 3, 4, 10, 9):
        placed(files, number)
    assert files.prune("water.tank", keep=2, protect={"0002-aa"}) == ["0001-aa", "0003-aa", "0004-aa"]
    assert files.versions("water.tank") == ["0002-aa", "0009-aa", "0010-aa"]
    assert files.prune("water.pump", keep=2, protect=()) == []

"""A version file is read whole and right, or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models import version
from models.port import VersionRefused
from models.served import ServedModel
from models.training import Trained
from tests.models.fleets import bits, windows_of
from twin.block import StepBlock


@pytest.fixture
def path(trained: Trained, tmp_path: Path) -> Path:
    version.save(trained.model, tmp_path / "v.safetensors")
    return tmp_path / "v.safetensors"


def reason(path: Path, **expected: str | float) -> str:
    with pytest.raises(VersionRefused, match="the version before keeps serving") as refused:
        version.load(path, **expected)  # type: ignore[arg-type]
    return refused.value.reason


def broken(trained: Trained, path: Path, **changes: object) -> Path:
    """The version written with some tensor or field changed."""
    model = version.decode(trained.payload)
    info = replace(model.info, **{name: value for name, value in changes.items() if name != "tensor"})  # type: ignore[arg-type]
    if "tensor" in changes:
        tensor = model.detectors.state_dict()[str(changes["tensor"])]
        tensor[(0,) * tensor.dim()] = torch.nan
    path.write_bytes(version.encode(info, model.detectors))
    return path


def test_what_was_saved_scores_the_same_bits_after_loading(trained: Trained, path: Path, block: StepBlock) -> None:
    loaded = version.load(path, expect_sha256=trained.model.sha256, expect_contract=trained.model.contract)
    windows = windows_of(loaded, block, 40)
    assert bits(loaded.score(*windows)) == bits(trained.model.score(*windows))
    assert loaded.info == trained.model.info


def test_the_hash_is_that_of_the_file_and_saving_again_changes_nothing(trained: Trained, path: Path) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == trained.model.sha256
    assert version.save(trained.model, path) == trained.model.sha256
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path / "nothing") == "missing"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    payload = path.read_bytes()
    path.write_bytes(payload[: int(len(payload) * share)])
    assert reason(path, expect_sha256=hashlib.sha256(payload).hexdigest()) == "truncated"


def test_another_hash_is_refused(path: Path) -> None:
    assert reason(path, expect_sha256="0" * 64) == "hash"


def test_another_contract_is_refused(path: Path) -> None:
    assert reason(path, expect_contract="0" * 16) == "contract"


@pytest.mark.parametrize("tensor", ["network.head.weight", "basis", "table_fused", "loc"])
def test_weights_that_are_not_finite_are_refused(trained: Trained, path: Path, tensor: str) -> None:
    assert reason(broken(trained, path, tensor=tensor)) == "non-finite"


def test_weights_that_overflow_in_the_forward_pass_are_refused(trained: Trained, path: Path) -> None:
    model = version.decode(trained.payload)
    model.detectors.state_dict()["network.head.weight"].fill_(3e38)
    path.write_bytes(version.encode(model.info, model.detectors))
    assert reason(path) == "non-finite"


def test_tensors_that_do_not_fit_the_header_are_refused(trained: Trained, path: Path) -> None:
    other = replace(trained.model.info.architecture, hidden=64)
    assert reason(broken(trained, path, architecture=other)) == "shape"


def test_a_header_of_another_schema_is_refused(trained: Trained, path: Path) -> None:
    assert reason(broken(trained, path, schema=99)) == "shape"


def test_a_safetensors_file_of_something_else_is_refused(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, path)
    assert reason(path) == "shape"


def test_a_version_slower_than_allowed_is_refused(path: Path) -> None:
    assert reason(path, slow_s=1e-9) == "slow"


def test_a_machine_that_slept_for_a_moment_says_nothing_about_the_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 9.0, 9.1])  # the first measured chunk seems to take nine seconds
    monkeypatch.setattr(version, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert version.load(path, slow_s=1.0).version


def test_the_id_follows_from_number_and_content(trained: Trained) -> None:
    info, detectors = trained.model.info, trained.model.detectors
    assert version.named(info, detectors, 1) == info
    assert version.named(info, detectors, 12).version == info.version.replace("0001-", "0012-")
    assert version.named(replace(info, alarm_p=0.5), detectors, 1).version != info.version


def test_a_served_model_knows_its_file(path: Path, trained: Trained) -> None:
    loaded: ServedModel = version.load(path)
    assert (loaded.name, loaded.window, 0 < loaded.alarm_p < 1) == ("test.rhythm", 64, True)
    assert loaded.sha256 == trained.model.sha256

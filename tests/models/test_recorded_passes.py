"""A recorded pass is the same pass: bit for bit, after a copy in place, and where recording is not possible."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models import recorded, version
from models.passes import CHUNK, MANY
from models.scoring_pass import Compare, ScoringPass, scoring_pass
from models.served import ServedModel
from models.training import Trained
from tests.models.fleets import windows_of
from twin.block import StepBlock


def plain(model: ServedModel) -> ScoringPass:
    return scoring_pass(model.detectors, widths=list(model.widths), period_ns=model.info.period_ns)


def test_a_version_is_served_by_a_recording_with_the_bits_of_its_operations_one_by_one(
    trained: Trained, block: StepBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = version.decode(trained.payload)
    assert isinstance(model._pass, torch.jit.ScriptModule)
    for count in (1, 31, CHUNK + 1, 200, MANY + CHUNK + 3):
        windows = windows_of(model, block, count)
        windows[1][: count // 3, 40:45, 0] = np.nan
        windows[2][count // 2 :, -1, 1] = 4
        found = model.unrounded(*windows)
        with monkeypatch.context() as patched:
            patched.setattr(model, "_pass", plain(model))
            assert found.tobytes() == model.unrounded(*windows).tobytes(), count
            unexplained = model.unrounded(*windows, explained=False)
        assert model.unrounded(*windows, explained=False).tobytes() == unexplained.tobytes(), count
        assert np.ascontiguousarray(found[:, : unexplained.shape[1]]).tobytes() == unexplained.tobytes(), (
            "explaining changed a score"
        )


def test_a_recording_follows_tensors_that_change_in_place(trained: Trained, block: StepBlock) -> None:
    model = version.decode(trained.payload)
    windows = windows_of(model, block, 70)
    before = model.unrounded(*windows)
    with torch.no_grad():
        for tensor in model.detectors.state_dict().values():
            tensor.mul_(1.01)
    after = model.unrounded(*windows)
    assert before.tobytes() != after.tobytes()
    model._pass = plain(model)
    assert model.unrounded(*windows).tobytes() == after.tobytes()


def test_without_torchscript_a_version_is_served_all_the_same(
    trained: Trained, block: StepBlock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise RuntimeError("torch.jit is not supported")

    monkeypatch.setattr(torch.jit, "trace", gone)
    model = version.decode(trained.payload)
    assert not isinstance(model._pass, torch.jit.ScriptModule)
    assert "scoring-not-recorded" in caplog.messages
    windows = windows_of(model, block, 70)
    assert model.unrounded(*windows).tobytes() == trained.model.unrounded(*windows).tobytes()


def test_a_recording_with_another_last_bit_is_not_used(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Compare.forward

    def other_bits_when_recorded(compare: Compare, *inputs: torch.Tensor) -> torch.Tensor:
        found = forward(compare, *inputs)
        return found * (1 + 2**-23) if torch.jit.is_tracing() else found

    monkeypatch.setattr(Compare, "forward", other_bits_when_recorded)
    model = trained.model
    found = recorded.recorded(model.detectors, widths=model.widths, period_ns=model.info.period_ns)
    assert isinstance(found, ScoringPass)


def test_nothing_of_a_version_stays_behind_in_the_interpreter(trained: Trained) -> None:
    def kept() -> int:
        return len(torch.jit._state._python_cu.get_functions())

    before = kept()
    models = [version.decode(trained.payload) for _ in range(3)]
    assert all(isinstance(model._pass, torch.jit.ScriptModule) for model in models)
    assert kept() <= before


def test_versions_that_are_loaded_in_threads_at_once_are_recorded_all_the_same(trained: Trained, block: StepBlock) -> None:
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: version.decode(trained.payload), range(8)))
    bits = {model.unrounded(*windows_of(model, block, 70)).tobytes() for model in models}
    assert len(bits) == 1
    assert all(isinstance(model._pass, torch.jit.ScriptModule) for model in models)

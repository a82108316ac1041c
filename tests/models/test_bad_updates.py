"""No bad update serves: each is refused where it is loaded, or by the gate, with a reason that names found and expected."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from models import version
from models.gate import compare
from models.port import VersionRefused
from models.training import Trained
from models.update import Update, UpdateJob, Weights
from models.updating import update
from models.weights import WeightFiles
from tests.models.bad_updates import FILES, TRAININGS, WEIGHTS, BadFile, Made, poisoned, with_value
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock


@pytest.fixture(scope="module")
def holdout() -> StepBlock:
    return rhythm(seed=9).between(450, 700)


def why_not(made: Made, trained: Trained, holdout: StepBlock, path: Path) -> str:
    """The reason why this never serves: it goes the way of an update, from its file through the gate."""
    if isinstance(made, BadFile):
        payload, sha256 = made.payload, made.sha256 or hashlib.sha256(made.payload).hexdigest()
    else:
        payload = version.encode(made.info, made.detectors)
        sha256 = hashlib.sha256(payload).hexdigest()
    path.write_bytes(payload)
    kind = type_of(holdout)
    try:
        candidate = version.load(path, expect_sha256=sha256, expect_contract=kind.contract, expect_type=kind)
    except VersionRefused as refused:
        return f"{refused.reason}: {refused}"
    decision = compare(candidate, trained.model, holdout, start=64)
    assert not decision.promote, f"it would serve: {decision.why}"
    assert [stage.name for stage in decision.stages if not stage.passed]
    return decision.why


@pytest.mark.parametrize("kind", [*FILES, *WEIGHTS])
def test_no_bad_update_serves(kind: str, trained: Trained, holdout: StepBlock, tmp_path: Path) -> None:
    make, expected = {**FILES, **WEIGHTS}[kind]
    found = why_not(make(trained), trained, holdout, tmp_path / "bad.safetensors")
    assert re.search(expected, found, re.DOTALL), found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=["nan", "inf", "-inf"])
def test_no_version_with_a_number_that_is_none_serves_whichever_tensor_holds_it(
    value: float, trained: Trained, holdout: StepBlock, tmp_path: Path
) -> None:
    for name in trained.model.detectors.state_dict():
        found = why_not(with_value(trained, name, value), trained, holdout, tmp_path / "bad.safetensors")
        assert re.match(f"non-finite: .*: {name} holds 1 values that are not finite, expected none", found), found


@pytest.mark.parametrize("kind", TRAININGS)
def test_no_version_that_learnt_from_spoilt_readings_serves(
    kind: str, trained: Trained, block: StepBlock, tmp_path: Path
) -> None:
    path = WeightFiles(tmp_path).path(trained.model.name, trained.model.version)
    sha256 = version.save(trained.model, path)
    spoilt = poisoned(block, kind)
    found = update(
        UpdateJob(
            home=tmp_path,
            type=type_of(block),
            block=spoilt,
            exclude=np.zeros(spoilt.values.shape[:2], np.bool_),
            champion=Weights(trained.model.version, path.as_uri(), sha256),
            fine_tune=True,
            number=2,
            alarms_per_twin_day=0.02,
            seed=7,
            threads=1,
        )
    )
    assert isinstance(found, Update), found
    assert not found.promote, found.why
    assert re.search(TRAININGS[kind], found.why), found.why


def test_a_good_update_serves(trained: Trained, holdout: StepBlock, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="it would serve"):
        why_not(version.decode(trained.payload), trained, holdout, tmp_path / "good.safetensors")

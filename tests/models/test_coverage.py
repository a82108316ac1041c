"""A window that holds few good readings is scored and raises nothing; a fault that was there from the start does later."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch

from models import version as version_file
from models.coverage import PART, STEPS, covered, usual_share
from models.evaluate import evaluate
from models.port import VersionRefused
from models.served import ServedModel
from models.training import train
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock
from twin.quality import Quality

NEEDED = int(STEPS * PART)  # good steps, from a twin's first on
BEGINS = 700  # steps of training


def without(block: StepBlock, *, before: int = 0, gap: slice = slice(0)) -> StepBlock:
    """The block as of twins that came at a step, or were silent for some."""
    values, quality = block.values.copy(), block.quality.copy()
    for missing in (slice(before), gap):
        values[:, missing], quality[:, missing] = np.nan, int(Quality.MISSING)
    return dataclasses.replace(block, values=values, quality=quality)


@pytest.fixture(scope="module")
def fleet() -> tuple[ServedModel, StepBlock]:
    """A version, and what comes after the steps it has learnt from."""
    block = rhythm(steps=BEGINS + 200)
    learnt = dataclasses.replace(block, values=block.values[:, :BEGINS], quality=block.quality[:, :BEGINS])
    served = train(
        type=type_of(block), block=learnt, base=None, number=1, alarms_per_twin_day=0.05, seed=1, threads=1, holdout=0
    ).model
    later = dataclasses.replace(
        block,
        first_step=block.first_step + BEGINS,
        values=block.values[:, BEGINS:].copy(),
        quality=block.quality[:, BEGINS:].copy(),
    )
    return served, later


def test_a_fault_that_is_there_from_the_first_step_alarms_as_soon_as_the_window_holds_enough(
    fleet: tuple[ServedModel, StepBlock],
) -> None:
    served, block = fleet
    broken = without(block, before=40)
    broken.values[0, :, 0] += 40 * (np.arange(block.steps) % 3)
    found = evaluate(served, broken)
    assert (found.score[0, 42 : 40 + NEEDED] > 3).any(), "scored all the same"
    assert not found.alarm[:, : 40 + NEEDED - 1].any()
    assert found.risk[:, : 40 + NEEDED - 1].max() == 0
    first = np.flatnonzero(found.alarm[0])[0]
    assert 40 + NEEDED - 1 <= first < 40 + NEEDED + 6


def test_after_a_gap_a_twin_raises_nothing_until_it_has_sent_enough(fleet: tuple[ServedModel, StepBlock]) -> None:
    served, block = fleet
    gap = slice(100, 120)
    back = without(block, gap=gap)
    back.values[0, gap.stop :, 0] += 40 * (np.arange(block.steps - gap.stop) % 3)  # it comes back otherwise than it went
    found = evaluate(served, back)
    silent = slice(gap.start + 6, gap.stop + NEEDED - 1)
    assert not found.alarm[:, silent].any()
    assert found.alarm[0, silent.stop : silent.stop + 6].any()
    short = without(block, gap=slice(100, 102))
    short.values[0, 110:, 0] += 40
    assert evaluate(served, short).alarm[0, 110:116].any(), "two steps that are missing silence nobody"


def test_a_broken_sensor_leaves_the_other_channels_to_be_judged() -> None:
    quality = np.zeros((1, 64, 2), np.uint8)
    quality[0, :, 0] = int(Quality.STUCK)
    assert covered(quality, np.ones(1, np.float32)).all()


def test_a_twin_that_always_sent_every_other_step_only_is_covered_by_as_many() -> None:
    good = np.ones((2, 300, 1), np.bool_)
    good[1, ::2] = False
    shares = usual_share(good, np.ones((2, 300), np.bool_))
    assert shares.tolist() == [1.0, 0.5]
    quality = np.where(good[:, -64:], 0, int(Quality.MISSING)).astype(np.uint8)
    assert covered(quality, shares).all()
    assert not covered(quality, np.ones(2, np.float32))[1]


def test_a_version_of_before_expects_full_windows_and_one_that_nothing_could_ever_cover_is_refused(
    fleet: tuple[ServedModel, StepBlock],
) -> None:
    served, _ = fleet
    kept = served.detectors.good_share.clone()
    tensors = safetensors.torch.load(version_file.encode(served.info, served.detectors))
    del tensors["good_share"]
    header = json.dumps(served.info.as_dict())
    before = version_file.decode(safetensors.torch.save(tensors, metadata={"livetwin": header}))
    assert (before.detectors.good_share == 1).all()
    try:
        served.detectors.good_share.fill_(2.0)
        with pytest.raises(VersionRefused, match="good_share"):
            version_file.decode(version_file.encode(served.info, served.detectors))
    finally:
        served.detectors.good_share.copy_(kept)

"""What is remembered of the past keeps a fine-tuned version from forgetting it; what judges never trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.gate import compare
from models.old_regime import for_training_and_judging
from models.training import Trained, train
from tests.models.fleets import rhythm, type_of
from twin.block import StepBlock
from twin.stretches import Stretches

TWINS, LENGTH = 3, 96


def in_summer(block: StepBlock) -> StepBlock:
    """Another regime: the flow follows the pressure now, and swings three times a day."""
    angle = 2 * np.pi * (np.arange(block.steps) + block.first_step) / 48
    values = block.values.copy()
    noise = values[:, :, 1] - np.median(values[:, :, 1])
    values[:, :, 0] = (20 + 3 * np.sign(np.sin(angle)))[None] + noise
    return replace(block, values=values)


def stretches_of(block: StepBlock) -> Stretches:
    starts = [(twin, start) for twin in range(len(block.assets)) for start in range(0, block.steps - LENGTH, LENGTH)]
    cut = [(block.values[twin, at : at + LENGTH], block.quality[twin, at : at + LENGTH]) for twin, at in starts]
    return Stretches(
        tuple(block.assets[twin] for twin, _ in starts),
        np.array([block.first_step + start for _, start in starts]),
        block.period_ns,
        np.stack([values for values, _ in cut]),
        np.stack([quality for _, quality in cut]),
    )


WINTER = rhythm(twins=TWINS, steps=700)
SUMMER = in_summer(rhythm(twins=TWINS, steps=400, seed=2, first_step=WINTER.first_step + WINTER.steps))
REMEMBERED = stretches_of(WINTER)


def trained(block: StepBlock, base: Trained | None = None, old: Stretches | None = None) -> Trained:
    return train(
        type=type_of(block),
        block=block,
        base=base.model if base else None,
        number=2 if base else 1,
        alarms_per_twin_day=0.02,
        seed=7,
        threads=1,
        old=old,
    )


@pytest.fixture(scope="module")
def winter() -> Trained:
    return trained(WINTER)


@pytest.fixture(scope="module")
def both(winter: Trained) -> Trained:
    return trained(SUMMER, winter, REMEMBERED)


def test_a_version_that_learnt_a_new_regime_beside_the_old_one_has_forgotten_less(winter: Trained, both: Trained) -> None:
    # what the record alone makes of the old regime: remembered stretches that judge only
    judging = for_training_and_judging(REMEMBERED)[1]
    alone = trained(SUMMER, winter, judging)
    assert both.figures["loss_old"] < alone.figures["loss_old"] - 0.1
    assert both.figures["loss_calibration"] < alone.figures["loss_calibration"] + 0.1


def test_an_update_learns_the_newest_regime_though_most_of_its_record_is_older(winter: Trained) -> None:
    joined = [np.concatenate([getattr(WINTER, name), getattr(SUMMER, name)], axis=1) for name in ("values", "quality")]
    record = replace(WINTER, values=joined[0], quality=joined[1])
    update = trained(record, winter)
    holdout = record.between(record.steps - 165, record.steps)
    decision = compare(update.model, winter.model, holdout, start=64, alarms_per_twin_day=0.02)
    assert decision.figures["candidate_loss"] < decision.figures["champion_loss"] - 0.5


def test_what_judges_trains_no_version(winter: Trained, both: Trained) -> None:
    learnt, judged = for_training_and_judging(REMEMBERED)
    assert len(learnt) + len(judged) == len(REMEMBERED)
    assert len(judged) >= 4
    assert not set(zip(learnt.assets, learnt.first_step, strict=True)) & set(zip(judged.assets, judged.first_step, strict=True))
    assert trained(SUMMER, winter, learnt).payload == both.payload


def test_old_steps_that_are_left_out_train_nothing(winter: Trained, both: Trained) -> None:
    values, left_out = REMEMBERED.values.copy(), np.zeros(REMEMBERED.values.shape[:2], np.bool_)
    absurd = replace(REMEMBERED, values=values)
    left_out[:, 40:60], values[:, 40:60] = True, 1e9
    marked = trained(SUMMER, winter, absurd.without(left_out))
    assert marked.payload == trained(SUMMER, winter, REMEMBERED.without(left_out)).payload
    assert marked.payload != both.payload


def test_stretches_of_twins_that_are_gone_are_no_loss(winter: Trained) -> None:
    gone = replace(REMEMBERED, assets=tuple(f"gone-{asset}" for asset in REMEMBERED.assets))
    found = trained(SUMMER, winter, gone)
    assert found.payload == trained(SUMMER, winter).payload
    assert "loss_old" not in found.figures

"""Cycles are learnt: those that no clock foresees as patterns, weeks as levels. Where nothing comes again nobody is judged."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from deploy.eval.cycles import batches, weeks
from deploy.eval.made_up import Series
from models import calibration, pattern, version
from models.evaluate import evaluate
from models.training import Trained, train
from models.windows import good_cells
from tests.models.fleets import bits, type_of, windows_of
from twin.block import StepBlock


def block_of(series: Series, end: int) -> StepBlock:
    values = series.values[:end].astype(np.float32)[None]
    return StepBlock(("press",), ("force",), 28_000_000, series.period_ns, values, np.zeros(values.shape, np.uint8))


@pytest.fixture(scope="module")
def series() -> Series:
    return batches(1)


@pytest.fixture(scope="module")
def press(series: Series) -> Trained:
    torch.set_num_threads(1)
    known = block_of(series, series.normal)
    return train(type=type_of(known), block=known, base=None, number=1, alarms_per_twin_day=0.02, seed=3, threads=1, holdout=0)


def test_a_cycle_out_of_shape_is_strange_while_it_lasts_and_a_usual_one_is_not(press: Trained, series: Series) -> None:
    found = evaluate(press.model, block_of(series, len(series.values)), start=64)
    surprise = found.score[0]
    inside = np.concatenate([surprise[first + 40 : end] for first, end in series.faults])
    calm = surprise[series.normal : series.faults[0][0]]
    assert np.median(inside) > 2.0
    assert (calm > 2.0).mean() < 0.02


def test_what_is_strange_is_told_by_the_pattern(press: Trained, series: Series) -> None:
    turned = next(first for first, end in series.faults if end - first > 150) + 100
    block = block_of(series, len(series.values))
    model = press.model
    window = block.values[:, turned - model.window + 1 : turned + 1]
    scores = model.score(np.zeros(1, np.int64), window, np.zeros(window.shape, np.uint8), block.time_ns()[[turned]])
    assert list(model.detector_steps)[int(scores.mix[0].argmax())] == "pattern"
    assert scores.contribution[0].tolist() == [1.0]


def test_a_row_has_the_same_bits_whatever_stands_beside_it(press: Trained, series: Series) -> None:
    rows, windows, quality, times = windows_of(press.model, block_of(series, 6000), 600)
    together = press.model.score(rows, windows, quality, times)
    alone = press.model.score(rows[7:8], windows[7:8], quality[7:8], times[7:8])
    for field in dataclasses.fields(alone):
        assert getattr(alone, field.name)[0].tobytes() == getattr(together, field.name)[7].tobytes(), field.name


def test_where_nothing_comes_again_nobody_is_judged(trained: Trained) -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((2, 3000, 2)).astype(np.float32)
    walk = np.cumsum(noise, axis=1)
    good = np.ones(noise.shape, np.bool_)
    for x in (noise, walk / walk.std(axis=1, keepdims=True)):
        found = pattern.fit_fleet(x, good, good.all(axis=2), seed=0)
        assert found.prototypes.shape == (0, pattern.BINS * 2)
        assert not found.left_out.any()


def test_a_window_with_too_few_good_cells_says_nothing_and_a_hole_is_filled() -> None:
    x = torch.arange(64.0).reshape(1, 64, 1) / 8
    good = torch.ones_like(x)
    good[0, 8:16] = 0  # one bin
    means, enough = pattern.binned(x * good, good)
    assert enough.item()
    assert means[0, 1, 0].item() == pytest.approx(float((x.clamp(max=pattern.CLIP) * good).sum() / 56))
    good[0, :24] = 0
    assert not pattern.binned(x * good, good)[1].item()


def test_a_version_from_before_patterns_serves_as_one_whose_patterns_say_nothing(trained: Trained, block: StepBlock) -> None:
    tensors = safetensors.torch.load(trained.payload)
    header = json.loads(trained.payload[8 : 8 + int.from_bytes(trained.payload[:8], "little")])
    found = json.loads(header["__metadata__"]["livetwin"])
    assert found["layout"]["prototypes"], "the rhythm of this fleet comes again"
    silent = {**tensors, "table_pattern": torch.from_numpy(calibration.muted()).expand(5, 1, -1).contiguous()}
    saying_nothing = version.decode(safetensors.torch.save(silent, metadata=header["__metadata__"]))
    del found["layout"]["prototypes"], tensors["prototypes"], tensors["table_pattern"]
    older = version.decode(safetensors.torch.save(tensors, metadata={"livetwin": json.dumps(found)}))
    windows = windows_of(older, block, 50)
    assert bits(older.score(*windows)) == bits(saying_nothing.score(*windows))


def test_a_cycle_with_bad_cells_trains_and_is_judged(series: Series) -> None:
    known = block_of(series, series.normal)
    random = np.random.default_rng(2)
    quality = (random.random(known.values.shape) < 0.05).astype(np.uint8)
    x = (known.values - known.values.mean()) / known.values.std()
    good = good_cells(known.values, quality)
    found = pattern.fit_fleet(np.where(good, x, 0), good, good.any(axis=2), seed=0)
    assert len(found.prototypes) == pattern.count_for(1)


def test_a_day_of_rest_on_a_working_day_is_strange_once_weeks_are_known() -> None:
    site = weeks(1)
    known = block_of(site, site.normal)
    model = train(
        type=type_of(known), block=known, base=None, number=1, alarms_per_twin_day=0.02, seed=3, threads=1, holdout=0
    ).model
    assert model.info.layout.weekly
    surprise = evaluate(model, block_of(site, len(site.values)), start=64).score[0]
    odd = np.concatenate([surprise[first + 36 : first + 72] for first, _ in site.faults])  # at noon, when they differ
    usual = np.ones(len(surprise), np.bool_)
    usual[: site.normal] = False
    for first, end in site.faults:
        usual[first : end + 64] = False
    assert np.median(odd) > 3.0
    assert (surprise[usual] > 3.0).mean() < 0.01


def test_a_record_of_few_weeks_has_one_curve_for_all_days() -> None:
    known = block_of(weeks(1), 20 * 96)
    found = train(type=type_of(known), block=known, base=None, number=1, alarms_per_twin_day=0.02, seed=3, threads=1)
    assert not found.model.info.layout.weekly

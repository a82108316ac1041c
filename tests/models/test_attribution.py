"""Contributions name the channel at fault where those it drags along show as much, and say who saw it and by how much."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models import attribution, calibration, level, pca
from models.attribution import attributed
from models.calibration import LEVELS
from models.evaluate import evaluate
from models.training import Trained
from models.windows import SMOOTH_FEATURES, gather, padded
from tests.models.fleets import rhythm
from twin.block import StepBlock

SPAN = 12


@pytest.fixture(scope="module")
def mixed() -> tuple[Tensor, Tensor, np.ndarray]:
    """Components of one twin whose four channels follow two causes, and windows of it: (1, F), (1, F, K), (n, span, 4)."""
    random = np.random.default_rng(3)
    steps = np.arange(3000)
    one = np.sin(steps / 20) + 0.3 * np.sin(steps / 7)
    other = np.cos(steps / 31)
    x = np.stack([one, other, 0.95 * one + 0.3 * other, 0.5 * one - 0.8 * other], axis=1)
    x += 0.03 * random.standard_normal(x.shape)
    windows = np.lib.stride_tricks.sliding_window_view(x, SPAN, axis=0).transpose(0, 2, 1).astype(np.float32)
    centre, basis = pca.fit(windows.reshape(len(windows), -1), explained=0.99, components_max=24)
    return torch.from_numpy(centre)[None], torch.from_numpy(basis)[None], windows


@pytest.mark.parametrize("channel", [0, 1, 2, 3])
@pytest.mark.parametrize("lasted", [1, 3, 6, 12])
def test_a_change_of_one_channel_is_told_apart_from_those_the_components_share_it_out_to(
    mixed: tuple[Tensor, Tensor, np.ndarray], channel: int, lasted: int
) -> None:
    centre, basis, windows = mixed
    faulty = windows[::50].copy()
    faulty[:, -lasted:, channel] += 0.8
    count = len(faulty)
    rest = pca.unexplained(
        centre.expand(count, -1), basis.transpose(1, 2).expand(count, -1, -1), torch.from_numpy(faulty.reshape(count, -1))
    ).reshape(count, SPAN, 4)
    left = attribution.left_of_change(basis, 4).expand(count, -1, -1)
    found, size = attribution.shape_fault(rest, left, SPAN)
    named = found.argmax(dim=1) == channel
    assert named.float().mean() > 0.95
    assert (size[named, channel] - 0.8).abs().median() < 0.15
    if (channel, lasted) == (1, 12):
        shares = (rest * rest).sum(dim=1)
        assert (shares.argmax(dim=1) == channel).float().mean() < 0.5, "the case that plain shares get wrong is gone"


def test_a_channel_that_is_off_is_not_outdone_by_a_steadier_one_that_is_judged_by_it() -> None:
    """Channel 1 is judged by channel 0 alone, and ten times as strictly: its residual is the larger one."""
    weights = torch.zeros(1, 3, level.feature_count(3, weekly=False))
    own = 1 + SMOOTH_FEATURES
    weights[0, 1, own] = 0.8
    tables = torch.tensor([1.0, 0.1, 1.0])[None, :, None] * torch.from_numpy(1 + LEVELS).float()
    directions = attribution.level_directions(weights, tables)
    residual = torch.tensor([[2.0, -1.6, 0.0]])  # what a change of channel 0 by 2 gives
    assert (residual.abs() / tables[:, :, 6]).argmax() == 1
    assert attribution.level_fault(residual, directions).argmax() == 0
    assert attribution.level_fault(torch.tensor([[0.0, 0.4, 0.0]]), directions).argmax() == 1


def test_a_level_that_is_not_judged_says_nothing() -> None:
    tables = torch.stack([torch.from_numpy(1 + LEVELS).float(), calibration.MUTE * torch.from_numpy(1 + LEVELS).float()])[None]
    directions = attribution.level_directions(torch.zeros(1, 2, level.feature_count(2, weekly=False)), tables)
    assert attribution.level_fault(torch.tensor([[0.5, 1e5]]), directions).tolist() == [[pytest.approx(0.25 / 4), 0.0]]


def test_the_detector_that_is_most_surprised_speaks_loudest_and_tells_how_far_off_it_sees_the_channel() -> None:
    none = torch.zeros(1, 2)
    surprises, loud = (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])), torch.tensor([[1.0, 3.0, 0.0, 0.0]])
    offsets = torch.tensor([[[5.0, 6.0], [7.0, -8.0], [0.0, 0.0], [0.0, 0.0]]])
    found = attributed(loud, (surprises[0], surprises[1], none, none), offsets)
    assert found.contribution.tolist()[0] == pytest.approx([0.25, 0.75])
    assert found.mix.tolist()[0] == pytest.approx([0.25, 0.75, 0.0, 0.0])
    assert found.leading.tolist() == [[0.0, 1.0]]
    assert found.off.tolist() == [[5.0, -8.0]]
    quiet = attributed(torch.zeros(1, 4), (none, none, none, none), offsets)
    assert quiet.contribution.tolist() == [[0.0, 0.0]]
    assert quiet.mix.sum() == 0


def test_a_version_says_by_how_much_a_channel_is_off_in_its_units(trained: Trained) -> None:
    later = rhythm(steps=400, seed=5, first_step=2_900_900)
    values = later.values.copy()
    values[2, 300:, 1] += 3.0
    block = StepBlock(later.assets, later.channels, later.first_step, later.period_ns, values, later.quality)
    model = trained.model
    at = np.arange(302, 306)
    twins = np.full(len(at), 2)
    found = model.score(
        model.rows(block.assets)[twins], *gather(*padded(block, model.window), twins, at, model.window), block.time_ns()[at]
    )
    assert (found.contribution.argmax(axis=1) == 1).all()
    np.testing.assert_allclose(found.contribution.sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(found.mix.sum(axis=1), 1, atol=1e-3)
    assert set(found.leading[:, 1].tolist()) <= set(range(len(model.detector_steps)))
    names = list(model.detector_steps)
    for step, off, leading in zip(at.tolist(), found.off[:, 1].tolist(), found.leading[:, 1].tolist(), strict=True):
        lasted = step - 300 + 1  # a mean over more steps than that holds normal ones
        part = min(1.0, lasted / model.detector_steps[names[leading]]) if names[leading] != "shape" else 1.0
        assert 3.0 * part - 1.0 < off < 4.0, (step, names[leading])
    assert evaluate(model, block, start=300).alarms[0].top_channel == "pressure"

"""A version scores windows: a row depends on nothing but the row."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from models import version
from models.detectors import Detectors, Forecasts, Layout
from models.network import Architecture
from models.passes import CHUNK, CONTEXTS, FEW, MANY, WIDE, pass_size, same_widths
from models.pca import span_for
from models.port import LEARNING, Scores, VersionRefused
from models.scoring_pass import ScoringPass, scoring_pass
from models.served import ServedModel
from models.training import Trained, train
from models.windows import CALENDAR_FEATURES, gather, padded
from tests.models.fleets import bits, rhythm, type_of, windows_of
from twin.block import StepBlock


def taken(scores: Scores, rows: np.ndarray) -> Scores:
    return Scores(**{field.name: getattr(scores, field.name)[rows] for field in dataclasses.fields(scores)})


def test_a_row_has_the_same_bits_in_any_order_and_beside_any_other_rows(trained: Trained, block: StepBlock) -> None:
    model, windows = trained.model, windows_of(trained.model, block, 3 * CHUNK + 11)
    whole = model.score(*windows)
    order = np.random.default_rng(1).permutation(len(windows[0]))
    assert bits(model.score(*(part[order] for part in windows))) == bits(taken(whole, order))
    for size in (*range(1, 12), CHUNK, CHUNK + 1, 150):
        some = order[:size]
        assert bits(model.score(*(part[some] for part in windows))) == bits(taken(whole, some)), size


def test_a_row_has_the_same_bits_before_any_rounding(trained: Trained, block: StepBlock) -> None:
    model, windows = trained.model, windows_of(trained.model, block, CHUNK)
    whole = model.unrounded(*windows)
    for row in (0, 1, 17, CHUNK - 1):
        alone = model.unrounded(*(part[[row]] for part in windows))
        assert alone.tobytes() == whole[[row]].tobytes()


def steps_in_a_row(trained: Trained, block: StepBlock, steps: range) -> tuple[np.ndarray, ...]:
    """Windows of all twins at each of `steps`, step by step as a stream brings them."""
    model = trained.model
    values, quality = padded(block, model.window)
    twins, at = (
        np.tile(np.arange(len(block.assets)), len(steps)),
        np.repeat(np.arange(steps.start, steps.stop), len(block.assets)),
    )
    return model.rows(block.assets)[twins], *gather(values, quality, twins, at, model.window), block.time_ns()[at]


def test_a_backlog_has_the_bits_of_steps_scored_one_by_one_and_makes_each_forecast_once(
    trained: Trained, block: StepBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = steps_in_a_row(trained, block, range(300, 300 + 2 * MANY // 5 + 9))
    sizes: list[int] = []
    forecasts = Detectors.forecasts

    def counted(detectors: Detectors, rows: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(rows))
        return forecasts(detectors, rows, *more)

    model = trained.model
    monkeypatch.setattr(Detectors, "forecasts", counted)
    monkeypatch.setattr(model, "_pass", plain_pass(model))  # one that is recorded could not be looked into
    rows = len(windows[0])
    assert rows > 2 * MANY
    order = np.lexsort((windows[3], windows[0]))
    whole = model.unrounded(*(part[order] for part in windows))
    assert sizes == sizes_of(rows + 7 * len(block.assets), model), "a forecast was made twice"
    sizes.clear()
    scattered = model.unrounded(*windows)  # a twin's steps do not stand side by side: nothing is shared
    assert sizes == sizes_of(2 * rows, model)
    assert whole.tobytes() == scattered[order].tobytes()
    for one in (*range(0, rows, 97), rows - 1):
        alone = model.unrounded(*(part[[one]] for part in windows))
        assert alone.tobytes() == scattered[[one]].tobytes(), one


def plain_pass(model: ServedModel) -> ScoringPass:
    return scoring_pass(model.detectors, widths=list(model.widths), period_ns=model.info.period_ns)


def sizes_of(contexts: int, model: ServedModel) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < contexts:
        sizes.append(pass_size(contexts - sum(sizes), list(model.widths), CONTEXTS))
    return sizes


def test_a_forecast_is_not_shared_with_a_window_that_holds_anything_else(trained: Trained, block: StepBlock) -> None:
    model, (rows, values, quality, times) = trained.model, steps_in_a_row(trained, block, range(300, 330))
    values[60, 20, 0] += 1e-3
    quality[71, 40, 1] = 4
    whole = model.score(rows, values, quality, times)
    for one in range(len(rows)):
        assert bits(model.score(rows[[one]], values[[one]], quality[[one]], times[[one]])) == bits(
            taken(whole, np.array([one]))
        ), one


@pytest.mark.parametrize("channels", [1, 3, 5, 12])
def test_few_rows_and_many_are_compared_with_the_same_bits(channels: int) -> None:
    torch.manual_seed(channels)
    detectors = drawn(channels)
    horizons = detectors.architecture.horizons
    rows, values = torch.randint(9, (MANY,)), torch.randn(MANY, 64, channels)
    good, now = torch.rand(MANY, 64, channels) > 0.02, torch.randn(MANY, CALENDAR_FEATURES)
    made = Forecasts(*(torch.randn(MANY, *shape) for shape in ((channels,), (channels,), *[(horizons, channels)] * 2)))
    with torch.inference_mode():
        whole = detectors.compared(rows, values, good, now, made)
        chunks = torch.arange(MANY).reshape(-1, CHUNK)
        parts = [
            detectors.compared(rows[at], values[at], good[at], now[at], Forecasts(*(one[at] for one in made))) for at in chunks
        ]
        for name, one, there in zip(whole._fields, whole, zip(*parts, strict=True), strict=True):
            assert one.numpy().tobytes() == torch.cat(there).numpy().tobytes(), name
        surprises = detectors.surprises(rows, whole)
        few = [detectors.surprises(rows[at], part) for at, part in zip(chunks, parts, strict=True)]
        for name, one, there in zip(surprises._fields, surprises, zip(*few, strict=True), strict=True):
            assert one.numpy().tobytes() == torch.cat(there).numpy().tobytes(), name


def drawn(channels: int) -> Detectors:
    """Detectors of nine twins with random tensors."""
    span = span_for(channels)
    layout = Layout(window=64, span=span, components=min(24, span * channels - 1))
    detectors = Detectors(Architecture(twins=9, channels=channels), layout).eval()
    for tensor in detectors.state_dict().values():
        tensor.add_(0.1 * torch.rand(tensor.shape))
    detectors.derive()
    return detectors


@pytest.mark.parametrize("channels", [1, 3, 5, 12])
def test_passes_of_the_widths_in_use_give_the_bits_of_passes_of_contexts(channels: int) -> None:
    torch.manual_seed(channels)
    detectors, count = drawn(channels), 2 * WIDE
    rows, calendar = torch.randint(9, (count,)), torch.randn(count, CALENDAR_FEATURES)
    contexts, good = torch.randn(count, 56, channels), torch.rand(count, 56, channels) > 0.02
    good[: count // 2] = True  # the newest cells good everywhere, as nearly always

    def bits(width: int) -> bytes:
        with torch.inference_mode():
            made = [
                detectors.forecasts(*(one[at : at + width] for one in (rows, contexts, good, calendar)))
                for at in range(0, count, width)
            ]
        return b"".join(torch.cat(part).numpy().tobytes() for part in zip(*made, strict=True))

    for width in same_widths(detectors):
        assert bits(width) == bits(CONTEXTS), width


def test_a_width_that_changes_a_bit_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    detectors = drawn(2)
    forecasts = detectors.forecasts

    def other_kernel_for_many(rows: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_scale = forecasts(rows, *more)
        if len(rows) == WIDE:
            mean[17, 3, 1] = torch.nextafter(mean[17, 3, 1], torch.tensor(torch.inf))
        return mean, log_scale

    assert CONTEXTS in same_widths(detectors)
    monkeypatch.setattr(detectors, "forecasts", other_kernel_for_many)
    assert WIDE not in same_widths(detectors)
    assert pass_size(300, [CONTEXTS], CONTEXTS) == CONTEXTS
    assert pass_size(20, [FEW, CONTEXTS], CONTEXTS) == FEW


@pytest.mark.parametrize("channels", [1, 3, 5, 12])
def test_place_in_the_chunk_changes_no_bit_for_any_number_of_channels(channels: int) -> None:
    torch.manual_seed(channels)
    detectors = drawn(channels)
    rows, order = torch.randint(9, (CHUNK,)), torch.randperm(CHUNK)
    values, good = torch.randn(CHUNK, 64, channels), torch.rand(CHUNK, 64, channels) > 0.02
    now, before = torch.randn(CHUNK, CALENDAR_FEATURES), torch.randn(CHUNK, CALENDAR_FEATURES)
    with torch.inference_mode():
        found = detectors.statistics(rows, values, good, now, before)
        other = detectors.statistics(rows[order], values[order], good[order], now[order], before[order])
        surprises, moved = detectors.surprises(rows, found), detectors.surprises(rows[order], other)
    for name, one, there in (
        *zip(found._fields, found, other, strict=True),
        *zip(surprises._fields, surprises, moved, strict=True),
    ):
        assert one[order].numpy().tobytes() == there.numpy().tobytes(), name


def test_a_twin_the_version_does_not_know_scores_nothing_and_raises_nothing(trained: Trained, block: StepBlock) -> None:
    model = trained.model
    rows, *rest = windows_of(model, block, 4)
    assert model.rows(["twin-0", "never-seen"]).tolist() == [0, LEARNING]
    rows[1] = LEARNING
    scores = model.score(rows, *rest)
    assert np.isnan(scores.expected[1]).all()
    assert np.isnan(scores.spread[1]).all()
    assert (scores.score[1], scores.p_value[1], scores.contribution[1].sum()) == (0, 1, 0)
    assert np.isfinite(scores.expected[[0, 2, 3]]).all()


def test_cells_that_are_not_good_change_nothing_whatever_they_hold(trained: Trained, block: StepBlock) -> None:
    model = trained.model
    rows, values, quality, times = windows_of(model, block, 20)
    quality[:, 30:34, 0] = 4
    empty, absurd = values.copy(), values.copy()
    empty[:, 30:34, 0], absurd[:, 30:34, 0] = np.nan, 1e30
    assert bits(model.score(rows, empty, quality, times)) == bits(model.score(rows, absurd, quality, times))


def test_a_window_of_nothing_but_gaps_is_not_strange(trained: Trained, block: StepBlock) -> None:
    model = trained.model
    rows, values, quality, times = windows_of(model, block, 3)
    scores = model.score(rows, np.full_like(values, np.nan), np.full_like(quality, 32), times)
    assert np.isfinite(scores.expected).all()
    assert (scores.p_value > 0.1).all()


def test_absurd_readings_give_finite_scores(trained: Trained, block: StepBlock) -> None:
    model = trained.model
    rows, values, quality, times = windows_of(model, block, 3)
    values[:, -1, 0] = 3e38
    scores = model.score(rows, values, quality, times)
    assert np.isfinite(scores.score).all()
    assert (scores.p_value < 1e-3).all()


def test_the_channel_that_is_off_has_the_largest_contribution(trained: Trained, block: StepBlock) -> None:
    model = trained.model
    for channel, shift in ((0, 6.0), (1, 3.0)):
        rows, values, quality, times = windows_of(model, block, 20)
        values[:, -3:, channel] += shift
        scores = model.score(rows, values, quality, times)
        assert (scores.contribution.argmax(axis=1) == channel).all()
        np.testing.assert_allclose(scores.contribution.sum(axis=1), 1, atol=1e-3)


def test_windows_of_another_size_are_refused_with_both_sizes(trained: Trained, block: StepBlock) -> None:
    rows, values, quality, times = windows_of(trained.model, block, 2)
    with pytest.raises(ValueError, match=r"\(2, 63, 2\).*expected \(2, 64, 2\).*nothing was scored"):
        trained.model.score(rows, values[:, 1:], quality[:, 1:], times)


def test_a_copy_in_place_scores_as_the_version_it_was_copied_from(trained: Trained, block: StepBlock) -> None:
    served = version.decode(trained.payload)
    state = served.detectors.state_dict()
    for tensor in state.values():
        tensor.mul_(1.01)
    windows = windows_of(served, block, 30)
    assert bits(served.score(*windows)) != bits(trained.model.score(*windows))
    before = {name: tensor.data_ptr() for name, tensor in state.items()}
    served.copy_from(trained.model)
    assert bits(served.score(*windows)) == bits(trained.model.score(*windows))
    assert (served.version, served.sha256) == (trained.model.version, trained.model.sha256)
    assert {name: tensor.data_ptr() for name, tensor in served.detectors.state_dict().items()} == before


def test_a_version_for_other_twins_is_not_copied_in_place(trained: Trained) -> None:
    other_block = rhythm(twins=2, steps=200)
    other = train(type=type_of(other_block), block=other_block, base=None, number=1, alarms_per_twin_day=0.02, seed=7, threads=1)
    served = version.decode(trained.payload)
    with pytest.raises(VersionRefused, match="still serving 0001-") as refused:
        served.copy_from(other.model)
    assert refused.value.reason == "shape"

"""p-values are honest: uniform on normal steps, and neither too small nor useless beyond what was seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.calibration import LEVELS, SURPRISE_MAX, fit_tables, surprise


def surprises(tables: np.ndarray, statistics: np.ndarray) -> np.ndarray:
    return surprise(torch.from_numpy(tables)[:, None], torch.from_numpy(statistics.astype(np.float32))).numpy()


@pytest.mark.parametrize("kind", ["normal", "exponential", "student"])
def test_the_share_of_normal_steps_below_p_is_p(kind: str) -> None:
    random = np.random.default_rng(3)
    draw = {
        "normal": lambda size: np.abs(random.standard_normal(size)),
        "exponential": random.standard_exponential,
        "student": lambda size: np.abs(random.standard_t(4, size)),
    }[kind]
    sizes = np.linspace(0.5, 3, 30)[:, None]  # every twin has its own scale
    tables = fit_tables((sizes * draw((30, 400))).astype(np.float32))
    fresh = surprises(tables, sizes * draw((30, 20_000)))
    for p, tolerance in ((0.5, 0.03), (0.1, 0.02), (0.01, 0.004), (0.001, 0.0008)):
        assert np.mean(fresh >= -np.log10(p)) == pytest.approx(p, abs=tolerance)
    assert np.mean(fresh >= 4) < 5e-4  # beyond what a twin's 400 steps can show


def test_stranger_is_never_less_surprising() -> None:
    random = np.random.default_rng(4)
    tables = fit_tables(np.abs(random.standard_normal((3, 100))).astype(np.float32))
    rising = surprises(tables, np.tile(np.linspace(0, 100, 500), (3, 1)))
    assert (np.diff(rising, axis=1) >= 0).all()
    assert rising[:, 0].max() < 0.1
    assert rising.max() <= SURPRISE_MAX
    assert (np.diff(tables, axis=1) > 0).all()


def test_a_twin_with_few_steps_gets_the_fleets_table() -> None:
    random = np.random.default_rng(5)
    statistics = np.abs(random.standard_normal((6, 300))).astype(np.float32)
    statistics[0, 10:] = np.nan
    tables = fit_tables(statistics)
    np.testing.assert_allclose(tables[0], np.median(tables[1:], axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("statistics", [np.full((2, 50), np.nan), np.zeros((2, 50)), np.ones((1, 3)), np.full((2, 200), 7.0)])
def test_records_without_variation_give_finite_rising_tables(statistics: np.ndarray) -> None:
    tables = fit_tables(statistics.astype(np.float32))
    assert tables.shape == (len(statistics), len(LEVELS))
    assert np.isfinite(tables).all()
    assert (np.diff(tables, axis=1) > 0).all()

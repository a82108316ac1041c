"""Windows that share their cells against windows cut out one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.windows import Patches, Stretches, Windows

SIZE, CHANNELS, TWINS, STEPS = 5, 3, 3, 40
_steps = st.lists(st.integers(SIZE - 1, STEPS - 1), max_size=12, unique=True).map(sorted)
_closing = st.lists(_steps, min_size=TWINS, max_size=TWINS)
_patch = st.tuples(st.integers(0, 10**6), st.integers(0, SIZE - 1), st.integers(0, CHANNELS - 1))

CELLS = np.arange(TWINS * STEPS * CHANNELS, dtype=np.float32).reshape(TWINS, STEPS, CHANNELS)
QUALITY = (CELLS % 7).astype(np.uint8)
OFFSETS = np.random.default_rng(1).integers(0, 1000, (TWINS, STEPS))


def _windows(closing: list[list[int]], drawn: list[tuple[int, int, int]]) -> tuple[Windows, np.ndarray, np.ndarray]:
    """Windows that end in these steps of each twin, the same cut out one by one, the smallest offset in each."""
    twin = np.array([one for one, steps in enumerate(closing) for _ in steps], np.int64)
    step = np.array([one for steps in closing for one in steps], np.int64)
    stretches = Stretches.of(twin, step, SIZE)
    at = stretches.twin, stretches.step
    expected = np.array([CELLS[t, s - SIZE + 1 : s + 1] for t, s in zip(twin, step, strict=True)]).reshape(-1, SIZE, CHANNELS)
    patches = [(window % len(twin), place, channel) for window, place, channel in drawn] if len(twin) else []
    for number, (window, place, channel) in enumerate(patches):
        expected[window, place, channel] = -number
    columns = np.array(patches, np.int64).reshape(-1, 3).T
    made = Patches(*columns, -np.arange(len(patches), dtype=np.float32))
    smallest = np.array([OFFSETS[t, s - SIZE + 1 : s + 1].min() for t, s in zip(twin, step, strict=True)], np.int64)
    np.testing.assert_array_equal(stretches.smallest(OFFSETS[at]), smallest)
    return Windows(SIZE, CELLS[at], QUALITY[at], stretches.last, made), expected, twin


@settings(deadline=None)
@given(_closing, st.lists(_patch, max_size=5), st.integers(1, SIZE), st.randoms(use_true_random=False))
def test_windows_are_what_is_cut_out_one_by_one(closing: list[list[int]], drawn: list, steps: int, random) -> None:
    windows, expected, _ = _windows(closing, drawn)
    np.testing.assert_array_equal(windows.values, expected)
    at = [one for one in range(len(windows)) if random.random() < 0.7]
    random.shuffle(at)
    values, quality = windows.newest(np.array(at, np.int64), steps)
    np.testing.assert_array_equal(values, expected[at][:, SIZE - steps :])
    assert values.shape == quality.shape == (len(at), steps, CHANNELS)


@settings(deadline=None)
@given(_closing, _closing, st.lists(_patch, max_size=5), st.lists(_patch, max_size=5))
def test_joined_windows_follow_each_other(first: list, second: list, drawn: list, more: list) -> None:
    parts = [_windows(first, drawn), _windows(second, more)]
    joined = Windows.joined([windows for windows, _, _ in parts])
    np.testing.assert_array_equal(joined.values, np.concatenate([expected for _, expected, _ in parts]))
    np.testing.assert_array_equal(joined.quality, np.concatenate([windows.quality for windows, _, _ in parts]))


def test_steps_of_one_twin_share_their_cells() -> None:
    windows, _, _ = _windows([[10, 11, 12], [20], []], [])
    assert len(windows.cells) == (SIZE - 1 + 3) + SIZE

"""The benchmark's scorer: what its description says, on cases worked out by hand, and what it says of known detectors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import orjson
import pytest

from deploy.eval.nab import BenchmarkMissing, livetwin_scores, read_corpus
from deploy.eval.nab_figures import evaluated, scorer_checks
from deploy.eval.nab_scoring import FEW_MISSED, STANDARD, LabelledSeries, row_weights, score_corpus

# 100 rows, of which 15 are on probation; windows of ten rows
TWO = LabelledSeries("two", 100, ((30, 39), (70, 79)))
NONE = LabelledSeries("none", 60, ())
FIRST = 1.0 / math.tanh(2.5)  # scales the reward so that a window's first row earns all of it: 2 / (1 + exp(-5)) - 1


def detections(series: LabelledSeries, *rows: int) -> np.ndarray:
    return np.isin(np.arange(series.rows), rows).astype(float)


def raw(series: LabelledSeries, *rows: int) -> float:
    return score_corpus([series], [detections(series, *rows)], threshold=0.5).raw


def test_a_detector_that_says_nothing_gets_0_and_one_that_knows_all_gets_100() -> None:
    corpus = [TWO, NONE]
    for constant in (0.0, 0.5, 7.0):
        assert score_corpus(corpus, [np.full(one.rows, constant) for one in corpus]).value == 0
    assert score_corpus(corpus, [detections(TWO, 30, 70), detections(NONE)]).value == pytest.approx(100)


def test_a_window_counts_once_by_its_earliest_detection() -> None:
    assert raw(TWO, 30) == pytest.approx(1 - 1)
    assert raw(TWO, 30, 31, 39) == pytest.approx(1 - 1)
    # four rows in: 0.6 of a width before the end
    assert raw(TWO, 34, 38) == pytest.approx(math.tanh(2.5 * 0.6) * FIRST - 1)
    assert raw(TWO) == -2


def test_a_false_detection_costs_more_the_further_it_is_behind_a_window() -> None:
    assert raw(NONE, 20) == pytest.approx(-0.11)
    assert raw(TWO, 20) == pytest.approx(-2 - 0.11)
    assert raw(TWO, 40) == pytest.approx(-2 - 0.11 * math.tanh(2.5 / 9))  # one row behind, nine steps are a width
    assert raw(TWO, 67) == pytest.approx(-2 - 0.11 * math.tanh(2.5 * 28 / 9))
    assert raw(TWO, 68, 69) == pytest.approx(-2 - 2 * 0.11, rel=1e-12)  # more than three widths: all of it


def test_the_probationary_period_counts_for_nothing() -> None:
    assert raw(TWO, *range(15)) == raw(TWO)
    assert raw(TWO, 14) == raw(TWO) != raw(TWO, 15)
    begins_in_it = LabelledSeries("early", 100, ((5, 24),))
    weight, _ = row_weights(begins_in_it, STANDARD)
    assert raw(begins_in_it, 5) == -1
    assert raw(begins_in_it, 5, 15) == pytest.approx(weight[15])
    assert score_corpus([LabelledSeries("gone", 100, ((5, 14),))], [np.ones(100)], threshold=2.0).raw == 0


def test_one_threshold_is_the_best_for_the_corpus_not_for_a_series() -> None:
    rng = np.random.default_rng(5)
    corpus = [LabelledSeries(str(n), 400, ((100 + 7 * n, 120 + 7 * n), (300, 330))) for n in range(6)]
    scores = [np.round(rng.random(400), 2) for _ in corpus]  # many rows share a score
    for profile in (STANDARD, FEW_MISSED):
        found = score_corpus(corpus, scores, profile)
        each = {t: score_corpus(corpus, scores, profile, threshold=t).raw for t in [*np.unique(np.concatenate(scores)), np.inf]}
        assert found.raw == max(each.values()) == pytest.approx(each[found.threshold])
        assert sum(found.by_series.values()) == pytest.approx(found.raw)


def test_scores_that_are_missing_or_no_numbers_are_refused() -> None:
    for wrong in (np.zeros(99), np.full(100, np.nan)):
        with pytest.raises(
            ValueError, match=r"two: \d+ scores of which \d+ are numbers, expected 100; the corpus was not scored"
        ):
            score_corpus([TWO], [wrong])


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """A folder laid out as the benchmark's: one series with a jump, whose rows are not all in order of time."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "made").mkdir(parents=True)
    times = np.datetime64("2014-04-01T00:00:00") + np.arange(900) * np.timedelta64(300, "s")
    value = 10 + np.sin(np.arange(900) / 20) + np.random.default_rng(2).normal(0, 0.05, 900)
    value[600:640] += 5
    order = np.arange(900)
    order[[700, 701]] = order[[701, 700]]
    lines = [f"{str(times[at]).replace('T', ' ')},{value[at]:.4f}" for at in order]
    (tmp_path / "data" / "made" / "jump.csv").write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    window = [str(times[at]).replace("T", " ") + ".000000" for at in (590, 650)]
    (tmp_path / "labels" / "combined_windows.json").write_bytes(orjson.dumps({"made/jump.csv": [window]}))
    return tmp_path


@pytest.mark.slow
def test_the_benchmark_is_read_and_scored_by_livetwin_row_for_row(benchmark: Path) -> None:
    (series,) = read_corpus(benchmark)
    assert series.labelled == LabelledSeries("made/jump.csv", 900, ((590, 650),))
    scores = livetwin_scores(series, seed=0)
    assert 600 <= int(np.argmax(scores)) < 660
    assert len(scores) == series.labelled.rows
    figures = {
        one.measure: one for one in [*scorer_checks(benchmark, [series.labelled]), *evaluated([series.labelled], [scores])]
    }
    assert figures["NAB scorer, null detector"].value == 0
    assert figures["NAB scorer, perfect detector"].ratio == pytest.approx(1)
    assert figures["NAB, standard"].value == score_corpus([series.labelled], [scores]).value
    assert figures["NAB, standard, beside ARTime"].reference == 74.9


def test_a_folder_without_the_benchmark_says_where_to_get_it(tmp_path: Path, benchmark: Path) -> None:
    with pytest.raises(BenchmarkMissing, match=r"combined_windows\.json is not there.*git clone"):
        read_corpus(tmp_path / "nothing")
    (benchmark / "data" / "made" / "jump.csv").unlink()
    with pytest.raises(BenchmarkMissing, match=r"jump\.csv is not there, but"):
        read_corpus(benchmark)

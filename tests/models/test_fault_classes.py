"""Labels of people become a head that tells faults apart, or a reason why not; a guess depends on its own step alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import fault_learning, version
from models.detectors import DETECTORS
from models.fault_features import describe, feature_count
from models.fault_file import Faults
from models.fault_head import FaultHead
from models.fault_labels import OF_EVENT, PERIODS_MOST, Examples, LabelledPeriod, _chosen, events_of, examples
from models.fault_report import FaultReport
from models.port import VersionRefused
from models.served import ServedModel
from models.training import Trained
from models.windows import gather, padded
from tests.models.faulty_fleets import labelled


@pytest.fixture(scope="module")
def found(trained: Trained) -> Examples:
    return examples(trained.model, *labelled())


@pytest.fixture(scope="module")
def learnt(found: Examples) -> tuple[FaultHead, FaultReport]:
    head, report = fault_learning.learn(found, seed=1)
    assert head is not None, report.why
    return head, report


@pytest.fixture(scope="module")
def faults(found: Examples, learnt: tuple[FaultHead, FaultReport]) -> Faults:
    return Faults(found, learnt[0])


def serving(trained: Trained, faults: Faults | None) -> ServedModel:
    made = version.decode(trained.payload)
    return ServedModel(made.info, made.detectors, sha256="", device="cpu", faults=faults)


def features_of(model: ServedModel, seed: int, kind: str) -> np.ndarray:
    """Of the fourth step of faults that nothing was learnt from."""
    block, periods = labelled(4, seed=seed, kinds=(kind,))
    values, quality = padded(block, model.window)
    twins = np.array([block.assets.index(one.asset) for one in periods])
    steps = np.array([one.from_ns // block.period_ns - block.first_step + 4 for one in periods])
    windows, marks = gather(values, quality, twins, steps, model.window)
    return describe(model.score(model.rows(block.assets)[twins], windows, marks, block.time_ns()[steps]), windows, marks)


def test_faults_that_were_not_learnt_from_are_told_apart(trained: Trained, learnt: tuple[FaultHead, FaultReport]) -> None:
    head, report = learnt
    said = {kind: [guess.probabilities for guess in head.guess(features_of(trained.model, 31, kind))] for kind in head.classes}
    right = [max(one, key=one.__getitem__) == kind for kind, several in said.items() for one in several]
    assert sum(right) >= 7, said
    assert report.accuracy > 0.8 > 0.6 > report.majority
    assert report.classes == ("noise", "offset")


def test_the_report_counts_each_left_out_period_once(found: Examples, learnt: tuple[FaultHead, FaultReport]) -> None:
    _, report = learnt
    confusion = np.array(report.confusion)
    assert confusion.sum(axis=1).tolist() == [report.labels[name] for name in report.classes]
    assert report.accuracy == pytest.approx(np.trace(confusion) / confusion.sum(), abs=1e-4)
    assert len(found.periods) + found.unseen == 12
    assert report.figures()["fault_labels"] == len(found.periods)


def test_labels_that_say_nothing_give_no_head_and_the_reason(found: Examples) -> None:
    mixed = np.random.default_rng(2).permutation(len(found.periods))
    periods = tuple(replace(one, label=found.periods[at].label) for one, at in zip(found.periods, mixed.tolist(), strict=True))
    head, report = fault_learning.learn(replace(found, periods=periods), seed=1)
    assert head is None
    assert not report.kept
    assert report.why.startswith("faults are not told apart: accuracy")


@pytest.mark.parametrize("short", [{"accuracy": 0.6, "majority": 0.6}, {"log_loss": 0.7, "log_loss_shares": 0.7}])
def test_a_head_must_beat_both_ways_of_saying_nothing(
    found: Examples, learnt: tuple[FaultHead, FaultReport], short: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_learning, "_report", lambda *_: replace(learnt[1], kept=False, **short))
    assert fault_learning.learn(found, seed=1)[0] is None


def test_too_few_labels_give_no_head_and_the_reason(trained: Trained) -> None:
    block, periods = labelled(8)
    rare = [replace(one, label="leak") if place == 1 else one for place, one in enumerate(periods)]
    head, report = fault_learning.learn(examples(trained.model, block, [one for one in rare if one.label != "noise"]), seed=1)
    assert head is None
    assert "two classes expected" in report.why
    assert "leak (1)" in report.why


def test_one_event_at_many_twins_counts_once(found: Examples) -> None:
    noise = next(one for one in found.periods if one.label == "noise")
    many = tuple(
        one if one.label == "offset" else replace(one, from_ns=noise.from_ns, to_ns=noise.to_ns) for one in found.periods
    )
    head, report = fault_learning.learn(replace(found, periods=many), seed=1)
    assert head is None
    assert "noise (1)" in report.why


def test_no_event_is_on_both_sides_of_a_fold() -> None:
    periods = [
        LabelledPeriod(f"p{twin}", 100 * event + 7 * twin, 100 * event + 50, "leak") for event in range(6) for twin in range(4)
    ]
    events = events_of(periods)
    assert events.tolist() == [event for event in range(6) for _ in range(4)]
    folds = fault_learning._folds(events, np.zeros(len(events), np.int64), seed=3)
    assert all(len(set(folds[events == event].tolist())) == 1 for event in range(6))
    assert len(set(folds.tolist())) == 5


def test_one_event_at_many_twins_leaves_room_for_others() -> None:
    newest = [LabelledPeriod(f"p{twin:02d}", 9_000 + twin, 9_500, "leak") for twin in range(3 * OF_EVENT)]
    older = [LabelledPeriod("p1", 10 * event, 10 * event + 5, "leak") for event in range(2 * PERIODS_MOST)]
    kept = _chosen([*older, *newest])
    assert kept == [*older[-(PERIODS_MOST - OF_EVENT) :], *newest[:OF_EVENT]]


def test_a_period_belongs_to_who_spoke_last_and_calm_ones_show_nothing(trained: Trained) -> None:
    block, periods = labelled(2)
    again = [*periods, *(replace(one, label="normal") for one in periods)]
    found = examples(trained.model, block, again)
    assert {one.label for one in found.periods} == {"normal"}
    calm = replace(periods[0], from_ns=block.first_step * block.period_ns, to_ns=(block.first_step + 80) * block.period_ns)
    assert examples(trained.model, block, [calm, replace(calm, asset="nobody")]).unseen == 2


def test_a_guess_depends_on_its_own_step_alone(trained: Trained, learnt: tuple[FaultHead, FaultReport]) -> None:
    head, _ = learnt
    features = np.concatenate([features_of(trained.model, seed, kind) for seed in (40, 41) for kind in head.classes])
    together = head.guess(features)
    assert [head.guess(features[row : row + 1])[0] for row in range(len(features))] == together
    assert head.guess(features[::-1])[::-1] == together


def test_nothing_is_named_that_is_like_no_example(learnt: tuple[FaultHead, FaultReport]) -> None:
    head, _ = learnt
    strange = head.centre + 8 * head.spread
    assert [(one.label, one.why) for one in head.guess(strange[None])] == [(None, "far")]
    unsure = replace(head, weights=np.zeros_like(head.weights), bias=np.zeros_like(head.bias))
    one = unsure.guess(head.centre + head.spread * head.examples[:1])[0]
    assert (one.label, one.why) == (None, "unsure")


def test_a_version_file_holds_the_head_and_its_examples(trained: Trained, faults: Faults) -> None:
    model = serving(trained, faults)
    payload = version.encode(model.info, model.detectors, faults)
    loaded = version.decode(payload)
    features = features_of(trained.model, 50, "noise")
    assert loaded.fault_head is not None
    assert faults.head is not None
    assert loaded.fault_head.guess(features) == faults.head.guess(features)
    assert loaded.faults is not None
    assert loaded.faults.examples.periods == faults.examples.periods
    assert np.array_equal(loaded.faults.examples.features, faults.examples.features)
    assert version.encode(loaded.info, loaded.detectors, loaded.faults) == payload
    assert version.named(model.info, model.detectors, 1, faults) != version.named(model.info, model.detectors, 1)


def test_examples_travel_without_a_head_until_there_are_enough(trained: Trained, found: Examples) -> None:
    few = Faults(found.of(["noise"]), None)
    loaded = version.decode(version.encode(trained.model.info, trained.model.detectors, few))
    assert loaded.fault_head is None
    assert loaded.faults is not None
    assert {one.label for one in loaded.faults.examples.periods} == {"noise"}


def test_a_version_without_labels_is_as_it_was(trained: Trained) -> None:
    assert serving(trained, None).fault_head is None
    assert version.encode(trained.model.info, trained.model.detectors) == trained.payload
    assert b"fault" not in trained.payload


def test_a_copy_in_place_takes_the_head_too(trained: Trained, faults: Faults) -> None:
    model = serving(trained, None)
    model.copy_from(serving(trained, faults))
    assert model.fault_head is faults.head


@pytest.mark.parametrize("flaw", ["weights", "temperature", "share", "no head", "period", "class"])
def test_broken_faults_are_refused(trained: Trained, faults: Faults, flaw: str) -> None:
    head, known = faults.head, faults.examples
    assert head is not None
    broken = {
        "weights": Faults(known, replace(head, weights=head.weights * np.nan)),
        "temperature": Faults(known, replace(head, temperature=0.0)),
        "share": Faults(known, replace(head, share=head.share[:1])),
        "no head": Faults(known, replace(head, classes=())),
        "period": Faults(replace(known, period=known.period[::-1].copy()), head),
        "class": Faults(known, replace(head, classes=("noise", "leak"))),
    }[flaw]
    with pytest.raises(VersionRefused, match=r"fault") as refused:
        version.decode(version.encode(trained.model.info, trained.model.detectors, broken))
    assert refused.value.reason == "shape"


def test_what_the_block_has_left_behind_is_remembered(trained: Trained, found: Examples) -> None:
    block, periods = labelled()
    later = block.between(300, block.steps)
    before = [one for one in found.periods if one.to_ns <= later.first_step * block.period_ns]
    assert before
    assert set(examples(trained.model, later, periods).periods).isdisjoint(before)
    remembered = examples(trained.model, later, periods, found)
    assert set(before) < set(remembered.periods)
    of_first = remembered.features[remembered.period == remembered.periods.index(before[0])]
    assert np.array_equal(of_first, found.features[found.period == found.periods.index(before[0])])
    corrected = examples(trained.model, later, [*periods, replace(before[0], label="normal")], found)
    assert before[0] not in corrected.periods
    assert examples(trained.model, later, periods[1:], found).periods.count(periods[0]) == 0


def test_features_are_as_many_as_they_say(trained: Trained) -> None:
    assert features_of(trained.model, 60, "offset").shape == (4, feature_count(2, len(DETECTORS)))

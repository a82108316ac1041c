"""An alert names earlier ones of its twin that looked like it, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.twin.test_alert_state import STEP, fold, signal
from twin.alert_command import OperatorCommand, fold_command
from twin.alert_likeness import MOST_SIMILAR, signature, similarity
from twin.alert_state import AlertState, AssetAlerts


def evidence(flow: float, pressure: float, **detectors: float) -> dict[str, Any]:
    """Signed contributions of two channels."""
    channels = [
        {"name": name, "contribution": abs(size), "off": size, "seen": 0.0, "expected": None}
        for name, size in (("flow", flow), ("pressure", pressure))
    ]
    return {"channels": channels, "detectors": detectors, "partition": 0, "first_offset": 0, "last_offset": 0}


def one_after_the_other(*found: dict[str, Any]) -> tuple[AssetAlerts, list[AlertState]]:
    """Alerts that each begin long after the one before has cleared; the revisions that open them."""
    asset, opened = AssetAlerts(), []
    for number, each in enumerate(found):
        at = 10 * STEP * (number + 1)
        asset, shown = fold([signal("raise", at, at, evidence=each), signal("clear", at + 5 * STEP, at)], asset)
        opened.append(shown[0])
    return asset, opened


LEAK = evidence(0.1, -0.9, shift=0.8, level=0.2)
LEAK_AGAIN = evidence(0.2, -0.8, shift=0.7, level=0.3)
OTHER_SIDE = evidence(0.1, 0.9, shift=0.8, level=0.2)
OTHER_CHANNEL = evidence(0.9, -0.1, shift=0.8, level=0.2)
OTHER_DETECTOR = evidence(0.1, -0.9, shape=1.0)


def test_an_alert_names_the_earlier_one_that_looked_like_it_and_what_became_of_it() -> None:
    asset, (first, *_) = one_after_the_other(LEAK)
    said = OperatorCommand("c1", "false-alarm", first.id, "kim", 0, text="A hydrant was flushed.")
    asset = fold_command(asset, said).asset
    for other in (OTHER_SIDE, OTHER_CHANNEL, OTHER_DETECTOR):
        at = 500 * STEP
        _, shown = fold([signal("raise", at, at, evidence=other)], asset)
        assert shown[-1].similar == (), other
    _, shown = fold([signal("raise", 500 * STEP, 500 * STEP, evidence=LEAK_AGAIN)], asset)
    (named,) = shown[-1].similar
    assert (named.id, named.false_alarm, named.comment) == (first.id, True, "A hydrant was flushed.")
    assert named.cleared_ns == first.onset_ns + 5 * STEP
    assert named.similarity == similarity(signature(LEAK), signature(LEAK_AGAIN)) > 0.9


def test_of_many_the_nearest_are_named_and_the_newer_of_equals_first() -> None:
    _, opened = one_after_the_other(*[LEAK] * (MOST_SIMILAR + 2), LEAK_AGAIN, LEAK)
    last = opened[-1]
    earlier = [one.id for one in opened[: MOST_SIMILAR + 2]]
    assert [one.id for one in last.similar] == earlier[::-1][:MOST_SIMILAR], "the less similar one came between"


def test_an_alert_of_another_type_is_not_compared() -> None:
    asset, _ = one_after_the_other(LEAK)
    later = replace(signal("raise", 900 * STEP, 900 * STEP, evidence=LEAK), type="dtmi:other;1")
    assert fold([later], asset)[1][-1].similar == ()


def test_evidence_of_older_records_is_compared_by_what_was_seen() -> None:
    old = {"channels": [{"name": "flow", "seen": 3.0, "expected": 5.0, "contribution": 1.0}]}
    new = {"channels": [{"name": "flow", "seen": 3.1, "expected": 5.0, "off": -1.9, "contribution": 1.0}]}
    assert similarity(signature(old), signature(new)) == 1.0
    assert signature({}) == {}

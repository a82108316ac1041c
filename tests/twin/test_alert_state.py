"""The claims of `twin.alert_state`: when an alert appears, changes, ends, and what changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.alert_state import AlertState, AssetAlerts, ConditionSignal, Severity, fold_signal

STEP = 10


def signal(
    kind: Literal["raise", "keep", "clear"],
    time_ns: int,
    onset_ns: int,
    *,
    condition: str = "anomaly",
    severity: Severity = "minor",
    risk: float = 0.5,
    on_delay_ns: int = 0,
    off_delay_ns: int = 2 * STEP,
    evidence: dict[str, Any] | None = None,
) -> ConditionSignal:
    return ConditionSignal(
        kind=kind,
        alert_id=f"{condition}@{onset_ns}",
        type="dtmi:test;1",
        condition=condition,
        severity=severity,
        onset_ns=onset_ns,
        time_ns=time_ns,
        risk=risk,
        on_delay_ns=on_delay_ns,
        off_delay_ns=off_delay_ns,
        evidence=evidence or {"partition": 0, "first_offset": time_ns, "last_offset": time_ns},
    )


def fold(signals: Iterable[ConditionSignal], asset: AssetAlerts | None = None) -> tuple[AssetAlerts, list[AlertState]]:
    asset = asset or AssetAlerts()
    shown: list[AlertState] = []
    for one in signals:
        folded = fold_signal(asset, one)
        asset = folded.asset
        shown += folded.changed
    return asset, shown


def brief(shown: Iterable[AlertState]) -> list[tuple[str, int, str]]:
    return [(alert.id, alert.revision, "active" if alert.active else "cleared") for alert in shown]


def test_without_on_delay_the_raise_itself_is_the_alert() -> None:
    _, shown = fold([signal("raise", 10, 10)])
    assert brief(shown) == [("anomaly@10", 1, "active")]
    assert shown[0].onset_ns == shown[0].updated_ns == 10


def test_alert_appears_once_the_on_delay_has_passed_with_the_strongest_evidence_from_the_first_offset() -> None:
    first = signal("raise", 10, 10, on_delay_ns=20, risk=0.3)
    strong = signal("keep", 20, 10, on_delay_ns=20, risk=0.9, severity="major")
    last = signal("keep", 30, 10, on_delay_ns=20, risk=0.4)
    assert fold([first, strong])[1] == []
    _, shown = fold([first, strong, last])
    assert brief(shown) == [("anomaly@10", 1, "active")]
    assert (shown[0].risk, shown[0].severity, shown[0].onset_ns) == (0.9, "major", 10)
    assert shown[0].evidence == {"partition": 0, "first_offset": 10, "last_offset": 20}


def test_a_clear_step_during_the_on_delay_starts_the_wait_anew_even_with_the_same_onset() -> None:
    on = [("raise", 10), ("clear", 20), ("keep", 30), ("keep", 40), ("keep", 50)]
    _, shown = fold([signal(kind, time, 10, on_delay_ns=20) for kind, time in on])  # type: ignore[arg-type]
    assert [(alert.id, alert.updated_ns) for alert in shown] == [("anomaly@10", 50)]


def test_alert_clears_only_when_clear_steps_have_come_for_the_off_delay() -> None:
    _, shown = fold([signal("raise", 10, 10), signal("clear", 20, 10), signal("clear", 29, 10)])
    assert brief(shown) == [("anomaly@10", 1, "active")]
    _, shown = fold([signal("raise", 10, 10), signal("clear", 20, 10), signal("clear", 30, 10)])
    assert brief(shown) == [("anomaly@10", 1, "active"), ("anomaly@10", 2, "cleared")]
    assert shown[-1].cleared_ns == 30


def test_flapping_within_the_off_delay_is_one_alert() -> None:
    flapping = []
    for time in range(10, 410, 40):
        flapping += [signal("raise", time, time), signal("clear", time + 10, time), signal("clear", time + 19, time)]
        flapping += [signal("raise", time + 20, time + 20), signal("clear", time + 30, time + 20)]
    _, shown = fold(flapping)
    assert brief(shown) == [("anomaly@10", 1, "active")]
    # and a gap between two keeps of the newest onset, longer than the off-delay, is no new alert
    _, shown = fold([signal("raise", 10, 10), signal("raise", 20, 20), signal("keep", 500, 20)])
    assert brief(shown) == [("anomaly@10", 1, "active")]


def test_another_onset_after_the_off_delay_is_another_alert_even_when_the_clears_were_lost() -> None:
    _, shown = fold([signal("raise", 10, 10), signal("raise", 100, 100)])
    assert brief(shown) == [("anomaly@10", 1, "active"), ("anomaly@10", 2, "cleared"), ("anomaly@100", 1, "active")]
    asset, shown = fold([signal("raise", 10, 10), signal("clear", 30, 10), signal("raise", 100, 100)])
    assert brief(shown) == [("anomaly@10", 1, "active"), ("anomaly@10", 2, "cleared"), ("anomaly@100", 1, "active")]
    assert list(asset.closed) == ["anomaly@10"]


def test_an_onset_that_had_an_alert_gets_the_same_one_again_with_the_next_revision() -> None:
    asset, _ = fold([signal("raise", 10, 10), signal("clear", 30, 10)])
    condition = asset.conditions["anomaly"]
    assert condition.alert is not None
    seen = replace(condition, alert=replace(condition.alert, acknowledged=True))
    _, shown = fold([signal("keep", 40, 10)], replace(asset, conditions={"anomaly": seen}))
    assert brief(shown) == [("anomaly@10", 3, "active")]
    assert not shown[0].acknowledged
    assert shown[0].cleared_ns is None


def test_keeps_show_severity_at_once_and_risk_by_visible_steps_only() -> None:
    risks: list[tuple[Severity, float]] = [("minor", 0.50), ("minor", 0.54), ("minor", 0.59), ("minor", 0.60), ("major", 0.61)]
    risks += [("minor", 0.2)] * 100
    steps = [signal("keep", 10 * at, 10, severity=word, risk=risk) for at, (word, risk) in enumerate(risks, start=2)]
    _, shown = fold([signal("raise", 10, 10, risk=0.50), *steps])
    assert [(alert.severity, alert.risk) for alert in shown] == [("minor", 0.50), ("minor", 0.60), ("major", 0.61)]


def test_a_clear_of_something_never_raised_shows_nothing() -> None:
    assert fold([signal("clear", 10, 5), signal("clear", 100, 5)])[1] == []


def test_an_onset_that_comes_back_after_its_alert_was_cleared_for_another_goes_on_counting() -> None:
    """No processor sends that; whoever does gets the revisions in order all the same."""
    steps = [signal("raise", 60, 60), signal("raise", 70, 70), signal("keep", 90, 60)]
    _, shown = fold([replace(one, off_delay_ns=10) for one in steps])
    assert [(alert.id, alert.revision, alert.active) for alert in shown] == [
        ("anomaly@60", 1, True),
        ("anomaly@60", 2, False),
        ("anomaly@60", 3, True),
    ]


def test_conditions_of_an_asset_do_not_touch_each_other() -> None:
    first = [signal("raise", 10, 10), signal("clear", 30, 10)]
    second = [
        signal("raise", 10, 10, condition="stuck:flow"),
        signal("keep", 30, 10, condition="stuck:flow", severity="critical"),
    ]
    _, shown = fold([first[0], second[0], first[1], second[1]])
    assert brief(alert for alert in shown if alert.condition == "anomaly") == brief(fold(first)[1])
    assert [alert for alert in shown if alert.condition == "stuck:flow"] == fold(second)[1]


# ── any stream of signals that keeps to the contract, and many that do not ─────────────────────────────────────────────

kinds = st.sampled_from(["raise", "keep", "clear"])


@st.composite
def streams(draw: st.DrawFn) -> list[ConditionSignal]:
    delays = {
        "on_delay_ns": draw(st.sampled_from([0, STEP, 3 * STEP])),
        "off_delay_ns": draw(st.sampled_from([0, STEP, 3 * STEP])),
    }
    onset, found = STEP, []
    for at in range(draw(st.integers(1, 40))):
        time = STEP * (1 + at + draw(st.integers(0, 1)) * draw(st.integers(0, 5)))
        kind = draw(kinds)
        onset = time if kind == "raise" and draw(st.booleans()) else min(onset, time)
        found.append(
            signal(
                kind,
                time,
                onset,
                condition=draw(st.sampled_from(["anomaly", "limit:flow:high"])),
                severity=draw(st.sampled_from(["indeterminate", "warning", "minor", "major", "critical"])),
                risk=draw(st.floats(0, 1)),
                **delays,
            )
        )
    return found


@settings(max_examples=150, deadline=None)
@given(streams(), st.data())
def test_redelivery_of_any_stretch_changes_nothing(signals: list[ConditionSignal], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(signals)))
    back = data.draw(st.integers(0, at))
    assert fold([*signals[:at], *signals[back:at], *signals[at:]]) == fold(signals)
    asset, _ = fold(signals)
    assert fold(signals, asset) == (asset, [])


@settings(max_examples=100, deadline=None)
@given(streams(), st.lists(st.integers(1, 7), max_size=10))
def test_batch_boundaries_change_nothing(signals: list[ConditionSignal], sizes: Sequence[int]) -> None:
    asset, shown = AssetAlerts(), []
    rest = list(signals)
    for size in [*sizes, len(signals)]:
        asset, more = fold(rest[:size], asset)
        shown += more
        rest = rest[size:]
    assert (asset, shown) == fold(signals)


@settings(max_examples=150, deadline=None)
@given(streams())
def test_revisions_count_up_by_one_and_severity_and_risk_never_fall_while_active(signals: list[ConditionSignal]) -> None:
    _, shown = fold(signals)
    newest: dict[str, AlertState] = {}
    rank = ["indeterminate", "warning", "minor", "major", "critical"].index
    for alert in shown:
        before = newest.get(alert.id)
        assert alert.revision == (before.revision + 1 if before else 1)
        if before is not None:
            assert rank(alert.severity) >= rank(before.severity)
            assert alert.risk >= before.risk
            assert alert.updated_ns >= before.updated_ns
        assert alert.active == (alert.cleared_ns is None)
        newest[alert.id] = alert
    for condition in {alert.condition for alert in shown}:
        assert sum(alert.active for alert in newest.values() if alert.condition == condition) <= 1


@pytest.mark.parametrize("field", ["kind", "severity", "risk", "evidence"])
def test_a_signal_of_an_old_time_changes_nothing_whatever_it_says(field: str) -> None:
    asset, _ = fold([signal("raise", 10, 10), signal("keep", 20, 10)])
    other = {"kind": "clear", "severity": "critical", "risk": 1.0, "evidence": {"partition": 9}}
    assert fold([replace(signal("keep", 20, 10), **{field: other[field]})], asset) == (asset, [])

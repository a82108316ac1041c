"""By how steps came it is judged whether they have stopped coming."""

from __future__ import annotations

import numpy as np
import pytest

from streams.arrivals import KNOWN_MS, LEAST_MS, UNKNOWN_MS, Arrival, Arrivals, Quiet

PLACE = ("dtmi:test:pump;1", 3)
HOUR = 3_600_000


def after(times_ms: list[int], waited_ms: int, *, live: bool = True, unknown_ms: int = 0) -> Arrival:
    found = Arrivals()
    for time_ms in times_ms:
        found.put(*PLACE, time_ms, live=live)
    (told,) = found.told(times_ms[-1] + waited_ms, {PLACE: 7}, lambda _: unknown_ms)
    return told


def every(pause_ms: int, span_ms: int = 2 * KNOWN_MS) -> list[int]:
    return list(range(0, span_ms, pause_ms))


@pytest.mark.parametrize("pause_ms", [100, 2000])
def test_a_source_that_sends_all_the_time_is_missed_after_a_minute(pause_ms: int) -> None:
    assert not after(every(pause_ms), LEAST_MS - 2000).quiet
    told = after(every(pause_ms), LEAST_MS + 2000)
    assert (told.quiet, told.twins, told.limit_ms) == (True, 7, LEAST_MS)


def test_a_source_that_sends_each_hour_in_one_go_is_not_missed_for_hours() -> None:
    bursts = [hour * HOUR + second * 1500 for hour in range(6) for second in range(10)]
    assert not after(bursts, 2 * HOUR).quiet
    assert after(bursts, 7 * HOUR).quiet


def test_a_source_that_sends_at_random_is_seldom_missed() -> None:
    pauses = np.random.default_rng(5).exponential(60_000, 3000)
    found, time_ms, missed = Arrivals(), 0, 0
    for number, pause in enumerate(pauses.astype(int).tolist()):
        if number > 200:
            missed += found.told(time_ms + pause - 1, {PLACE: 1}, lambda _: 0)[0].quiet
        time_ms += pause
        found.put(*PLACE, time_ms, live=True)
    assert missed <= 2


def test_an_outage_is_soon_forgotten() -> None:
    before = every(2000)
    later = [before[-1] + 5 * HOUR + time for time in every(2000, 600_000)]
    assert after([*before, *later], 2 * LEAST_MS).quiet


def test_a_slower_rhythm_is_learnt() -> None:
    slow = [2 * KNOWN_MS + time for time in every(HOUR // 2, 24 * HOUR)]
    assert not after([*every(2000), *slow], HOUR // 2).quiet


def test_until_a_rhythm_is_known_nothing_is_missed_at_once() -> None:
    short = every(2000, 60_000)
    assert not after(short, UNKNOWN_MS - 1).quiet
    assert after(short, UNKNOWN_MS + 1).quiet
    assert not after(short, UNKNOWN_MS + 1, unknown_ms=HOUR).quiet
    assert after(every(2000), LEAST_MS + 2000, unknown_ms=HOUR).quiet


def test_what_was_read_from_a_compacted_topic_tells_when_and_not_how_often() -> None:
    told = after([0, 5 * HOUR, 9 * HOUR], UNKNOWN_MS - 1, live=False)
    assert (told.last_ms, told.limit_ms, told.quiet) == (9 * HOUR, UNKNOWN_MS, False)


def test_what_was_told_last_is_known() -> None:
    found, told = Arrivals(), Quiet(type=PLACE[0], partition=PLACE[1], quiet=True, twins=7, since_ns=0, limit_ns=1)
    found.take(told)
    assert found.known == {PLACE}
    found.take(told.model_copy(update={"quiet": False}))
    assert found.known == set()


def test_who_has_no_twins_any_more_is_not_missed() -> None:
    found = Arrivals()
    found.put(*PLACE, 0, live=True)
    assert found.told(10**10, {}, lambda _: 0) == []

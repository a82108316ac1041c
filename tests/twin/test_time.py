"""Event times: what is accepted, what it means, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twin.errors import ReadingRefused
from twin.time import epoch_ns, parse_time, parse_times

NS_PER_S = 10**9
moments = st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 10), timezones=st.just(UTC))  # noqa: DTZ001 (the zone is added)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def nanoseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@given(moments, offsets)
def test_a_text_means_the_same_moment_in_every_time_zone(moment: datetime, offset: timezone) -> None:
    assert parse_time(moment.isoformat()) == nanoseconds(moment)
    assert parse_time(moment.isoformat().replace("+00:00", "Z")) == nanoseconds(moment)
    assert parse_time(moment.astimezone(offset).isoformat()) == nanoseconds(moment)


@given(moments, st.integers(0, 999_999_999))
def test_nine_digits_of_a_second_are_kept(moment: datetime, fraction: int) -> None:
    second = moment.replace(microsecond=0)
    assert parse_time(f"{second.isoformat()[:19]}.{fraction:09d}Z") == nanoseconds(second) + fraction


@given(st.integers(10**8, 10**11 - 1))
def test_an_epoch_number_means_the_same_in_each_unit(seconds: int) -> None:
    moment = seconds * NS_PER_S
    if moment > 2**63 - 1:
        with pytest.raises(ReadingRefused):
            parse_time(seconds)
        return
    assert parse_time(seconds) == parse_time(seconds * 10**3) == parse_time(seconds * 10**6) == parse_time(moment) == moment


@pytest.mark.parametrize(("bound", "scale"), [(10**11, 10**9), (10**14, 10**6), (10**17, 10**3)])
def test_no_time_lies_near_a_bound_between_units(bound: int, scale: int) -> None:
    """Below it the larger unit is far in the future, and refused; above it the smaller one is of 1973."""
    for number in (bound - 1, bound // 2, bound // 10):
        with pytest.raises(ReadingRefused):
            parse_time(number)
    assert not epoch_ns(np.array([bound - 1, bound // 10]))[1].any()
    expected = bound * (scale // 1000)
    assert expected == 10**8 * NS_PER_S  # 3 March 1973: nearer to 1970 than this, milli-, micro- and nanoseconds are not told
    assert parse_time(bound) == parse_time(float(bound)) == expected
    assert parse_times([bound, bound + 1]).tolist() == [expected, expected + scale // 1000]
    assert epoch_ns(np.array([bound]))[0].tolist() == [expected]


def test_the_last_moment_of_each_unit_is_in_2262() -> None:
    latest = 2**63 - 1
    for scale in (10**9, 10**6, 10**3, 1):
        assert parse_time(latest // scale) == latest // scale * scale
        with pytest.raises(ReadingRefused):
            parse_time(latest // scale + 1)


def test_a_leap_second_is_the_first_of_the_next_day_wherever_it_is_told() -> None:
    midnight = nanoseconds(datetime(2017, 1, 1, tzinfo=UTC))
    assert parse_time("2016-12-31T23:59:60Z") == parse_time("2016-12-31T15:59:60-08:00") == midnight
    assert parse_time("2016-12-31T23:59:60.123456789Z") == midnight + 123_456_789
    for wrong in ("2016-12-31T22:59:60Z", "2016-12-31T23:59:61Z", "2016-12-31T23:59:60+01:00", "2016-12-31T23:60:60Z"):
        with pytest.raises(ReadingRefused):
            parse_time(wrong)


def test_a_day_on_which_clocks_are_put_back_has_no_time_twice() -> None:
    first, second = parse_time("2026-10-25T02:30:00+02:00"), parse_time("2026-10-25T02:30:00+01:00")
    assert second - first == 3600 * NS_PER_S
    with pytest.raises(ReadingRefused):
        parse_time("2026-10-25T02:30:00")  # which of the two?


@given(st.integers(10**8, 9 * 10**9), st.integers(0, 999))
def test_fractions_of_an_epoch_second_are_kept_to_the_millisecond(seconds: int, milliseconds: int) -> None:
    assert abs(parse_time(seconds + milliseconds / 1000) - (seconds * NS_PER_S + milliseconds * 10**6)) < 10**4


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(max_value=-1),
        st.integers(min_value=2**63),
        st.sampled_from([float("nan"), float("inf"), -1.5, [], {}, ""]),
        st.sampled_from(["yesterday", "2024-02-30T00:00:00Z", "2024-01-01T00:00:00"]),
        st.text().filter(lambda text: not any(character.isdigit() for character in text)),
    )
)
def test_what_is_no_time_is_refused_with_the_reason_time(value: object) -> None:
    with pytest.raises(ReadingRefused) as refused:
        parse_time(value)
    assert refused.value.reason == "time"


@example([1_700_000_000, 1_700_000_000_500_000_000])
@example([9_223_372_037])
@given(st.lists(st.one_of(st.integers(0, 2**63 - 1), st.floats(0, 1e10), moments.map(datetime.isoformat)), max_size=20))
def test_many_times_mean_what_each_means_alone(values: list[object]) -> None:
    try:
        expected = [parse_time(value) for value in values]
    except ReadingRefused:
        with pytest.raises(ReadingRefused):
            parse_times(values)
        return
    found = parse_times(values)
    assert found.dtype == np.int64
    assert found.tolist() == expected

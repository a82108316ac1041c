"""A type inferred from a sample: it compiles, and its period is the one that was sampled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.guessing import guess_role, guess_unit
from twin.infer import channel_names, infer_period, infer_type, type_name
from twin.types import NS_PER_S, compile_type

START = 1_700_000_000 * NS_PER_S


@given(st.text(max_size=80), st.lists(st.text(max_size=90), min_size=1, max_size=8, unique=True))
def test_any_names_give_a_type_that_compiles(name: str, columns: list[str]) -> None:
    renamed = channel_names(columns)
    assert len(set(renamed.values())) == len(columns)
    assert not {"asset", "time"} & set(renamed.values())
    kind = compile_type(infer_type(name, {channel: np.ones(3) for channel in renamed.values()}, np.arange(3) * NS_PER_S))
    assert set(kind.channel_names) == set(renamed.values())
    assert type_name(name) in kind.id


@pytest.mark.parametrize("period_s", [0.01, 0.1, 1, 5, 60, 300, 3600, 86_400])
def test_the_period_is_found_despite_jitter_gaps_repeats_and_disorder(period_s: float) -> None:
    random = np.random.default_rng(7)
    times = START + np.round((np.arange(400) + random.uniform(-0.04, 0.04, 400)) * period_s * NS_PER_S).astype(np.int64)
    times = np.delete(times, random.choice(400, 40, replace=False))
    times = random.permutation(np.append(times, times[:20]))
    assert infer_period(times) == round(period_s * NS_PER_S)


def test_the_period_is_that_of_one_asset_where_many_take_turns() -> None:
    times = np.repeat(START + np.arange(50) * 60 * NS_PER_S, 10) + np.tile(np.arange(10) * NS_PER_S, 50)
    assets = np.tile([f"p{n}" for n in range(10)], 50)
    assert infer_period(times, assets) == 60 * NS_PER_S


def test_an_unusual_period_is_kept_as_it_is() -> None:
    assert infer_period(START + np.arange(50) * 45 * NS_PER_S) == 45 * NS_PER_S


def test_no_range_is_claimed_that_the_sample_does_not_prove() -> None:
    interface = infer_type("x", {"flow": np.array([0.0, 1.0]), "on": np.array([True, False])}, np.array([0, NS_PER_S]))
    kind = compile_type(interface)
    flow, on = kind.channels
    assert (flow.minimum, flow.maximum, flow.unit) == (None, None, None)
    assert (on.minimum, on.maximum) == (0, 1)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Temp °C", "degreeCelsius"),
        ("humidity_%", "percent"),
        ("flow_l_s", "litrePerSecond"),
        ("flow l/min", "litrePerMinute"),
        ("Q_m3_h", "cubicMetrePerHour"),
        ("vibration_mm_s", "mm/s"),
        ("wind_speed_m_s", "metrePerSecond"),
        ("p_bar_g", "bar"),
        ("uptime_s", "second"),
        ("conductivity_uS_cm", None),  # no centimetres
        ("a/b", None),  # no years a barn
        ("t_h", None),
    ],
)
def test_a_unit_of_two_parts_is_read_whole_or_not_at_all(name: str, unit: str | None) -> None:
    found = guess_unit(name)
    assert (found.value if found is not None else None) == unit


def test_a_valve_that_only_opened_in_the_sample_is_no_counter() -> None:
    opening = np.repeat(np.arange(15.0), 4)
    assert guess_role("valve_position", opening, np.ones(60, bool)).value == "actuator"
    assert guess_role("pieces", opening, np.ones(60, bool)).value == "counter"

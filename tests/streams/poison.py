"""Telemetry that nobody should send, as Hypothesis strategies, and drawn from a seed for runs outside of Hypothesis."""

from __future__ import annotations

import json
import random

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.streams.plant import START

NAMES = st.sampled_from(["asset", "time", "flow", "heat", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
times = st.one_of(st.integers(START, START + 50), st.lists(st.integers(START, START + 50), max_size=4), json_values)


def payloads(assets: list[str]) -> st.SearchStrategy[bytes | None]:
    """Nothing, noise, or a reading with anything in any place, often of one of these assets."""
    readings = st.fixed_dictionaries(
        {"asset": st.one_of(st.sampled_from(assets), json_values), "time": times},
        optional={"flow": json_values, "heat": json_values, "colour": json_values},
    )
    return st.one_of(st.none(), st.binary(max_size=40), readings.map(lambda one: json.dumps(one).encode()))


def drawn(count: int, assets: list[str], pick: random.Random) -> list[bytes | None]:
    """So many payloads, the same for the same state of `pick`."""
    found: list[bytes | None] = []

    @seed(pick.randrange(2**32))
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(payloads(assets))
    def draw(one: bytes | None) -> None:
        found.append(one)

    draw()
    return found[:count]

"""What every store must do when it is read: equal a plain reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.history import HistoryBlock
from twin.quality import Quality

from .backend import CONTRACT, Backend
from .blocks import PUMP, SECOND_NS, TANK, blocks, plain_block
from .reference import Reference


class ReadsContract:
    @CONTRACT
    @given(written=st.lists(blocks(), max_size=12), calls=st.integers(1, 4), moment=st.integers(-5, 70))
    def test_latest_and_any_moment_equal_the_reference(
        self, backend: Backend, written: list[HistoryBlock], calls: int, moment: int
    ) -> None:
        store, reference = backend.open(backend.address()), Reference()
        try:
            for start in range(0, len(written), calls):
                store.write_history(written[start : start + calls])
            for one in written:
                reference.write(one)
            assert store.latest() == reference.at(2**62)
            assert store.at(moment * SECOND_NS) == reference.at(moment * SECOND_NS)
            assert store.at(moment * SECOND_NS, ["a1", "a3", "nobody"]) == [
                twin for twin in reference.at(moment * SECOND_NS) if twin.asset in ("a1", "a3")
            ]
        finally:
            store.close()

    @CONTRACT
    @given(
        written=st.lists(blocks(types=(PUMP,)), min_size=1, max_size=12),
        start=st.integers(-5, 40),
        length=st.integers(0, 80),
        points=st.integers(1, 8),
    )
    def test_a_period_of_one_twin_equals_the_reference(
        self, backend: Backend, written: list[HistoryBlock], start: int, length: int, points: int
    ) -> None:
        store, reference = backend.open(backend.address()), Reference()
        try:
            store.write_history(written)
            for one in written:
                reference.write(one)
            for asset in ("a0", "a1", "nobody"):
                period = {"from_ns": start * SECOND_NS, "to_ns": (start + length) * SECOND_NS, "points": points}
                found = store.history(asset, channels=None, **period)
                assert len(found.risk.time_ns) <= points
                reference.assert_same_history(found, asset, **period)
                assert store.span(asset) == reference.span(asset)
        finally:
            store.close()

    def test_buckets_have_the_mean_the_extremes_and_the_last_time(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        values = np.sin(np.arange(1000, dtype=np.float32))
        store.write_history([plain_block(TANK, ["t1"], range(1, 1001), values=values[:, None])])
        found = store.history("t1", channels=["level"], from_ns=0, to_ns=2**62, points=10)
        store.close()
        level = found.channels[0]
        parts = values.reshape(10, 100)
        assert level.time_ns == [(100 * (nth + 1)) * SECOND_NS for nth in range(10)]
        np.testing.assert_allclose(level.value, parts.mean(axis=1), atol=1e-6)
        np.testing.assert_array_equal(np.float32(level.low), parts.min(axis=1))
        np.testing.assert_array_equal(np.float32(level.high), parts.max(axis=1))

    def test_only_the_channels_asked_for_are_read_and_unknown_ones_are_left_out(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        store.write_history([plain_block(PUMP, ["p1"], range(5))])
        found = store.history("p1", channels=["power", "colour"], from_ns=0, to_ns=2**62, points=10)
        store.close()
        assert [series.channel for series in found.channels] == ["power"]

    def test_a_number_that_is_not_finite_reads_as_none(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        values = np.array([[np.nan], [np.inf], [-np.inf], [1.0]], np.float32)
        store.write_history([plain_block(TANK, ["t1"], range(4), values=values, expected=values, spread=values)])
        found = store.history("t1", channels=None, from_ns=0, to_ns=2**62, points=10).channels[0]
        one = store.history("t1", channels=None, from_ns=0, to_ns=2**62, points=1).channels[0]
        twin = store.at(2 * SECOND_NS)[0]
        store.close()
        assert found.value == found.expected == found.spread == [None, None, None, 1.0]
        assert (one.value, one.low, one.high) == ([1.0], [1.0], [1.0])
        assert twin.values == {"level": None}

    def test_a_type_may_gain_channels(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        store.write_history([plain_block(TANK, ["t1"], range(3))])
        store.write_history([plain_block(TANK, ["t1"], range(3, 5), channels=("inflow", "level"))])
        history = store.history("t1", channels=None, from_ns=0, to_ns=2**62, points=10)
        found = {series.channel: series for series in history.channels}
        early, late = store.at(2 * SECOND_NS)[0], store.latest()[0]
        store.close()
        assert found["inflow"].value[:3] == [None] * 3
        assert found["inflow"].quality == [Quality.MISSING] * 3 + [0] * 2
        assert None not in found["level"].value
        assert (early.quality["inflow"], late.quality["inflow"]) == (Quality.MISSING, 0)

    def test_a_twin_that_changed_its_type_keeps_its_past(self, backend: Backend) -> None:
        store, grown = backend.open(backend.address()), "dtmi:test:Pump:Rab;2"
        try:
            store.write_history([plain_block(PUMP, ["a", "b"], range(10)), plain_block(PUMP, ["b"], range(10, 40))])
            later = plain_block(grown, ["a"], range(8, 30), channels=("flow", "heat"), values=np.full((22, 2), 7, np.float32))
            store.write_history([later])
            period = {"channels": None, "from_ns": 2 * SECOND_NS, "to_ns": 25 * SECOND_NS}
            found = store.history("a", **period, points=1000)
            assert [time_ns // SECOND_NS for time_ns in found.risk.time_ns] == list(range(2, 25))
            assert found.types == [(2 * SECOND_NS, PUMP), (8 * SECOND_NS, grown)]
            values = {one.channel: (one.value, one.quality) for one in found.channels}
            assert values["flow"] == ([1.0] * 6 + [7.0] * 17, [0] * 23)
            assert values["heat"] == ([None] * 6 + [7.0] * 17, [Quality.MISSING.value] * 6 + [0] * 17)
            assert values["power"] == ([1.0] * 6 + [None] * 17, [0] * 6 + [Quality.MISSING.value] * 17)
            for points in range(1, 30):
                few = store.history("a", **period, points=points).risk.time_ns
                assert 1 <= len(few) <= points
                assert few == sorted(few)
                assert points > 1 or few == [24 * SECOND_NS]
            assert store.history("b", **period, points=1000).types == []
        finally:
            store.close()

    def test_nothing_is_known_of_an_empty_store(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        found = (store.latest(), store.at(5), store.alerts(), store.swaps(), store.span("p1"))
        history = store.history("p1", channels=None, from_ns=0, to_ns=10, points=5)
        dropped = dict(store.enforce_limits(max_age_ns=1, max_bytes=1))
        store.close()
        assert found == ([], [], [], [], None)
        assert (history.channels, history.risk.time_ns) == ([], [])
        assert set(dropped.values()) <= {0}

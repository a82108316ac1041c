"""What every store must do when it is written to: each step, alert and swap once, older epochs and revisions not at all."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.history import HistoryBlock

from .backend import CONTRACT, Backend, everything
from .blocks import PUMP, SECOND_NS, TANK, alert, block, blocks, plain_block, serving
from .reference import Reference

DAY_MS = 24 * 3_600_000


class WritesContract:
    @CONTRACT
    @given(written=st.lists(blocks(), min_size=1, max_size=8), shuffled=st.randoms(use_true_random=False))
    def test_blocks_delivered_again_change_nothing(
        self, backend: Backend, written: list[HistoryBlock], shuffled: random.Random
    ) -> None:
        reference = Reference()
        for one in written:
            reference.write(one)
        again = list(reference.blocks())  # what was written last of each step, cut into blocks anew
        shuffled.shuffle(again)
        store = backend.open(backend.address())
        try:
            store.write_history(written)
            before = everything(store)
            store.write_history(again)
            for one in again:
                store.write_history([one, one])
            assert everything(store) == before
        finally:
            store.close()

    @CONTRACT
    @given(steps=st.lists(st.integers(0, 60), unique=True, min_size=2, max_size=12), order=st.randoms(use_true_random=False))
    def test_the_order_of_blocks_within_an_epoch_does_not_matter(
        self, backend: Backend, steps: list[int], order: random.Random
    ) -> None:
        written = [block(PUMP, ["a1", "a2"], [step], seed=step) for step in steps]
        first, second = backend.open(backend.address()), backend.open(backend.address())
        try:
            first.write_history(written)
            order.shuffle(written)
            for one in written:
                second.write_history([one])
            assert everything(first) == everything(second)
        finally:
            first.close()
            second.close()

    def test_of_a_step_written_twice_the_later_write_counts(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        store.write_history([plain_block(TANK, ["t1"], range(10), values=np.zeros((10, 1), np.float32))])
        store.write_history([plain_block(TANK, ["t1"], [3, 9], values=np.array([[33.0], [99.0]], np.float32))])
        found = store.history("t1", channels=None, from_ns=0, to_ns=2**62, points=100).channels[0]
        latest = store.latest()[0]
        store.close()
        assert found.value == [0, 0, 0, 33.0, 0, 0, 0, 0, 0, 99.0]
        assert latest.values == {"level": 99.0}

    def test_a_block_of_an_older_epoch_of_its_partition_changes_nothing(self, backend: Backend) -> None:
        address = backend.address()
        store = backend.open(address)
        store.write_history([plain_block(TANK, ["t1"], [1], epoch=7, partition=2)])
        before = everything(store)
        zombie = plain_block(TANK, ["t1", "t2"], [1, 1], epoch=6, partition=2, values=np.array([[5.0], [6.0]], np.float32))
        store.write_history([zombie])
        assert everything(store) == before
        store.close()
        store = backend.open(address)
        store.write_history([zombie])
        assert everything(store) == before, "the epoch was forgotten when the store was closed"
        store.write_history([plain_block(TANK, ["t3"], [1], epoch=1, partition=3)])
        assert [twin.asset for twin in store.latest()] == ["t1", "t3"], "another partition has epochs of its own"
        store.close()

    def test_within_one_call_an_older_epoch_after_a_newer_one_changes_nothing(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        ones, twos = np.ones((1, 1), np.float32), np.full((1, 1), 2.0, np.float32)
        store.write_history(
            [plain_block(TANK, ["t1"], [1], epoch=5, values=ones), plain_block(TANK, ["t1"], [1], epoch=4, values=twos)]
        )
        found = store.latest()[0].values
        store.close()
        assert found == {"level": 1.0}

    def test_epochs_of_another_log_or_of_a_new_life_of_the_group_are_not_held_back(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        store.write_history([plain_block(TANK, ["t1"], [1], epoch=9, log="cluster-a", written_ms=DAY_MS)])
        store.write_history([plain_block(TANK, ["t2"], [1], epoch=1, log="cluster-b", written_ms=DAY_MS)])
        store.write_history([plain_block(TANK, ["t3"], [1], epoch=1, log="cluster-a", written_ms=DAY_MS + 60_000)])
        assert [twin.asset for twin in store.latest()] == ["t1", "t2"]
        store.write_history([plain_block(TANK, ["t4"], [1], epoch=1, log="cluster-a", written_ms=3 * DAY_MS)])
        found = [twin.asset for twin in store.latest()]
        store.close()
        assert found == ["t1", "t2", "t4"]

    @CONTRACT
    @given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), max_size=20), st.integers(1, 5))
    def test_the_highest_revision_of_an_alert_counts_in_any_order(
        self, backend: Backend, written: list[tuple[str, int]], size: int
    ) -> None:
        store = backend.open(backend.address())
        try:
            for start in range(0, len(written), size):
                store.write_alerts([alert(id_, revision) for id_, revision in written[start : start + size]])
            expected = {id_: max(revision for other, revision in written if other == id_) for id_, _ in written}
            assert {found.id: found.revision for found in store.alerts()} == expected
        finally:
            store.close()

    def test_alerts_are_found_by_twin_and_period_newest_onset_first(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        early, open_ = alert("a", 2, onset_s=10, cleared_s=20), alert("b", 1, onset_s=15)
        late = alert("c", 1, asset="p2", onset_s=30)
        store.write_alerts([early, open_, late])

        def ids(**query: object) -> str:
            return "".join(found.id for found in store.alerts(**query))  # type: ignore[arg-type]

        found = {
            "all": ids(),
            "twin": ids(asset="p1"),
            "after the first was cleared": ids(from_ns=21 * SECOND_NS),
            "touching its end": ids(from_ns=20 * SECOND_NS),
            "before the last": ids(to_ns=30 * SECOND_NS),
            "limit": ids(limit=2),
        }
        kept = store.alerts(asset="p2")
        store.close()
        assert found == {
            "all": "cba",
            "twin": "ba",
            "after the first was cleared": "cb",
            "touching its end": "cba",
            "before the last": "ba",
            "limit": "cb",
        }
        assert kept == [late]

    def test_swaps_are_kept_by_partition_and_epoch_with_their_newest_switches(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        grown = serving("tank", 0, 1, 20, ["1", "2"])
        store.write_swaps([serving("tank", 0, 1, 10, ["1"]), serving("pump", 0, 1, 15, ["1"])])
        store.write_swaps([grown])
        store.write_swaps([serving("tank", 0, 1, 10, ["1"])])
        found, pumps = store.swaps(name="tank"), store.swaps(name="pump")
        everyone = store.swaps()
        store.close()
        assert found == [grown]
        assert len(pumps) == 1
        assert everyone == [*pumps, grown]

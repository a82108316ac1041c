"""What a store must do that can hold a size: drop the oldest steps, keep the newest."""

from __future__ import annotations

from .backend import Backend
from .blocks import PUMP, SECOND_NS, TANK, block


class SizeContract:
    def test_past_a_size_the_oldest_steps_are_dropped_and_the_newest_stay(self, backend: Backend) -> None:
        store = backend.open(backend.address())
        pumps, tanks, many = [f"p{n}" for n in range(300)], [f"t{n}" for n in range(300)], tuple(f"c{n:02}" for n in range(12))
        for start in range(0, 400, 40):
            steps = range(start, start + 40)
            wide = block(PUMP, pumps, steps, seed=start, channels=many)
            store.write_history([wide, block(TANK, tanks, steps, seed=start + 1)])
        store.enforce_limits(max_age_ns=2**62, max_bytes=2**40)
        bound = int(0.6 * store.size_bytes())
        dropped = store.enforce_limits(max_age_ns=2**62, max_bytes=bound)
        size, first = store.size_bytes(), store.span("p7")
        kept = store.history("p7", channels=[], from_ns=0, to_ns=2**62, points=10**6).risk.time_ns
        latest = store.latest()
        again = store.enforce_limits(max_age_ns=2**62, max_bytes=bound)
        store.close()
        assert size <= bound
        assert first == (kept[0], 399 * SECOND_NS)
        assert kept == [step * SECOND_NS for step in range(kept[0] // SECOND_NS, 400)]
        assert 100 < len(kept) < 300, "about 40 in 100 of the steps had to go"
        assert {twin.time_ns for twin in latest} == {399 * SECOND_NS}
        assert len(latest) == 600
        assert dropped["steps"] == 600 * (400 - len(kept))
        assert set(again.values()) == {0}

"""What every store must do over its life: keep its limits, be read while it writes, be opened again, be killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from .backend import Backend, everything
from .blocks import PUMP, SECOND_NS, TANK, alert, block, plain_block, serving

WRITER = Path(__file__).with_name("write_until_killed.py")


class FaultsContract:
    def test_steps_older_than_the_age_are_dropped_against_the_newest_of_their_type(self, backend: Backend) -> None:
        address = backend.address()
        store = backend.open(address)
        store.write_history([plain_block(TANK, ["t1"], range(100)), plain_block(TANK, ["silent"], range(20))])
        store.write_alerts([alert("old", 1, onset_s=1, cleared_s=10), alert("open", 1, onset_s=1), alert("new", 1, cleared_s=90)])
        simulated = range(10**9, 10**9 + 20)  # another type, whose clock is decades ahead
        store.write_history([plain_block(PUMP, ["p1"], simulated)])
        dropped = store.enforce_limits(max_age_ns=50 * SECOND_NS, max_bytes=2**40)
        for _ in range(2):
            assert store.span("t1") == (49 * SECOND_NS, 99 * SECOND_NS)
            assert store.span("silent") is None
            assert [twin.asset for twin in store.latest()] == ["p1", "t1"]
            assert store.span("p1") == (simulated[0] * SECOND_NS, simulated[-1] * SECOND_NS)
            assert store.at(30 * SECOND_NS) == []
            assert len(store.history("t1", channels=None, from_ns=0, to_ns=2**62, points=1000).risk.time_ns) == 51
            assert {found.id for found in store.alerts()} == {"open", "new"}
            store.close()
            store = backend.open(address)
        store.close()
        assert dropped["steps"] == 69

    def test_a_store_that_is_opened_again_has_kept_everything(self, backend: Backend) -> None:
        address = backend.address()
        store = backend.open(address)
        store.write_history([block(PUMP, ["p1", "p2"], range(50), seed=1), block(TANK, ["t1"], range(50), seed=2)])
        store.write_alerts([alert("a", 3)])
        store.write_swaps([serving("tank", 0, 1, 20, ["1", "2"])])
        before = everything(store)
        store.close()
        store = backend.open(address)
        after = everything(store)
        store.close()
        assert after == before

    def test_reads_during_writes_see_whole_steps_of_what_was_written(self, backend: Backend) -> None:
        """Step n has the value n in each channel, so a torn or mixed step shows."""
        store = backend.open(backend.address())
        failures: list[BaseException] = []
        done = threading.Event()

        def write() -> None:
            try:
                for step in range(1, 121):
                    values = np.full((20, 2), step, np.float32)
                    store.write_history([plain_block(PUMP, [f"p{n}" for n in range(20)], [step], values=values)])
            except BaseException as failure:  # noqa: BLE001  # shown by the test
                failures.append(failure)
            finally:
                done.set()

        def read() -> None:
            try:
                newest = 0
                while not done.is_set():
                    for twin in store.latest(["p3", "p17"]):
                        assert set(twin.values.values()) == {twin.time_ns / SECOND_NS}
                    found = store.history("p3", channels=None, from_ns=0, to_ns=2**62, points=1000)
                    for series in found.channels:
                        assert series.value == [time_ns / SECOND_NS for time_ns in series.time_ns]
                        assert series.time_ns == [step * SECOND_NS for step in range(1, len(series.time_ns) + 1)]
                        assert len(series.time_ns) >= newest
                    newest = len(found.risk.time_ns)
                    store.at(newest // 2 * SECOND_NS)
            except BaseException as failure:  # noqa: BLE001
                failures.append(failure)

        threads = [threading.Thread(target=write), threading.Thread(target=read), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.close()
        assert failures == []

    @pytest.mark.parametrize("acknowledged", [3, 60])
    def test_a_writer_killed_in_mid_write_loses_nothing_that_was_acknowledged(self, backend: Backend, acknowledged: int) -> None:
        address = backend.address()
        command = [sys.executable, str(WRITER), *backend.words(address)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=WRITER.parents[3]) as writer:
            assert writer.stdout is not None
            written = 0
            while written < acknowledged:
                line = writer.stdout.readline()
                assert line, "the writer ended before it was killed"
                written = int(line)
            writer.kill()
            rest = writer.stdout.read().split()
        written = int(rest[-1]) if rest else written
        store = backend.open(address)
        found = store.history("a7", channels=None, from_ns=0, to_ns=2**62, points=10**6)
        twins = store.latest()
        newest_alert = store.alerts()[0].revision
        store.write_history([plain_block(PUMP, ["a7"], [10**6])])
        after = store.latest(["a7"])[0]
        store.close()
        steps = len(found.risk.time_ns)
        assert steps >= written
        assert found.risk.time_ns == [step * SECOND_NS for step in range(1, steps + 1)]
        assert {twin.time_ns for twin in twins} == {steps * SECOND_NS}
        assert newest_alert >= written
        assert after.time_ns == 10**6 * SECOND_NS

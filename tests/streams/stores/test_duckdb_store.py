"""What is DuckDbStore's own (every store's contract is tried in tests/contracts): one owner, whole reads, size, full disks."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import numpy as np
import pytest

from streams.stores import open_store
from streams.stores.duckdb import DuckDbStore
from streams.stores.port import StoreRefused, StoreUnavailable

from .backend import everything
from .blocks import PUMP, SECOND_NS, TANK, block, plain_block


def test_an_address_without_a_path_means_a_file_under_the_data_folder(tmp_path: Path) -> None:
    open_store("duckdb:", home=tmp_path / "new" / "home").close()
    assert (tmp_path / "new" / "home" / "store.duckdb").is_file()
    with pytest.raises(StoreRefused, match="found kind 'sqlite', expected"):
        open_store("sqlite:x", home=tmp_path)


def test_a_file_that_another_process_holds_is_unavailable_and_the_message_names_the_process(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    hold = f"import duckdb; held = duckdb.connect({str(path)!r}); print('held', flush=True); input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreUnavailable, match=rf"PID {holder.pid}\b"):
            DuckDbStore(path)
        holder.kill()
    path.unlink()
    DuckDbStore(path).close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("CREATE TABLE other(a INTEGER)", r"tables \['other'\]"),
        ("CREATE TABLE meta AS SELECT 'schema' AS key, '99' AS value", "schema 99"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, statement: str, found: str) -> None:
    path = tmp_path / "store.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute(statement)
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match=f"found {found}, expected livetwin's schema 1"):
        DuckDbStore(path)
    assert path.read_bytes() == before


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = DuckDbStore(tmp_path / "store.duckdb")
    store.close()
    store.close()
    for call in (store.latest, store.swaps, lambda: store.write_alerts([]), lambda: store.span("p1")):
        with pytest.raises(StoreUnavailable, match="is closed"):
            call()


def test_each_read_sees_all_twins_at_one_moment(tmp_path: Path) -> None:
    """Every write moves all twins by one step, so a read in the middle of one would see two times."""
    store = DuckDbStore(tmp_path / "store.duckdb", cluster_bytes=20_000)
    twins = [f"p{n}" for n in range(50)]
    torn: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for twins_then in (store.latest(), store.at(2**62), store.at(30 * SECOND_NS)):
                whole = len({twin.time_ns for twin in twins_then}) <= 1 and len(twins_then) in (0, 50)
                torn.extend([] if whole else [twins_then])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for step in range(150):
        store.write_history([plain_block(PUMP, twins, [step])])
    done.set()
    for reader in readers:
        reader.join()
    store.close()
    assert torn == []


def test_the_file_stays_within_its_bound_while_steps_come_in_and_reads_go_on(tmp_path: Path) -> None:
    path, bound = tmp_path / "store.duckdb", 10 << 20
    store = DuckDbStore(path, cluster_bytes=4 << 20)
    twins, many = [f"p{n}" for n in range(400)], tuple(f"c{n:02}" for n in range(12))
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            store.at(10 * SECOND_NS)
            store.history("p3", channels=None, from_ns=0, to_ns=2**62, points=50)

    reader = threading.Thread(target=read)
    reader.start()
    sizes, kept = [], []
    for step in range(200):
        store.write_history([block(PUMP, twins, [step], seed=step, channels=many)])
        if step % 10 == 9:
            store.enforce_limits(max_age_ns=2**62, max_bytes=bound)
            sizes.append(store.size_bytes())
            kept.append(step * SECOND_NS - (store.span("p3") or (0, 0))[0])
    done.set()
    reader.join()
    on_disk, first = path.stat().st_size, store.span("p3")
    store.close()
    # a read that does not end within the moment that enforcing waits for puts the rest off to the next call, no further
    over = [size > bound for size in sizes]
    assert not any(now and then for now, then in itertools.pairwise(over)), sizes
    assert max(sizes) <= 1.5 * bound
    assert first is not None
    assert first[1] == 199 * SECOND_NS
    assert first[0] > 0, "nothing had to be dropped"
    assert min(kept[-6:]) > 0.5 * max(kept), "more was dropped than had to be"
    assert on_disk < 2 * bound, "freed blocks are not filled again"  # a rewrite holds a table twice for a moment


_FILL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from streams.stores.duckdb import DuckDbStore
from streams.stores.port import StoreUnavailable
from tests.streams.stores.blocks import PUMP, block

store = DuckDbStore(Path({path!r}), cluster_bytes={cluster_bytes})
twins = [f"a{{n}}" for n in range(500)]
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, hard))
taken, refused = [], 0
for step in range(1000):
    try:
        store.write_history([block(PUMP, twins, [step], seed=step)])
        taken.append(step)
    except StoreUnavailable as error:
        refused += 1
        message = str(error)
    if refused == 3:
        break
during = [time // 10**9 for time in store.history("a7", channels=[], from_ns=0, to_ns=2**62, points=10**6).risk.time_ns]
assert during == taken, (during, taken)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for step in range(2000, 2010):
    store.write_history([block(PUMP, twins, [step], seed=step)])
    taken.append(step)
print(message)
print(taken)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file size")
@pytest.mark.parametrize(("limit", "cluster_bytes"), [(1_500_000, 16 << 20), (6_000_000, 60_000)])
def test_a_full_disk_is_unavailable_and_loses_nothing(tmp_path: Path, limit: int, cluster_bytes: int) -> None:
    """A limit on file size stands in for the full disk: the same writes fail, in the log or in a checkpoint."""
    path, root = tmp_path / "store.duckdb", Path(__file__).parents[3]
    script = _FILL.format(root=str(root), path=str(path), limit=limit, cluster_bytes=cluster_bytes)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    message, taken = ran.stdout.splitlines()
    assert "history not written" in message
    assert "nothing of the call counts as done" in message
    store = DuckDbStore(path)  # the process ended without closing it
    found = store.history("a7", channels=[], from_ns=0, to_ns=2**62, points=10**6).risk.time_ns
    store.close()
    assert str([time_ns // SECOND_NS for time_ns in found]) == taken


def test_a_write_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    """The second block can't be taken (its arrays differ in length): of the first nothing is kept either."""
    store = DuckDbStore(tmp_path / "store.duckdb")
    store.write_history([plain_block(TANK, ["t1"], range(3))])
    before = everything(store)
    good = plain_block(TANK, ["t1", "t2"], [7, 7], epoch=5)
    broken = plain_block(PUMP, ["p1"], range(3), epoch=5, values=np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="broadcast"):
        store.write_history([good, broken])
    assert everything(store) == before
    store.write_history([plain_block(TANK, ["t1"], [3], epoch=1)])
    assert store.span("t1") == (0, 3 * SECOND_NS), "the epoch of a write that failed holds back others"
    store.close()

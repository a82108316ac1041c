"""InfluxDbStore when the server is away, busy, refuses, or is not ours; what goes over the wire."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import urllib3

from deploy.influxd import TOKEN, InfluxDbAddress, InfluxDbServer
from streams.stores import InfluxDbAccess, open_store
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb, PointsRefused
from streams.stores.port import StoreRefused, StoreUnavailable

from .backend import InfluxDbBackend, everything
from .blocks import PUMP, SECOND_NS, TANK, block, plain_block

pytestmark = pytest.mark.influxdb

Answer = tuple[int, dict[str, str], bytes]


class Between:
    """A proxy before the real server that keeps what is written, and answers writes itself while `instead` gives an answer."""

    def __init__(self, target: str) -> None:
        self.writes: list[tuple[dict[str, str], bytes]] = []
        self.instead: Callable[[], Answer | None] = lambda: None
        between, pool = self, urllib3.PoolManager(retries=False)

        class Relay(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path.startswith("/api/v2/write"):
                    between.writes.append((dict(self.headers), body))
                    own = between.instead()
                    if own is not None:
                        self._send(*own)
                        return
                answer = pool.request(self.command, target + self.path, body=body, headers=dict(self.headers))
                kept = {name: answer.headers[name] for name in ("Content-Type", "X-Influxdb-Version") if name in answer.headers}
                self._send(answer.status, kept, answer.data)

            do_GET = do_POST

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def proxied(influxdb: InfluxDbAddress) -> Iterator[tuple[Between, InfluxDbStore]]:
    between = Between(influxdb.url)
    bucket = InfluxDbBackend(influxdb).address()
    store = InfluxDbStore(between.url, token=influxdb.token, org=influxdb.org, bucket=bucket)
    try:
        store.latest()  # the buckets are there
        yield between, store
    finally:
        store.close()
        between.close()


def steps(store: InfluxDbStore, asset: str) -> list[int]:
    found = store.history(asset, channels=[], from_ns=0, to_ns=2**62, points=10**6)
    return [time_ns // SECOND_NS for time_ns in found.risk.time_ns]


def test_a_server_that_went_away_is_unavailable_and_back_with_all_that_was_acknowledged(
    influxdb_binary: Path, tmp_path: Path
) -> None:
    server = InfluxDbServer(influxdb_binary, tmp_path / "server")
    try:
        access = server.onboarded()
        store = InfluxDbStore(access.url, token=access.token, org=access.org)
        store.write_history([block(PUMP, ["p1"], range(10), seed=1)])
        before = everything(store)
        server.kill()
        for call in (store.latest, lambda: store.write_history([plain_block(PUMP, ["p1"], [10])]), store.size_bytes):
            with pytest.raises(StoreUnavailable, match=access.url):
                call()
        server.start()
        assert everything(store) == before
        store.write_history([plain_block(PUMP, ["p1"], [10])])
        assert steps(store, "p1") == list(range(11))
        store.close()
    finally:
        server.stop()


def test_lines_go_gzipped_in_requests_of_at_most_5000_and_the_same_rows_come_back(influxdb: InfluxDbAddress) -> None:
    with proxied(influxdb) as (between, store):
        between.writes.clear()
        store.write_history([block(PUMP, [f"p{n}" for n in range(300)], range(20), seed=1)])
        bodies = [zlib.decompress(body, wbits=31) for headers, body in between.writes if headers["Content-Encoding"] == "gzip"]
        assert len(bodies) == len(between.writes)
        lines = [body.count(b"\n") for body in bodies if b"test.pump,asset=" in body]
        assert lines == [5000, 1000]
        assert sum(len(body) for _, body in between.writes) < 0.6 * sum(map(len, bodies))
        assert steps(store, "p299") == list(range(20))


@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_server_that_is_busy_for_a_moment_is_asked_again_within_the_call(influxdb: InfluxDbAddress, status: int) -> None:
    with proxied(influxdb) as (between, store):
        answers: list[Answer] = [(status, {"Retry-After": "0"}, b'{"message":"busy"}')] * 2
        between.instead = lambda: answers.pop() if answers else None
        store.write_history([plain_block(TANK, ["t1"], range(3))])
        assert answers == []
        assert steps(store, "t1") == [0, 1, 2]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("told_as", ["seconds", "date"])
def test_a_server_that_asks_for_a_long_pause_gets_it_from_the_caller(
    influxdb: InfluxDbAddress, status: int, told_as: str
) -> None:
    with proxied(influxdb) as (between, store):
        between.writes.clear()
        pause = "600" if told_as == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
        between.instead = lambda: (status, {"Retry-After": pause}, b'{"message":"over the limit"}')
        with pytest.raises(StoreUnavailable, match=rf"{status}.*over the limit") as told:
            store.write_history([plain_block(TANK, ["t1"], [1])])
        assert told.value.retry_after_s is not None
        assert 300 < told.value.retry_after_s <= 600
        assert len(between.writes) == 1, "it was asked again at once"


def test_a_write_that_failed_halfway_is_whole_after_it_is_written_again(influxdb: InfluxDbAddress) -> None:
    """Of a call's requests the first fails, then a later one: no epoch is taken for seen that isn't kept, and no step is lost."""
    with proxied(influxdb) as (between, store):
        both = [plain_block(PUMP, [f"p{n}" for n in range(100)], range(60), epoch=5)]
        store.write_history([plain_block(PUMP, ["p0"], [0], epoch=1)])
        between.instead = lambda: (503, {"Retry-After": "60"}, b"{}")
        with pytest.raises(StoreUnavailable):
            store.write_history([plain_block(PUMP, ["p0"], [100], epoch=9)])
        between.instead = lambda: None
        store.write_history([plain_block(PUMP, ["p0"], [1], epoch=1)])
        assert steps(store, "p0") == [0, 1], "the epoch of a write that failed holds back others"
        count = iter(range(1000))
        between.instead = lambda: (503, {"Retry-After": "60"}, b"{}") if next(count) >= 2 else None
        with pytest.raises(StoreUnavailable):
            store.write_history(both)
        between.instead = lambda: None
        store.write_history(both)
        assert steps(store, "p99") == list(range(60))
        assert len(store.latest()) == 100


@pytest.mark.parametrize(("token", "org", "found"), [("wrong", "", "401"), (TOKEN, "nobody", "no organisation|404")])
def test_a_server_that_does_not_let_livetwin_in_is_refused(influxdb: InfluxDbAddress, token: str, org: str, found: str) -> None:
    store = InfluxDbStore(influxdb.url, token=token, org=org or influxdb.org)
    with pytest.raises(StoreRefused, match=found):
        store.latest()
    store.close()


def test_another_version_is_refused_before_anything_is_written(influxdb: InfluxDbAddress) -> None:
    class Old(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.send_header("X-Influxdb-Version", "1.8.10")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Old)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        store = InfluxDbStore(f"http://127.0.0.1:{server.server_port}", token="t")
        with pytest.raises(StoreRefused, match=r"found InfluxDB version 1\.8\.10, expected 2\.x"):
            store.write_swaps([])
        store.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_schema_of_a_newer_livetwin_is_refused(influxdb: InfluxDbAddress) -> None:
    backend = InfluxDbBackend(influxdb)
    address = backend.address()
    store = backend.open(address)
    store.latest()
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    server.write(f"{address}_records", [b"livetwin schema=2i 0"])
    server.close()
    store.close()
    store = backend.open(address)
    with pytest.raises(StoreRefused, match="found schema 2, expected livetwin's schema 1"):
        store.latest()
    store.close()


def test_a_step_that_the_server_can_not_take_is_refused_and_others_are_not(influxdb: InfluxDbAddress) -> None:
    """A field of another type, as another writer would leave it; an asset longer than a key may be."""
    backend = InfluxDbBackend(influxdb)
    address = backend.address()
    store = backend.open(address)
    store.write_history([plain_block(TANK, ["t1"], [1])])
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    server.write(address, [b'test.pump,asset=p1 flow="text" 5'])
    server.close()
    with pytest.raises(PointsRefused, match=r"422.*field type conflict"):
        store.write_history([plain_block(PUMP, ["p1"], [1])])
    with pytest.raises(PointsRefused, match="key"):
        store.write_history([plain_block(TANK, ["t" * 70_000], [1])])
    store.write_history([plain_block(TANK, ["t1"], [2])])
    assert steps(store, "t1") == [1, 2]
    store.close()


def test_a_step_that_is_half_there_is_left_out_until_it_is_whole(influxdb: InfluxDbAddress) -> None:
    """As a read meets it while InfluxDB takes in a line, field by field."""
    backend = InfluxDbBackend(influxdb)
    address = backend.address()
    store = backend.open(address)
    store.write_history([plain_block(PUMP, ["p1"], [1, 2])])
    server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    for half in ("flow=7", "flow=7,fields=13i", 'flow=7,fields=13i,absent=""', 'flow=7,power=7,fields=13i,absent="",version="1"'):
        server.write(address, [f"test.pump,asset=p1 {half} 3000000000".encode()])
        found = store.history("p1", channels=None, from_ns=0, to_ns=2**62, points=10)
        assert found.risk.time_ns == [SECOND_NS, 2 * SECOND_NS], half
        assert store.latest()[0].time_ns == 2 * SECOND_NS, half
    server.close()
    store.write_history([plain_block(PUMP, ["p1"], [3])])
    assert steps(store, "p1") == [1, 2, 3]
    assert store.latest()[0].values == {"flow": 1.0, "power": 1.0}
    store.close()


@pytest.mark.parametrize("name", ['tank 1, "north"', "a=b\\", "50%", "line\nbreak", "Ω/π", "o'clock", "%0A"])
def test_any_name_of_a_twin_or_channel_comes_back_as_it_was(influxdb: InfluxDbAddress, name: str) -> None:
    backend = InfluxDbBackend(influxdb)
    store = backend.open(backend.address())
    values = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    channels = (name, "risk", "_x", "a__expected")
    store.write_history([plain_block(TANK, [name], [1], channels=channels, values=values, expected=values, spread=values)])
    twin = store.latest()[0]
    assert (twin.asset, twin.values) == (name, dict(zip(channels, [1.0, 2.0, 3.0, 4.0], strict=True)))
    assert store.span(name) == (SECOND_NS, SECOND_NS)
    found = store.history(name, channels=[name, "a__expected"], from_ns=0, to_ns=2**62, points=10)
    assert [series.value for series in found.channels] == [[1.0], [4.0]]
    store.close()


def test_two_historians_and_a_reader_see_one_store(influxdb: InfluxDbAddress) -> None:
    """What one learns of types, channels and epochs the others heed."""
    backend = InfluxDbBackend(influxdb)
    address = backend.address()
    one, two, reader = (backend.open(address) for _ in range(3))
    one.write_history([plain_block(TANK, ["t1"], [1], epoch=3)])
    two.write_history([plain_block(TANK, ["t1"], [2], epoch=3, channels=("inflow", "level"))])
    one.write_history([plain_block(TANK, ["t1"], [3], epoch=4)])
    two.write_history([plain_block(TANK, ["zombie"], [9], epoch=3)])
    assert [(twin.asset, twin.time_ns) for twin in reader.latest()] == [("t1", 3 * SECOND_NS)]
    assert sorted(reader.latest()[0].values) == ["inflow", "level"]
    for store in (one, two, reader):
        store.close()


def test_an_address_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="no token, expected LIVETWIN_INFLUXDB_TOKEN"):
        open_store("influxdb:http://127.0.0.1:8086", home=tmp_path)
    with pytest.raises(StoreRefused, match="found no http address"):
        open_store("influxdb:127.0.0.1", home=tmp_path, influxdb=InfluxDbAccess("t"))

"""How many steps a second a store takes, from blocks as they come on the topic; InfluxDB held against line protocol made before.

Rounds of both alternate, each with buckets of its own, on one server, so that what else the machine does meets both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.bench.figures import Figure
from deploy.influxd import InfluxDbAddress, InfluxDbNotBuilt, InfluxDbServer, built
from streams.history import HistoryBlock
from streams.stores.duckdb import DuckDbStore
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_lines import step_bodies, together
from streams.stores.influxdb_server import InfluxDb, gzipped
from streams.stores.port import TwinStore

_TWINS, _CHANNELS, _STEPS = 200, 5, 100  # a write of the historian: some 20,000 steps
_WRITES, _ROUNDS = 4, 3
_TYPE = "dtmi:livetwin:bench:Pump;1"
_STEP_NS = 60_000_000_000


def measure_stores(folder: Path) -> list[Figure]:
    """Rows a second: DuckDB, InfluxDB, and raw line protocol where an `influxd` is built."""
    writes = [list(_blocks(number)) for number in range(_WRITES)]
    rows = sum(len(block) for write in writes for block in write)
    duckdb_s = min(_timed(DuckDbStore(folder / f"{turn}.duckdb"), writes) for turn in range(_ROUNDS))
    found = [Figure("steps into DuckDB", round(rows / duckdb_s), "rows/s")]
    try:
        server = InfluxDbServer(built(), folder / "influxd")
    except InfluxDbNotBuilt as error:
        print(f"bench: {error}")
        return found
    try:
        return [*found, *_influxdb(server.onboarded(), writes, rows)]
    finally:
        server.stop()


def _influxdb(access: InfluxDbAddress, writes: Sequence[Sequence[HistoryBlock]], rows: int) -> list[Figure]:
    keys = {channel: channel for channel in writes[0][0].channels}
    bodies = [gzipped(body) for write in writes for block in together(write) for body in step_bodies(block, "bench.pump", keys)]
    raw, ours = [], []
    server = InfluxDb(access.url, token=access.token, org=access.org)
    for turn in range(_ROUNDS):
        store = InfluxDbStore(access.url, token=access.token, org=access.org, bucket=f"ours{turn}")
        store.latest()  # buckets are there
        ours.append(_timed(store, writes))
        store = InfluxDbStore(access.url, token=access.token, org=access.org, bucket=f"raw{turn}")
        store.latest()
        store.close()
        began = time.perf_counter()
        for body in bodies:
            server.post(f"raw{turn}", body)
        raw.append(time.perf_counter() - began)
    server.close()
    reference = rows / min(raw)
    return [
        Figure("raw line protocol, made and gzipped before, into InfluxDB", round(reference), "rows/s"),
        Figure.beside("steps into InfluxDB", round(rows / min(ours)), "rows/s", round(reference)),
    ]


def _timed(store: TwinStore, writes: Sequence[Sequence[HistoryBlock]]) -> float:
    began = time.perf_counter()
    for write in writes:
        store.write_history(write)
    taken_s = time.perf_counter() - began
    store.close()
    return taken_s


def _blocks(number: int) -> Iterator[HistoryBlock]:
    """A block a step of all twins, with forecasts: numbers as sensors give them, to three digits."""
    rng = np.random.default_rng(number)
    assets = tuple(f"pump-{n}" for n in range(_TWINS))

    def numbers() -> NDArray[np.float32]:
        return np.round(rng.normal(20, 5, (_TWINS, _CHANNELS)), 3).astype(np.float32)

    for step in range(number * _STEPS, (number + 1) * _STEPS):
        yield HistoryBlock(
            type=_TYPE,
            channels=tuple(f"c{n}" for n in range(_CHANNELS)),
            partition=0,
            epoch=1,
            asset=assets,
            time_ns=np.full(_TWINS, step * _STEP_NS, np.int64),
            values=numbers(),
            quality=np.zeros((_TWINS, _CHANNELS), np.uint8),
            expected=rng.normal(20, 5, (_TWINS, _CHANNELS)).astype(np.float32),
            spread=rng.gamma(2, 1, (_TWINS, _CHANNELS)).astype(np.float32),
            score=rng.gamma(1, 1, _TWINS).astype(np.float32),
            risk=rng.random(_TWINS).astype(np.float32),
            version=("12",) * _TWINS,
        )

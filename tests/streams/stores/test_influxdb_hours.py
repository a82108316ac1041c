"""Hours summed up: which are due outlives the historian that wrote their steps, and no more is summed up than is due."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from deploy.influxd import InfluxDbAddress
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb

from .backend import InfluxDbBackend
from .blocks import TANK, plain_block

pytestmark = pytest.mark.influxdb
HOUR_S = 3600


class Hours:
    """One store address, opened as often as a test starts a historian, and what its buckets hold."""

    def __init__(self, influxdb: InfluxDbAddress) -> None:
        self._backend = InfluxDbBackend(influxdb)
        self.bucket = self._backend.address()
        self._server = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
        self._stores: list[InfluxDbStore] = []

    def historian(self) -> InfluxDbStore:
        store = self._backend.open(self.bucket)
        assert isinstance(store, InfluxDbStore)
        self._stores.append(store)
        return store

    def summed_up(self) -> dict[int, float]:
        """Hour → mean of the level."""
        rows = self._server.query(self.bucket, f'SELECT "level" FROM "{self.bucket}"."hourly"."test.tank"')[0]
        return {time // (HOUR_S * 10**9): mean for time, mean in rows[0].values} if rows else {}

    def done(self) -> dict[int, int]:
        """Hour → when its newest sum was begun."""
        rows = self._server.query(self.bucket, f'SELECT "done" FROM "{self.bucket}"."records"."hours"')[0]
        return {time // (HOUR_S * 10**9): done for time, done in rows[0].values} if rows else {}

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self._server.close()


@pytest.fixture
def hours(influxdb: InfluxDbAddress) -> Iterator[Hours]:
    found = Hours(influxdb)
    yield found
    found.close()


def put(store: InfluxDbStore, second: int, level: float) -> None:
    store.write_history([plain_block(TANK, ["t1"], [second], values=np.array([[level]], np.float32))])


def write(store: InfluxDbStore, *hours: int) -> None:
    """One step within each of these hours; its level is the hour."""
    for hour in hours:
        put(store, hour * HOUR_S + 60, float(hour))


def sum_up(store: InfluxDbStore) -> None:
    store.enforce_limits(max_age_ns=2**62, max_bytes=2**62)


def test_hours_that_a_crashed_historian_left_are_summed_up_by_the_next_however_old(hours: Hours) -> None:
    write(hours.historian(), 1000, 3, 900)  # and then it is gone, before its first look at what is due
    assert hours.summed_up() == {}
    sum_up(hours.historian())
    assert hours.summed_up() == {3: 3.0, 900: 900.0}


def test_late_steps_of_a_crashed_historian_are_taken_into_hours_that_were_done(hours: Hours) -> None:
    first = hours.historian()
    write(first, 3, 1000)
    sum_up(first)
    crashed = hours.historian()
    put(crashed, 3 * HOUR_S + 120, 5.0)
    sum_up(hours.historian())
    assert hours.summed_up() == {3: 4.0}


def test_a_late_step_has_its_own_hour_summed_up_again_and_no_other(hours: Hours) -> None:
    store = hours.historian()
    write(store, 3, 4, 500, 1000)
    sum_up(store)
    before = hours.done()
    assert set(before) == {3, 4, 500}
    write(store, 3)
    sum_up(store)
    assert {hour for hour, done in hours.done().items() if done != before[hour]} == {3}


def test_hours_of_two_historians_are_summed_up_once_both_have_written(hours: Hours) -> None:
    one, two = hours.historian(), hours.historian()
    write(one, 7, 1000)
    sum_up(two)
    put(two, 7 * HOUR_S + 120, 9.0)
    sum_up(two)
    assert hours.summed_up() == {7: 8.0}

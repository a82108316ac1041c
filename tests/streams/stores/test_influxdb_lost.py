"""What livetwin stands on in an InfluxDB is taken away while it runs: the bucket, the token."""

from __future__ import annotations

import uuid

import pytest

from deploy.influxd import InfluxDbAddress
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb
from streams.stores.port import StoreRefused

from .backend import InfluxDbBackend
from .blocks import SECOND_NS, TANK, plain_block

pytestmark = pytest.mark.influxdb


@pytest.fixture
def server(influxdb: InfluxDbAddress):  # type: ignore[no-untyped-def]
    found = InfluxDb(influxdb.url, token=influxdb.token, org=influxdb.org)
    yield found
    found.close()


def bucket_id(server: InfluxDb, name: str) -> str:
    return str(server.json("GET", "/api/v2/buckets", query={"name": name, "org": server.org})["buckets"][0]["id"])


@pytest.mark.parametrize("lost", ["", "_records", "_hourly"])
def test_a_bucket_that_is_deleted_ends_the_writer_with_its_name_and_is_made_anew_at_the_next_start(
    influxdb: InfluxDbAddress, server: InfluxDb, lost: str
) -> None:
    backend = InfluxDbBackend(influxdb)
    name = backend.address()
    store = backend.open(name)
    hours = [7200, 10800]
    store.write_history([plain_block(TANK, ["t1"], [1, *hours])])
    server.json("DELETE", f"/api/v2/buckets/{bucket_id(server, name + lost)}")

    def work() -> None:
        store.write_history([plain_block(TANK, ["t1"], [4000], channels=("new",))])
        store.enforce_limits(max_age_ns=2**62, max_bytes=2**62)

    with pytest.raises(StoreRefused, match=rf"(?i)not found[\s\S]*{name}[\s\S]*livetwin store setup"):
        work()
    store.close()
    again = backend.open(name)  # as the role, when it is started again
    again.write_history([plain_block(TANK, ["t1"], [*hours, 90_000])])
    again.enforce_limits(max_age_ns=2**62, max_bytes=2**62)
    found = again.history("t1", channels=["level"], from_ns=0, to_ns=2**62, points=100)
    kept = [] if lost == "" else [1]
    assert [time // SECOND_NS for time in found.risk.time_ns if time // SECOND_NS != 4000] == [*kept, *hours, 90_000]
    rows = server.query(name, f'SELECT "level" FROM "{name}"."hourly"."test.tank" WHERE time >= 7200000ms')[0]
    assert rows, "hours are not summed up into the new bucket"
    again.close()


def test_a_token_that_is_withdrawn_ends_reader_and_writer_with_what_to_check(influxdb: InfluxDbAddress, server: InfluxDb) -> None:
    org_id = server.json("GET", "/api/v2/orgs", query={"org": server.org})["orgs"][0]["id"]
    resources = [{"type": "buckets", "orgID": org_id}, {"type": "dbrp", "orgID": org_id}, {"type": "orgs", "id": org_id}]
    permissions = [{"action": act, "resource": resource} for resource in resources for act in ("read", "write")]
    drawn = server.json("POST", "/api/v2/authorizations", body={"orgID": org_id, "permissions": permissions})
    store = InfluxDbStore(influxdb.url, token=drawn["token"], org=server.org, bucket=f"t{uuid.uuid4().hex[:12]}")
    store.write_history([plain_block(TANK, ["t1"], [1])])
    server.json("DELETE", f"/api/v2/authorizations/{drawn['id']}")
    for call in (lambda: store.write_history([plain_block(TANK, ["t1"], [2])]), store.latest):
        with pytest.raises(StoreRefused, match=r"401[\s\S]*Check LIVETWIN_INFLUXDB_TOKEN"):
            call()
    store.close()

"""What livetwin needs to be there in an InfluxDB 2: three buckets, and names for them in InfluxQL.

    bucket               database.policy in InfluxQL    what
    livetwin             livetwin.steps (default)       a measurement a twin type: every closed step
    livetwin_hourly      livetwin.hourly                the same, a point an hour of event time
    livetwin_records     livetwin.records               alerts, swaps, and what livetwin has to remember

No bucket expires by itself: InfluxDB counts age from the wall clock, livetwin from the newest step of a type (simulated and
replayed plants have clocks of their own), so old steps are deleted by `enforce_limits`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from streams.stores.influxdb_server import InfluxDb
from streams.stores.port import StoreRefused

_SHARD_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Buckets:
    """Names of the buckets, of the database in InfluxQL, and of what InfluxQL selects from."""

    database: str

    @property
    def steps(self) -> str:
        return self.database

    @property
    def hourly(self) -> str:
        return f"{self.database}_hourly"

    @property
    def records(self) -> str:
        return f"{self.database}_records"

    def policies(self) -> dict[str, str]:
        """InfluxQL's retention policy → bucket; the first is the default."""
        return {"steps": self.steps, "hourly": self.hourly, "records": self.records}


def check_version(server: InfluxDb) -> str:
    """The server's version. Raises StoreRefused unless it is an InfluxDB 2, StoreUnavailable while it is away."""
    _, header = server.get("/ping", "nothing was read or written")
    version = header("X-Influxdb-Version") or "none"
    if not version.removeprefix("v").startswith("2."):
        raise StoreRefused(f"{server.url}: found InfluxDB version {version}, expected 2.x; nothing was read or written")
    return version


def onboard(server: InfluxDb, *, token: str, bucket: str) -> bool:
    """Make a server that is new ours: first user, organisation, bucket, this token. False: it is somebody's already."""
    if not server.json("GET", "/api/v2/setup").get("allowed"):
        return False
    body = {"username": "livetwin", "password": secrets.token_urlsafe(24), "org": server.org, "bucket": bucket, "token": token}
    server.json("POST", "/api/v2/setup", body=body)
    return True


def missing(server: InfluxDb, buckets: Buckets) -> tuple[str, list[str], list[str]]:
    """Id of the organisation, buckets that aren't there, policies that aren't named in InfluxQL.

    Raises:
        StoreRefused: no such organisation.
    """
    found = server.json("GET", "/api/v2/orgs", query={"org": server.org}).get("orgs") or []
    if not found:
        raise StoreRefused(
            f"{server.url}: no organisation {server.org!r}; nothing was read or written. Check LIVETWIN_INFLUXDB_ORG"
        )
    org_id = str(found[0]["id"])
    there = _bucket_ids(server, org_id, buckets)
    named = {
        mapping["retention_policy"]: mapping["bucketID"]
        for mapping in server.json("GET", "/api/v2/dbrps", query={"orgID": org_id, "db": buckets.database}).get("content") or []
        if not mapping.get("virtual")
    }
    lacking = [bucket for bucket in buckets.policies().values() if bucket not in there]
    unnamed = [policy for policy, bucket in buckets.policies().items() if named.get(policy) != there.get(bucket, "")]
    return org_id, lacking, unnamed


def set_up(server: InfluxDb, buckets: Buckets) -> list[str]:
    """Create what is missing; says what that was. Safe to run again, and by several at once.

    Raises:
        StoreRefused: the token may not do that.
    """
    org_id, lacking, unnamed = missing(server, buckets)
    for bucket in lacking:
        body: dict[str, Any] = {
            "orgID": org_id,
            "name": bucket,
            "retentionRules": [{"type": "expire", "everySeconds": 0, "shardGroupDurationSeconds": _SHARD_S}],
            "description": "livetwin",
        }
        server.json("POST", "/api/v2/buckets", body=body, there_already=True)
    ids = _bucket_ids(server, org_id, buckets)
    for policy in unnamed:
        body = {
            "orgID": org_id,
            "bucketID": ids[buckets.policies()[policy]],
            "database": buckets.database,
            "retention_policy": policy,
            "default": policy == "steps",
        }
        server.json("POST", "/api/v2/dbrps", body=body, there_already=True)
    return [f"bucket {bucket}" for bucket in lacking] + [f"InfluxQL name {buckets.database}.{policy}" for policy in unnamed]


def _bucket_ids(server: InfluxDb, org_id: str, buckets: Buckets) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in buckets.policies().values():
        listed: dict[str, Any] = server.json("GET", "/api/v2/buckets", query={"orgID": org_id, "name": name}, absent={})
        found.update({bucket["name"]: bucket["id"] for bucket in listed.get("buckets", [])})
    return found


def bucket_bytes(server: InfluxDb, buckets: Buckets) -> int | None:
    """Bytes that the buckets take on the server's disk, from its own metrics; None where it doesn't tell."""
    ids = set(_bucket_ids(server, missing(server, buckets)[0], buckets).values())
    metrics, _ = server.get("/metrics", "size not read")
    found = None
    for row in metrics.splitlines():
        if row.startswith("storage_shard_disk_size{") and any(f'bucket="{id_}"' in row for id_ in ids):
            found = (found or 0) + int(float(row.rsplit(" ", 1)[1]))
    return found

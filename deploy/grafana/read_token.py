"""The right by which Grafana reads: a token of its own for livetwin's buckets, which can change nothing.

In:   an InfluxDB server, with a token that may create others.
Out:  a file with the token, for Grafana's data source to take it from (`$__file{…}`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deploy.grafana.export import ExportFailed
from streams.stores.influxdb_server import InfluxDb, identifier
from streams.stores.influxdb_setup import Buckets, set_up
from streams.stores.port import StoreRefused

DESCRIPTION = "livetwin: Grafana reads"
FILE = "influxdb-read-token"


def ensure_read_token(server: InfluxDb, buckets: Buckets, folder: Path) -> bool:
    """Whether a new token was written; a file whose token reads the buckets is left as it is.

    The buckets are created where they are missing. Tokens that this made before are withdrawn when a new one is written.

    Raises:
        StoreUnavailable: the server is away.
        StoreRefused: the server's token may not create tokens or buckets.
        ExportFailed: the file can't be written.
    """
    set_up(server, buckets)
    path = folder / FILE
    try:
        token = path.read_text().strip() if path.exists() else ""
    except OSError as error:
        raise ExportFailed(f"{path} not read: {error.strerror}; Grafana has no token") from error
    if token and _reads(server, buckets, token):
        return False
    before = [made["id"] for made in _made(server)]
    org_id = str(server.json("GET", "/api/v2/orgs", query={"org": server.org})["orgs"][0]["id"])
    permissions = [
        {"action": "read", "resource": {"type": "buckets", "id": _bucket_id(server, org_id, name), "orgID": org_id}}
        for name in buckets.policies().values()
    ]
    body = {"orgID": org_id, "description": DESCRIPTION, "permissions": permissions}
    fresh = server.json("POST", "/api/v2/authorizations", body=body)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(str(fresh["token"]))
        unfinished.chmod(0o644)  # Grafana runs as a user of its own
        os.replace(unfinished, path)
    except OSError as error:
        raise ExportFailed(f"{path} not written: {error.strerror}; Grafana has no token") from error
    for authorization in before:
        server.json("DELETE", f"/api/v2/authorizations/{authorization}", absent={})
    return True


def _reads(server: InfluxDb, buckets: Buckets, token: str) -> bool:
    """Whether this token may ask each bucket."""
    reader = InfluxDb(server.url, token=token, org=server.org)
    try:
        sources = [f"{identifier(buckets.database)}.{identifier(policy)}./.+/" for policy in buckets.policies()]
        reader.query(buckets.database, *(f"SELECT * FROM {source} LIMIT 1" for source in sources))
    except StoreRefused:
        return False
    finally:
        reader.close()
    return True


def _made(server: InfluxDb) -> list[dict[str, Any]]:
    found = server.json("GET", "/api/v2/authorizations", query={"org": server.org}).get("authorizations") or []
    return [made for made in found if made.get("description") == DESCRIPTION]


def _bucket_id(server: InfluxDb, org_id: str, name: str) -> str:
    return str(server.json("GET", "/api/v2/buckets", query={"orgID": org_id, "name": name})["buckets"][0]["id"])

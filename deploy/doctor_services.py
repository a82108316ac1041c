"""What `livetwin doctor` says of the store and of the model registry: there, ours, and on time.

In:   the settings.
Out:  findings; nothing is created.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import urllib3

from deploy.finding import Finding, fault, note, ok
from deploy.roles import home_of
from deploy.settings import HomeSettings, InfluxDbSettings, StoreSettings, read
from deploy.stores import influxdb_access, is_embedded_store
from streams.stores import influxdb_setup
from streams.stores.influxdb_server import InfluxDb
from twin.errors import LivetwinError

APART_S = 5.0  # that clocks may be without a note
_WITHIN_S = 5.0


def examine() -> Iterator[Finding]:
    for subject, look, way_out in (
        ("store", _store, "docs/influxdb.md, docs/settings.md"),
        ("registry", _registry, "correct MLFLOW_TRACKING_URI"),
    ):
        try:
            yield from look()
        except LivetwinError as error:
            yield fault(subject, str(error), way_out)


def _store() -> Iterator[Finding]:
    settings = read(StoreSettings)
    if is_embedded_store(settings.store):
        yield _duckdb(settings)
        return
    access = influxdb_access(read(InfluxDbSettings))
    server = InfluxDb(settings.store.partition(":")[2], token=access.token, org=access.org)
    buckets = influxdb_setup.Buckets(access.bucket)
    try:
        version = influxdb_setup.check_version(server)
        _, lacking, unnamed = influxdb_setup.missing(server, buckets)
        _, header = server.get("/ping", "its clock is not known")
        if lacking or unnamed:
            absent = [f"bucket {name}" for name in lacking] + [f"InfluxQL name {buckets.database}.{name}" for name in unnamed]
            yield note(
                "store",
                f"{server.url}: {', '.join(absent)} missing",
                "`livetwin store setup` makes them; roles do so, too, if their token may",
            )
        else:
            size = influxdb_setup.bucket_bytes(server, buckets)
            told = "its sizes are not told" if size is None else f"{size / 2**20:.1f} MiB"
            yield ok("store", f"InfluxDB {version} at {server.url}: {told}")
        yield _clock("store clock", "the InfluxDB server's", header("Date"))
    finally:
        server.close()


def _duckdb(settings: StoreSettings) -> Finding:
    path = Path(settings.store.partition(":")[2] or home_of(read(HomeSettings)) / "store.duckdb")
    if not path.exists():
        return note("store", f"DuckDB at {path}: not there yet", "the gateway makes it at its first start")
    if not os.access(path, os.R_OK | os.W_OK):
        return fault("store", f"DuckDB at {path}: this user may not read and write it", "run as its owner, or `chown` it")
    size_mib = path.stat().st_size / 2**20
    if size_mib > 1.5 * settings.store_max_mib:
        found = f"DuckDB at {path}: {size_mib:.0f} MiB, expected about LIVETWIN_STORE_MAX_MIB={settings.store_max_mib} at most"
        return note("store", found, "it shrinks once the gateway runs with this limit; until then keep so much disk free")
    return ok("store", f"DuckDB at {path}: {size_mib:.1f} MiB of {settings.store_max_mib}")


def _registry() -> Iterator[Finding]:
    """The MLflow server of MLFLOW_TRACKING_URI, or the file in the data folder."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith("http"):
        folder = home_of(read(HomeSettings)) / "mlflow"
        if uri:
            yield ok("registry", f"MLflow on {uri}, not looked at")
        elif not folder.exists():
            yield note("registry", f"MLflow in {folder}: not there yet", "the trainer makes it at its first start")
        elif not os.access(folder, os.R_OK | os.W_OK):
            yield fault("registry", f"MLflow in {folder}: this user may not read and write it", "run as its owner, or `chown` it")
        else:
            yield ok("registry", f"MLflow on a sqlite file in {folder}")
        return
    way_out = "start it, or correct MLFLOW_TRACKING_URI; without it the trainer goes on and records runs when it is back"
    try:
        answer = urllib3.request("GET", f"{uri.rstrip('/')}/health", timeout=_WITHIN_S, retries=False)
    except urllib3.exceptions.HTTPError as error:
        yield fault("registry", f"MLflow at {uri}: {error}", way_out)
        return
    if answer.status != 200:
        yield fault("registry", f"MLflow at {uri} answered {answer.status} to /health, expected 200", way_out)
        return
    yield ok("registry", f"MLflow at {uri} answers")
    yield _clock("registry clock", "the MLflow server's", answer.headers.get("Date"))


def _clock(subject: str, whose: str, date: str | None, now: Callable[[], float] = time.time) -> Finding:
    """An HTTP date against our clock.

    >>> at = lambda: 1_800_000_000.0
    >>> _clock("store clock", "the server's", "Fri, 15 Jan 2027 08:00:01 GMT", at).state
    'ok'
    >>> _clock("store clock", "the server's", "Fri, 15 Jan 2027 08:01:00 GMT", at).found
    "the server's is 60 s ahead of this machine's"
    """
    if date is None:
        return ok(subject, f"{whose} is not told")
    ahead_s = parsedate_to_datetime(date).timestamp() - now()
    if abs(ahead_s) <= APART_S:
        return ok(subject, f"{whose} is this machine's")
    found = f"{whose} is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    return note(subject, found, "set both by NTP (chrony, systemd-timesyncd): tokens, retention and `now()` go by them")

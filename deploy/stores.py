"""The store that the settings name: opened for a role, set up for livetwin, looked at by `livetwin doctor`."""

from __future__ import annotations

from pathlib import Path

from deploy.settings import HomeSettings, InfluxDbSettings, SettingsInvalid, StoreSettings, read
from streams.stores import InfluxDbAccess, open_store
from streams.stores.port import TwinStore


def is_embedded_store(address: str) -> bool:
    """DuckDB lets one process own its file: the historian then runs within the gateway."""
    return address.startswith("duckdb:")


def open_configured() -> TwinStore:
    """Raises SettingsInvalid, and what `streams.stores.open_store` does."""
    address = read(StoreSettings).store
    access = None if is_embedded_store(address) else influxdb_access(read(InfluxDbSettings))
    return open_store(address, home=read(HomeSettings).home.expanduser().absolute(), influxdb=access)


def influxdb_access(settings: InfluxDbSettings) -> InfluxDbAccess:
    """Token, organisation and bucket.

    Raises:
        SettingsInvalid: no token, or a file that can't be read.
    """
    token = settings.influxdb_token.get_secret_value() if settings.influxdb_token is not None else ""
    if not token and settings.influxdb_token_file is not None:
        token = _from_file(settings.influxdb_token_file)
    if not token:
        raise SettingsInvalid(
            "LIVETWIN_INFLUXDB_TOKEN is not set, nor LIVETWIN_INFLUXDB_TOKEN_FILE; an InfluxDB needs one; nothing was started"
        )
    return InfluxDbAccess(token, settings.influxdb_org, settings.influxdb_bucket)


def _from_file(path: Path) -> str:
    try:
        return path.expanduser().read_text().strip()
    except OSError as error:
        raise SettingsInvalid(f"LIVETWIN_INFLUXDB_TOKEN_FILE is {path}: {error.strerror}; nothing was started") from error


def set_up() -> list[str]:
    """Make the configured store ready; what was created, in words. DuckDB needs nothing.

    Raises:
        SettingsInvalid: as `open_configured`.
        StoreRefused: the token may not create buckets, or the server is no InfluxDB 2.
        StoreUnavailable: the server is away.
    """
    from streams.stores import influxdb_setup
    from streams.stores.influxdb_server import InfluxDb

    address = read(StoreSettings).store
    if is_embedded_store(address):
        return []
    access = influxdb_access(read(InfluxDbSettings))
    open_store(address, home=Path(), influxdb=access).close()  # a wrong address is told like by a role
    server = InfluxDb(address.partition(":")[2], token=access.token, org=access.org)
    try:
        influxdb_setup.check_version(server)
        created = []
        if influxdb_setup.onboard(server, token=access.token, bucket=access.bucket):
            created.append(f"user livetwin, organisation {access.org}, bucket {access.bucket} and the token of the settings")
        return created + influxdb_setup.set_up(server, influxdb_setup.Buckets(access.bucket))
    finally:
        server.close()

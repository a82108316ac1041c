"""The roles: settings read here, handed on as plain arguments; things opened in order, closed in reverse.

Each role is an async function of a `stop` event, which SIGTERM and SIGINT set. `run_role` runs one until then.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

from deploy.kafka_probe import answers_metadata
from deploy.logs import set_up_logs
from deploy.ports import HOST
from deploy.settings import (
    DemoSettings,
    EnergySettings,
    GatewaySettings,
    HomeSettings,
    InfluxDbSettings,
    KafkaSettings,
    ProcessorSettings,
    SettingsInvalid,
    StoreSettings,
    TrainerSettings,
    read,
)
from deploy.stores import influxdb_access, is_embedded_store, open_configured
from models.power import PowerTerms
from models.weight_sources import WeightSources
from streams.live_rules import LiveSteps
from streams.topics import Topics
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

NS_PER_DAY = 86_400 * 1_000_000_000
_RETRY_S = (0.2, 5.0)

Role = Callable[[asyncio.Event], Awaitable[None]]


class RoleMissing(LivetwinError):
    """This installation lacks the code of a role."""


class BrokerAway(LivetwinError):
    """Nobody answered until the role was told to stop."""

    retriable = True


def entry(module: str, name: str) -> Any:
    """The function that is a role, imported when it is needed and not before.

    Raises:
        RoleMissing: no such module or function here; what it imports in turn is not hidden.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise RoleMissing(
            f"{module}: not in this installation, expected a module with {name}(); the role was not started"
        ) from error
    except AttributeError as error:
        raise RoleMissing(f"{module}: has no {name}(), expected one; the role was not started") from error


def bootstrap_of(settings: KafkaSettings) -> str:
    """HOST:PORT; for `embedded`, where the broker of `livetwin up` listens."""
    return f"{HOST}:{settings.kafka_port}" if settings.kafka == "embedded" else settings.kafka


def home_of(settings: HomeSettings) -> Path:
    return settings.home.expanduser().absolute()


def public_url_of(settings: GatewaySettings) -> str:
    """Where operators find the page."""
    return (settings.public_url or f"http://{HOST}:{settings.gateway_port}").rstrip("/")


async def await_broker(bootstrap: str, stop: asyncio.Event) -> bool:
    """Wait until the broker answers; False when `stop` came first."""
    delay_s, longest_s = _RETRY_S
    waiting = False
    while not await answers_metadata(bootstrap):
        if not waiting:
            log.warning("broker-away", extra={"broker": bootstrap, "now": "waiting"})
            waiting = True
        try:
            await asyncio.wait_for(stop.wait(), delay_s)
            return False
        except TimeoutError:
            delay_s = min(2 * delay_s, longest_s)
    return not stop.is_set()


def run_role(name: str, role: Role, *, needs_broker: bool = True, nice: int = 0) -> None:
    """Run one role in this process until SIGTERM or SIGINT; `nice` lowers its priority, and that of what it starts."""
    os.nice(nice)
    set_up_logs(name)
    bootstrap = bootstrap_of(read(KafkaSettings))

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if needs_broker and not await await_broker(bootstrap, stop):
            return
        log.info("role-started", extra={"broker": bootstrap})
        await role(stop)
        log.info("role-stopped")

    try:
        asyncio.run(run())
    except LivetwinError:
        raise  # one line, by `main`
    except Exception:
        log.exception("role-failed")
        _leave(1)
    _leave(0)


def _leave(status: int) -> NoReturn:
    """End at once: all is closed, and taking torch's modules apart would need seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def weight_sources() -> WeightSources:
    """Where this process looks for versions: its own folder, and what LIVETWIN_WEIGHTS names."""
    return WeightSources(home_of(read(HomeSettings)), read(ProcessorSettings).weights)


# ── one function a role ─────────────────────────────────────────────────────────────────────────────────────────────


def _kafka() -> dict[str, Any]:
    settings = read(KafkaSettings)
    return {"bootstrap": bootstrap_of(settings), "topics": Topics(settings.topic_prefix)}


def _group(role: str) -> str:
    return f"{read(KafkaSettings).topic_prefix}{role}"


def _power() -> PowerTerms:
    settings = read(EnergySettings)
    return PowerTerms(settings.energy_country, settings.cpu_watts)


async def processor(stop: asyncio.Event) -> None:
    run, settings = entry("streams.processor", "run_processor"), read(ProcessorSettings)
    await run(
        **_kafka(),
        batch_max_records=settings.batch_max_records,
        batch_wait_ms=settings.batch_wait_ms,
        checkpoint_every_s=settings.checkpoint_every_s,
        group=_group("processor"),
        weights=weight_sources(),
        skip_missing=settings.missing_versions == "skip",
        power=_power(),
        stop=stop,
    )


async def trainer(stop: asyncio.Event) -> None:
    run, settings = entry("streams.trainer", "run_trainer"), read(TrainerSettings)
    await run(
        **_kafka(),
        home=home_of(read(HomeSettings)),
        train_every_s=settings.train_every_s,
        train_every_good_steps=settings.train_every_good_steps,
        train_on_drift=settings.train_on_drift,
        train_budget_cpu_s=settings.train_budget_cpu_s,
        train_structure_every=settings.train_structure_every,
        train_loss=settings.train_loss,
        train_min_steps=settings.train_min_steps,
        train_max_steps=settings.train_max_steps,
        train_old_stretches=settings.train_old_stretches,
        seed=settings.train_seed,
        threads=settings.train_threads,
        live=LiveSteps(settings.shadow_steps, settings.watch_steps, settings.canary_steps, settings.canary_share),
        alarms_per_twin_day=read(ProcessorSettings).alarms_per_twin_day,
        power=_power(),
        stop=stop,
    )


async def gateway(stop: asyncio.Event) -> None:
    run = entry("streams.gateway.app", "run_gateway")
    settings, store_settings, home = read(GatewaySettings), read(StoreSettings), home_of(read(HomeSettings))
    async with AsyncExitStack() as opened:
        store = await asyncio.to_thread(open_configured)
        opened.push_async_callback(asyncio.to_thread, store.close)
        await run(
            **_kafka(),
            store=store,
            host=settings.gateway_host,
            port=settings.gateway_port,
            home=home,
            historian=is_embedded_store(store_settings.store),
            store_limits=_limits(store_settings),
            stop=stop,
        )


async def historian(stop: asyncio.Event) -> None:
    run = entry("streams.historian", "run_historian")
    max_age_ns, max_bytes = _limits(read(StoreSettings))
    async with AsyncExitStack() as opened:
        store = await asyncio.to_thread(open_configured)
        opened.push_async_callback(asyncio.to_thread, store.close)
        await run(**_kafka(), store=store, group=_group("historian"), max_age_ns=max_age_ns, max_bytes=max_bytes, stop=stop)


def _limits(settings: StoreSettings) -> tuple[int, int]:
    """Oldest age in nanoseconds and largest size in bytes that a store keeps."""
    return round(settings.store_max_age_days * NS_PER_DAY), settings.store_max_mib * 2**20


async def grafana_sync(stop: asyncio.Event, *, folder: Path, page_url: str) -> None:
    address = read(StoreSettings).store
    if is_embedded_store(address):
        raise SettingsInvalid(f"LIVETWIN_STORE is {address}, expected influxdb:URL: Grafana reads InfluxDB; nothing was written")
    from deploy.grafana.read_token import ensure_read_token
    from deploy.grafana.sync import newest_steps, sync
    from streams.stores.influxdb_server import InfluxDb
    from streams.stores.influxdb_setup import Buckets

    access = influxdb_access(read(InfluxDbSettings))
    server = InfluxDb(address.partition(":")[2], token=access.token, org=access.org)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(asyncio.to_thread, server.close)
        await sync(
            **_kafka(),
            folder=folder,
            page_url=page_url,
            ensure_token=lambda: ensure_read_token(server, Buckets(access.bucket), folder),
            newest_ns=lambda types: newest_steps(server, Buckets(access.bucket), types),
            stop=stop,
        )


async def feed_water(stop: asyncio.Event, *, speed: float | None = None) -> None:
    run = entry("deploy.feeds.water", "run_water")
    settings = read(DemoSettings)
    await run(
        **_kafka(),
        step_s=settings.water_step_s,
        speed=speed if speed is not None else settings.water_speed,
        backfill_days=settings.water_backfill_days,
        seed=settings.water_seed,
        home=home_of(read(HomeSettings)),
        stop=stop,
    )


async def feed_host(stop: asyncio.Event) -> None:
    await entry("deploy.feeds.host", "run_host")(**_kafka(), stop=stop)


async def feed_file(stop: asyncio.Event, **settings: Any) -> None:
    """`settings` as `deploy.feeds.file.run_file` has them."""
    await entry("deploy.feeds.file", "run_file")(**_kafka(), **settings, stop=stop)


def run_alerting() -> None:
    """Faust owns its loop and its signals: this blocks until SIGTERM or SIGINT."""
    main = entry("streams.alerting", "main")
    set_up_logs("alerting")
    kafka = _kafka()
    if not _await_broker_blocking(kafka["bootstrap"]):
        return
    log.info("role-started", extra={"broker": kafka["bootstrap"]})
    main(**kafka, home=home_of(read(HomeSettings)))
    _leave(0)


def _await_broker_blocking(bootstrap: str) -> bool:
    async def wait() -> bool:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await await_broker(bootstrap, stop)

    return asyncio.run(wait())
